"""Convolutions that use one kernel on several parts of their input, as grouped convolutions with copies of the kernel."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nspike.graph.layer import Conv
from nspike.graph.network import Network

Floats = NDArray[np.float32]


def without_repeats(conv: Conv, parameters: Mapping[str, Floats]) -> tuple[Conv, dict[str, Floats]]:
    """A convolution without repeats, and its weight and bias (zeros where it has none), batch norm being folded before."""
    own, count = conv.parameters, conv.repeats
    weight = np.asarray(parameters[f"{own}.weight"], np.float32)
    bias = np.asarray(parameters[f"{own}.bias"], np.float32) if conv.bias else np.zeros(len(weight), np.float32)
    return _grouped(conv), {"weight": np.tile(weight, (count, 1, 1, 1)), "bias": np.tile(bias, count)}


def expanded(network: Network, parameters: Mapping[str, Floats]) -> tuple[Network, dict[str, Floats]]:
    """The same network with grouped convolutions in place of repeated ones, and its parameters, batch norm folded before."""
    changed = dict(parameters)
    for conv in network.convs:
        if conv.repeats > 1 and conv.tied is None:
            own = without_repeats(conv, parameters)[1]
            changed |= {f"{conv.name}.{part}": own[part] for part in ("weight", *(["bias"] if conv.bias else []))}
    return network.changed(Conv, _grouped), changed


def _grouped(conv: Conv) -> Conv:
    return conv if conv.repeats == 1 else replace(conv, groups=conv.groups * conv.repeats, repeats=1)
