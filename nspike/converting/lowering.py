"""A network rewritten to the form that runs as spikes (`nspike.graph.values`), the same function in the ANN.

Walking through the layers in order, each reads what it may read:

- a convolution or gate that reads a current gets neurons before it: signed ones, or plain where the current cannot be negative;
- a convolution over a concatenation of the image and spikes becomes two, and their sum;
- sums, bilinear enlargement and neurons of the image or of spikes read an identity first, a depthwise 1×1 convolution;
- an average of them is a depthwise convolution;
- what moves a concatenation of several kinds moves its parts instead;
- ReLUs at the end become `rectify`; a constant plane reads the image, moved to its size.

Layers that stay keep their names.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nspike.converting.refusing import refuse, without_flat_slopes
from nspike.converting.rewriting import Rewriter
from nspike.converting.trailing import without_trailing_relu
from nspike.graph.folding import fold_batch_norm
from nspike.graph.geometry import parameter_shapes
from nspike.graph.network import Network
from nspike.graph.repeating import expanded

Floats = NDArray[np.float32]


def lower(network: Network, parameters: Mapping[str, Floats]) -> tuple[Network, dict[str, Floats]]:
    """The network that runs as spikes, batch norm folded, and its parameters.

    A network that runs as spikes already comes back as it is, without layers that nothing reads.

    Raises
    ------
    UsageError
        layers that have no spiking form: all of them by name, why, and what to train instead.
    ModelError
        a batch norm that cannot be folded.
    """
    network, parameters = without_flat_slopes(network, parameters)
    refuse(network)
    network, parameters = expanded(*fold_batch_norm(network, parameters))
    network = without_trailing_relu(network)
    rewriter = Rewriter(network, parameters)
    for layer in network.layers:
        rewriter.rewrite(layer)
    layers, output = rewriter.finish(network.output)
    names = [name for layer in layers for name in parameter_shapes(layer)]
    return replace(network, layers=layers, output=output), {name: rewriter.parameters[name] for name in names}
