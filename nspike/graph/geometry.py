"""What follows from layers alone: shapes, parameters, halos, fan-out, multiply-accumulates.

Where kinds of layers differ, `GEOMETRY` says how. Positions outside the image are zero, and no operation is counted there.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nspike.graph.layer import IMAGE, Activation, Concat, Conv, Gate, Layer

Shape = tuple[int, int, int]
"""Channels, height, width."""

Role = Literal["current", "neurons", "spikes"]


@dataclass(frozen=True)
class Geometry:
    """What follows from a layer of one kind.

    Parameters
    ----------
    role : in the spiking network: it gives a current, for neurons or the output; it has neurons; or it hands on spikes.
    reads : the kinds that it may read, None standing for the image.
    shape : (layer, what it reads, stacked along the channels) -> its own shape.
    channels : layer -> how many channels it must read; None if any number will do.
    fault : layer -> what is wrong with its own numbers, in words; None if nothing is.
    kernel : layer -> the side of the square of inputs that an output sees.
    targets : layer -> how many output channels an input channel reaches.
    parameters : layer -> the shapes of its parameters by name.
    """

    role: Role
    reads: frozenset[type[Layer] | None]
    shape: Callable[[Any, Shape], Shape]
    channels: Callable[[Any], int | None] = lambda layer: layer.channels
    fault: Callable[[Any], str | None] = lambda layer: None
    kernel: Callable[[Any], int] = lambda layer: 1
    targets: Callable[[Any], int] = lambda layer: 1
    parameters: Callable[[Any], dict[str, tuple[int, ...]]] = lambda layer: {}


def _even_kernel(conv: Conv) -> str | None:
    odd = conv.kernel >= 1 and conv.kernel % 2 == 1
    return None if odd else f"layer {conv.name!r} has kernel {conv.kernel}, expected an odd one"


def _conv_parameters(conv: Conv) -> dict[str, tuple[int, ...]]:
    each = conv.kernel_shape[:1]
    shapes: dict[str, tuple[int, ...]] = {"weight": conv.kernel_shape}
    if conv.bias:
        shapes["bias"] = each
    if conv.batch_norm_eps is not None:
        shapes |= {f"bn_{part}": each for part in ("weight", "bias", "mean", "var")}
    return shapes


def _bad_ceiling(layer: Activation) -> str | None:
    ceiling, levels = layer.ceiling, layer.levels
    if ceiling is not None and not (
        len(ceiling) in (1, layer.channels)
        and all(isinstance(n, int | float) and math.isfinite(n) and n > 0 for n in ceiling)
    ):
        return f"the ceiling of {layer.name!r} must be 1 or {layer.channels} positive numbers"
    if levels is not None and (ceiling is None or type(levels) is not int or levels < 1):
        return f"{layer.name!r} has {levels!r} levels; they need a ceiling"
    return None


def _same(_: Layer, read: Shape) -> Shape:
    return read


GEOMETRY: dict[type[Layer], Geometry] = {
    Conv: Geometry(
        role="current",
        reads=frozenset({None, Activation, Concat}),
        shape=lambda conv, read: (conv.out_channels, *read[1:]),
        channels=lambda conv: conv.in_channels,
        fault=_even_kernel,
        kernel=lambda conv: conv.kernel,
        targets=lambda conv: conv.out_channels,
        parameters=_conv_parameters,
    ),
    Activation: Geometry(role="neurons", reads=frozenset({Conv}), shape=_same, fault=_bad_ceiling),
    Concat: Geometry(role="spikes", reads=frozenset({Activation}), shape=_same, channels=lambda layer: None),
    Gate: Geometry(role="current", reads=frozenset({Activation}), shape=_same),
}


def geometry(layer: Layer) -> Geometry:
    """The entry of `GEOMETRY` for the kind of this layer."""
    return GEOMETRY[type(layer)]


def shapes(layers: Iterable[Layer], channels: int, height: int = 1, width: int = 1) -> dict[str, Shape]:
    """The shape of every layer, and of the image, for an image (channels, height, width)."""
    known = {IMAGE: (channels, height, width)}
    for layer in layers:
        read = [known[source] for source in layer.sources]
        known[layer.name] = geometry(layer).shape(layer, (sum(shape[0] for shape in read), *read[0][1:]))
    return known


def parameter_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's parameters, by their names in a model: LAYER.weight, ..."""
    return {f"{layer.name}.{part}": shape for part, shape in geometry(layer).parameters(layer).items()}


def radius(layer: Layer) -> int:
    """How many pixels around an output pixel a layer reads."""
    return geometry(layer).kernel(layer) // 2


def halos(layers: Iterable[Layer]) -> dict[str, int]:
    """For each layer, and the image: how many of its pixels around a region the last layer's values there need."""
    layers = tuple(layers)
    need = {IMAGE: 0} | {layer.name: 0 for layer in layers}
    for layer in reversed(layers):
        for source in layer.sources:
            need[source] = max(need[source], need[layer.name] + radius(layer))
    return need


def fan(kernel: int, size: int) -> NDArray[np.int64]:
    """For each of `size` positions along one axis: how many outputs of a zero-padded kernel read it."""
    at = np.arange(size, dtype=np.int64)
    reach = kernel // 2
    return np.asarray(np.minimum(at + reach, size - 1) - np.maximum(at - reach, 0) + 1, np.int64)


def taps(kernel: int, height: int, width: int) -> int:
    """How many taps of a zero-padded kernel lie inside an image, over all its positions."""
    return int(fan(kernel, height).sum()) * int(fan(kernel, width).sum())


def fan_out(layer: Layer) -> tuple[int, int]:
    """The side of the square of outputs that an input reaches far from the border, and how many channels there."""
    return geometry(layer).kernel(layer), geometry(layer).targets(layer)


def weights(layer: Layer) -> int:
    """The number of weights in its kernel, the bias not counted."""
    return math.prod(geometry(layer).parameters(layer).get("weight", (0,)))


def macs(layer: Layer, height: int, width: int) -> int:
    """Multiply-accumulates on an image, products with the zero padding not counted."""
    kernel = geometry(layer).kernel(layer)
    return weights(layer) // kernel**2 * taps(kernel, height, width)


def macs_paper(layer: Layer, height: int, width: int) -> int:
    """Multiply-accumulates as papers count them: the border ignored, k²·C_in·C_out for each pixel."""
    return weights(layer) * height * width
