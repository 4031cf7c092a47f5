"""Parameters of a network's layers from a checkpoint's keys, and what the layouts of published exports have in common."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from nspike_plugins._onnx.squares import transposed as as_convolution

from nspike import Activation, Add, BadInputError, Conv, Network, PixelShuffle, Pointwise, strip_shared, take

Tensors = Mapping[str, np.ndarray]
Parameters = dict[str, np.ndarray]

_NORM = {"bn_weight": "weight", "bn_bias": "bias", "bn_mean": "running_mean", "bn_var": "running_var"}


class Keys:
    """A checkpoint's keys without what they share in front, and the shapes behind them."""

    def __init__(self, tensors: Tensors, *, shared: bool = True) -> None:
        self.tensors = tensors
        self.original = (
            {short: key for key, short in strip_shared(tensors).items()} if shared else {k: k for k in tensors}
        )

    def __contains__(self, key: str) -> bool:
        return key in self.original

    def size(self, key: str, axis: int, default: int) -> int:
        """An axis of an array; `default` if there is no such array, which is then listed as missing."""
        shape = self.tensors[self.original[key]].shape if key in self.original else ()
        return int(shape[axis]) if -len(shape) <= axis < len(shape) else default

    def kernel(self, key: str, default: int) -> int:
        """The side of a kernel."""
        return self.size(f"{key}.weight", 3, default)

    def count(self, pattern: str, default: int) -> int:
        """How many numbers from 0 on stand where `pattern` has {} in keys; `default` if none does."""
        expression = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d{1,4})"))
        numbers = {int(match[1]) for key in self.original if (match := expression.match(key))}
        return max(numbers) + 1 if numbers else default

    def read(
        self,
        network: Network,
        keys: Mapping[str, str],
        *,
        norms: Mapping[str, str] | None = None,
        transposed: Mapping[str, tuple[int, int]] | None = None,
    ) -> tuple[Network, Parameters]:
        """The network, and its parameters from the arrays of these keys.

        keys : layer -> the stem of its keys, before `.weight` and `.bias`; norms : convolution -> the stem of its batch
        norm's; transposed : of the convolutions that are transposed ones in the file, which a pixel shuffle follows,
        (kernel, padding), the stride being the shuffle's factor. Raises BadInputError as `nspike.take` does.
        """
        wanted = self.wanted(network, keys, norms=norms, transposed=transposed)
        factors = _factors(network)
        parameters = take(network.name, self.tensors, wanted)
        for name, (_, padding) in (transposed or {}).items():
            kernel, _ = as_convolution(
                parameters[f"{name}.weight"].astype(np.float64), factors[name], (1, 1), (padding, padding), 1
            )
            parameters[f"{name}.weight"] = np.ascontiguousarray(kernel, np.float32)
            if f"{name}.bias" in parameters:
                parameters[f"{name}.bias"] = np.repeat(parameters[f"{name}.bias"], factors[name] ** 2)
        return network, parameters

    def wanted(
        self,
        network: Network,
        keys: Mapping[str, str],
        *,
        norms: Mapping[str, str] | None = None,
        transposed: Mapping[str, tuple[int, int]] | None = None,
    ) -> dict[str, tuple[str, tuple[int, ...]]]:
        """What `read` takes: the name of a parameter -> (key in the file, shape there)."""
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
        factors = _factors(network)
        for layer in network.layers:
            if layer.name not in keys:
                continue
            shapes = {"weight": (layer.channels,)} if isinstance(layer, Pointwise) else _shapes(layer)
            if transposed and layer.name in transposed:
                outputs = layer.out_channels // factors[layer.name] ** 2
                shapes["weight"] = (layer.in_channels, outputs, *(transposed[layer.name][0],) * 2)
                shapes |= {"bias": (outputs,)} if layer.bias else {}
            for part, shape in shapes.items():
                stem, name = (norms[layer.name], _NORM[part]) if norms and part in _NORM else (keys[layer.name], part)
                wanted[f"{layer.name}.{part}"] = (self.key(f"{stem}.{name}"), shape)
        return wanted

    def key(self, short: str) -> str:
        """A key as it is in the file."""
        return self.original.get(short, short)


def _factors(network: Network) -> dict[str, int]:
    """By how much the pixel shuffle enlarges that reads a layer."""
    return {layer.source: layer.factor for layer in network.layers if isinstance(layer, PixelShuffle)}


def _shapes(conv: Conv) -> dict[str, tuple[int, ...]]:
    each = conv.kernel_shape[:1]
    shapes: dict[str, tuple[int, ...]] = {"weight": conv.kernel_shape} | ({"bias": each} if conv.bias else {})
    normed = (each[0] // conv.normed_together,)
    return shapes | (dict.fromkeys(_NORM, normed) if conv.batch_norm_eps is not None else {})


def image_channels(name: str, channels: int) -> int:
    """The channels of an image, if it is one. Raises BadInputError."""
    if channels not in (1, 3):
        raise BadInputError(f"{name}: takes images of {channels} channels, expected 1 or 3; is it this network?")
    return channels


def scale_told(name: str, told: Mapping[str, Any]) -> int:
    """The factor that a network enlarges by, which its file does not say. Raises BadInputError."""
    scales = told.get("scales") or []
    if len(scales) != 1:
        raise BadInputError(
            f"{name}: the file does not say by how much it enlarges; say it: "
            '--scale 3, or from Python degradation={"scales": [3]}, say'
        )
    return int(scales[0])


def residual(name: str, source: str, width: int, bias: bool) -> list[Any]:
    """x + conv(relu(conv(x))), 3×3: the layers NAME_conv1, NAME_relu, NAME_conv2 and NAME."""
    return [
        Conv(f"{name}_conv1", source, width, width, 3, bias),
        Activation(f"{name}_relu", f"{name}_conv1", width),
        Conv(f"{name}_conv2", f"{name}_relu", width, width, 3, bias),
        Add(name, (source, f"{name}_conv2")),
    ]
