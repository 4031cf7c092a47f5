"""The parameters of a plain network as its kernels take them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.folding import fold_batch_norm
from nspike.graph.geometry import parameter_shapes
from nspike.graph.layer import Conv
from nspike.graph.network import Network
from nspike.graph.repeating import without_repeats

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PackedConv:
    """A convolution with its weights and bias in the layout of its kernel, in `groups` groups, batch norm folded."""

    conv: Conv
    weights: Floats
    bias: Floats
    groups: int = 1


@dataclass(frozen=True)
class Packed:
    """A network's parameters.

    convs : by the convolution's name, those that share weights too; others : the parameters of other layers, LAYER.part.
    """

    convs: Mapping[str, PackedConv]
    others: Mapping[str, Floats]


def pack(network: Network, parameters: Mapping[str, Floats]) -> Packed:
    """Raises ModelError for parameters that are missing or of another shape."""
    if any(conv.batch_norm_eps is not None for conv in network.convs):
        network, parameters = fold_batch_norm(network, parameters)
    names = {conv.name for conv in network.convs}
    others: dict[str, Floats] = {}
    for layer in network.layers:
        for name, shape in parameter_shapes(layer).items():
            values = parameters.get(name)
            if values is None or np.shape(values) != shape:
                raise ModelError(
                    f"network {network.name}: the parameters of {layer.name!r} are missing or not of shape {shape}"
                )
            if layer.name not in names:
                others[name] = np.asarray(values, np.float32)
    return Packed({conv.name: pack_conv(conv, parameters) for conv in network.convs}, others)


def pack_conv(conv: Conv, parameters: Mapping[str, Floats]) -> PackedConv:
    """A convolution with its parameters, of which batch norm is folded."""
    from nspike.kernels.dense import pack as pack_kernel
    from nspike.kernels.dense_general import pack_groups

    conv, own = without_repeats(conv, parameters)
    weights, bias = own["weight"], own["bias"]
    if not conv.is_plain:
        return PackedConv(conv, *pack_groups(weights, bias, conv.groups))
    rows, padded = pack_kernel(weights)
    return PackedConv(conv, rows, np.pad(bias, (0, padded - bias.size)))
