"""The layers of a network while they are collected, and what is done to them without a node of its own."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
from nspike_plugins._onnx.rearranging import layers_for
from nspike_plugins._onnx.values import Axes, Feature, Known, Node, Noise, Sizes, Unsupported, Value, whole
from numpy.typing import NDArray

from nspike import IMAGE, ChannelShuffle, Concat, Constant, Conv, PixelShuffle, PixelUnshuffle, Slice

Floats = NDArray[np.float64]

NOISE = 25.0
"""The noise level, of 255, that a network gets that asks for one, where none is given."""


class Builder:
    """Layers in an order in which they can be run, their parameters in float64, and sizes for one size of image."""

    def __init__(self, sizes: Sizes) -> None:
        self.layers: dict[str, Any] = {}
        self.parameters: dict[str, Floats] = {}
        self.sizes: dict[str, Sizes] = {IMAGE: sizes}
        self.readers: dict[str, int] = {IMAGE: 99}
        self._arranged: dict[tuple[str, Axes], str] = {}
        self.mode, self.rectify = "image", False
        self.assumed: list[str] = []

    def name(self, base: str) -> str:
        """A layer's name from that of a node or a weight: letters, digits and _, and used by no other layer."""
        plain = re.sub(r"[^A-Za-z0-9]+", "_", base).strip("_")[:60] or "layer"
        number, name = 1, plain
        while name in self.layers or name == IMAGE:
            number += 1
            name = f"{plain}_{number}"
        return name

    def add(self, layer: Any, sizes: Sizes, readers: int = 1, **parameters: Floats) -> Feature:
        """Add a layer; `readers` is how many nodes and layers will read it."""
        self.layers[layer.name], self.sizes[layer.name], self.readers[layer.name] = layer, sizes, readers
        self.parameters |= {f"{layer.name}.{part}": array for part, array in parameters.items()}
        return Feature(layer.name, whole(sizes))

    def read_by(self, value: Value, readers: int) -> Value:
        """The same value as the output of a node that changes nothing."""
        if isinstance(value, Feature):
            self.readers[value.layer] += readers - 1
        return value

    def feature(self, node: Node, index: int = 0) -> Feature:
        """An input that must be a feature map without padding around it."""
        value = node.get(index)
        if not isinstance(value, Feature):
            what = (
                "the noise level alone"
                if isinstance(value, Noise)
                else "a constant"
                if isinstance(value, Known)
                else "nothing"
            )
            raise Unsupported(f"it reads {what}, expected a feature map")
        if any(value.pad):
            raise Unsupported("it reads a padded feature map, which only a convolution may")
        if value.rows:
            raise Unsupported(f"it reads every {value.rows[2]}-th row with all columns, expected one step for both")
        return value

    def plain(self, node: Node, index: int = 0) -> str:
        """The same as the name of a layer, with the axes N, C, H, W; layers that arrange it so are added."""
        return self.arranged(self.feature(node, index), node.base)

    def arranged(self, feature: Feature, base: str) -> str:
        """The name of the layer that has a feature's values with the axes N, C, H, W."""
        layer = feature.layer
        if feature.axes == whole(self.sizes[layer]):
            return layer
        if (layer, feature.axes) not in self._arranged:
            for kind, number, sizes in layers_for(feature.axes, self.sizes[layer]):
                layer = self.add(kind(self.name(base), layer, number), sizes).layer
            self.readers[layer] = self.readers[feature.layer]
            self._arranged[feature.layer, feature.axes] = layer
        return self._arranged[feature.layer, feature.axes]

    def affine(
        self, feature: Feature, base: str, readers: int, scale: Floats | float, shift: Floats | float
    ) -> Feature:
        """scale·x + shift, one number or one for each channel: in the convolution that makes x, else in a layer of its own."""
        channels = self.sizes[feature.layer][0]
        scales, shifts = (np.broadcast_to(np.asarray(n, np.float64), (channels,)) for n in (scale, shift))
        if not (np.isfinite(scales).all() and np.isfinite(shifts).all()):
            raise Unsupported("its constants are not finite")
        if not shifts.any() and (scales == 1).all():
            self.read_by(feature, readers)
            return feature
        if self._folded(feature.layer, scales, shifts):
            self.readers[feature.layer] = readers
            return feature
        conv = Conv(self.name(base), feature.layer, channels, channels, 1, bool(shifts.any()), groups=channels)
        parameters = {"weight": scales.reshape(-1, 1, 1, 1)} | ({"bias": shifts} if conv.bias else {})
        return replace(self.add(conv, self.sizes[feature.layer], readers, **parameters), axes=feature.axes)

    def _folded(self, name: str, scales: Floats, shifts: Floats) -> bool:
        """Whether the convolution behind a layer that nothing else reads could take the factors and sums."""
        layer = self.layers.get(name)
        if layer is None or self.readers[name] != 1:
            return False
        if type(layer) is PixelShuffle:
            times = layer.factor**2
            return self._folded(layer.source, np.repeat(scales, times), np.repeat(shifts, times))
        if type(layer) is not Conv:
            return False
        norm = "bn_" if layer.batch_norm_eps is not None else ""
        weight, bias = f"{name}.{norm}weight", f"{name}.{norm}bias"
        self.parameters[weight] = self.parameters[weight] * (scales if norm else scales.reshape(-1, 1, 1, 1))
        if bias in self.parameters or shifts.any():
            self.parameters[bias] = self.parameters.get(bias, np.zeros(scales.size)) * scales + shifts
            self.layers[name] = replace(layer, bias=True) if not norm else layer
        return True

    def per_channel(self, feature: Feature, value: Known) -> Floats | float:
        """A constant that is combined with a feature, as one number or one for each channel."""
        shape = (1,) * (len(feature.axes) - value.ndim) + value.shape
        sizes = self.sizes[feature.layer]
        channel_axis = (
            next((i for i, axis in enumerate(feature.axes) if axis == whole(sizes)[1]), None) if sizes[0] > 1 else None
        )
        full = np.broadcast_shapes(shape, feature.shape) if len(shape) == len(feature.axes) else None
        if full != feature.shape:
            raise Unsupported(f"a constant of shape {value.shape} does not suit a feature map {feature.shape}")
        array = value.reshape(shape) if value.ndim < len(shape) else value
        for axis, size in enumerate(shape):
            if size == 1 or axis == channel_axis:
                continue
            first = array.take([0], axis)
            if array.strides[axis] != 0 and not np.array_equal(array, np.broadcast_to(first, array.shape)):
                raise Unsupported("it combines a feature map with a constant that differs from pixel to pixel")
            array = first
        flat = array.reshape(-1).astype(np.float64)
        return float(flat[0]) if flat.size == 1 else flat

    def sliced(self, layer: str, base: str, first: int, channels: int, readers: int = 1) -> Feature:
        """`channels` channels of a layer from `first` on; of a concatenation the layer that they are, if they are one."""
        _, height, width = self.sizes[layer]
        if (first, channels) == (0, self.sizes[layer][0]):
            self.readers[layer] += readers - 1
            return Feature(layer, whole(self.sizes[layer]))
        whole_layer = self.layers.get(layer)
        at = 0
        for source in whole_layer.sources if type(whole_layer) is Concat else ():
            if (at, self.sizes[source][0]) == (first, channels):
                self.readers[source] += readers
                return Feature(source, whole(self.sizes[source]))
            at += self.sizes[source][0]
        return self.add(Slice(self.name(base), layer, first, channels), (channels, height, width), readers)

    def plane(self, node: Node, value: Noise | Known, beside: str) -> str:
        """A layer of constant planes, of the size of the layer `beside` which they are stacked."""
        _, height, width = self.sizes[beside]
        if len(value.shape) != 4 or value.shape[2:] != (height, width):
            raise Unsupported(
                f"it stacks constants of shape {value.shape} and a feature map {(1, *self.sizes[beside])}"
            )
        if isinstance(value, Noise):
            return self.noise(beside, value.shape[1], value.factor)
        flat = self.per_channel(Feature(beside, whole((value.shape[1], height, width))), value)
        values = tuple(np.broadcast_to(np.atleast_1d(flat), (value.shape[1],)).tolist())
        return self.add(
            Constant(self.name(node.base), self._image_like(beside), values), (len(values), height, width)
        ).layer

    def noise(self, beside: str, channels: int, factor: float = 1.0) -> str:
        """A layer of planes of the noise level over 255."""
        if not (np.isclose(factor, 1) or np.isclose(factor, 1 / 255)):
            raise Unsupported(f"the noise level is multiplied by {factor:g}, expected 1 or 1/255")
        layer = Constant(self.name("sigma"), self._image_like(beside), (NOISE / 255,) * channels, "sigma")
        return self.add(layer, (channels, *self.sizes[beside][1:])).layer

    def _image_like(self, beside: str) -> str:
        """The image or a layer that only moves its pixels, of the size of `beside`."""
        moved = {IMAGE}
        for name, layer in self.layers.items():
            if type(layer) in (PixelUnshuffle, Concat, Slice, ChannelShuffle) and moved.issuperset(layer.sources):
                moved.add(name)
        return next(
            (name for name in self.sizes if name in moved and self.sizes[name][1:] == self.sizes[beside][1:]), beside
        )
