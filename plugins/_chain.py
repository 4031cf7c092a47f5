"""Reading a plain chain of convolutions, as DnCNN and VDSR are: any depth from 2, any width, with or without batch norm.

Once the leading names that all keys share are taken away (`module.`, `dncnn.`, `model.`, `net.`, `layers.`), the exports
of such networks number their layers alike. Conv i of n:

    merged (no batch norm)        0, 2, 4, ... (a ReLU between), or 0, 1, 2, ...
    batch norm, PyTorch           0, then 2, 5, 8, ... each with its batch norm under the next number; the last like these
    batch norm, MatConvNet        the same or 0, 1, 2, ..., with `bn.{gamma,beta,mean,std}` under the convolution's number

ε of batch norm is not in a file. MatConvNet's is inside `std`; 1e-4 is taken for the two published trainings that set it,
known by their keys (KAIR: `model.N`, every convolution with a bias; cszn's PyTorch code: the first alone has one); else
PyTorch's 1e-5.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nspike import Activation, BadInputError, Conv, Network, Option, shorten, strip_shared, take

Tensors = Mapping[str, np.ndarray]

_TORCH_NORM = {"bn_weight": "weight", "bn_bias": "bias", "bn_mean": "running_mean", "bn_var": "running_var"}
_MATCONVNET_NORM = {"bn_weight": "bn.gamma", "bn_bias": "bn.beta", "bn_mean": "bn.mean", "bn_var": "bn.std"}


def chain(name: str, mode: Any, options: Mapping[str, Any], *, bias: bool) -> Network:
    """A chain to be trained from scratch: `depth` convolutions of `width` channels, 3×3, on images of `channels`."""
    depth, width, channels = options["depth"], options["width"], options["channels"]
    sizes = [channels, *[width] * (depth - 1), channels]
    layers: list[Conv | Activation] = []
    for i in range(1, depth + 1):
        source = layers[-1].name if layers else "image"
        layers.append(Conv(f"conv{i}", source, sizes[i - 1], sizes[i], 3, bias))
        if i < depth:
            layers.append(Activation(f"relu{i}", f"conv{i}", width))
    return Network(name, channels, tuple(layers), layers[-1].name, mode)


def chain_options(depth: int) -> tuple[Option, ...]:
    """The options of such a network."""
    return (
        Option("depth", depth, "convolutions", low=2, high=1000),
        Option("width", 64, "channels of each", low=1, high=65536),
        Option("channels", 1, "of the image", choices=(1, 3)),
    )


def read_numbered(
    name: str, mode: Any, tensors: Tensors, foreign: Mapping[str, str]
) -> tuple[Network, dict[str, np.ndarray]]:
    """Read a chain whose layers are numbered. Raises BadInputError that lists missing and unknown keys.

    foreign : what another network's exports call the numbered layers -> that network. Nothing else distinguishes such
    chains, and the wrong one would run and restore nothing.
    """
    original = {short: key for key, short in strip_shared(tensors).items()}
    called = {key.removesuffix(short).rstrip(".").rpartition(".")[2] for short, key in original.items()}
    if owner := next((foreign[part] for part in called if part in foreign), None):
        raise BadInputError(
            f"{name}: the layers are named as {owner}'s; missing keys: layers under another name; unknown keys: "
            f"{shorten(tensors)}. If they are {name}'s all the same, take the name before the numbers away"
        )
    numbers = sorted({int(match[1]) for short in original if (match := re.match(r"(\d+)\.", short))})
    if not numbers or numbers[-1] > 10_000:
        raise BadInputError(
            f"{name}: missing keys: numbered layers such as 0.weight, 2.weight; unknown keys: {shorten(tensors)}"
        )
    matconvnet = any(".bn." in short for short in original)
    norms = matconvnet or any(short.endswith(".running_mean") for short in original)
    convs = _conv_numbers(numbers, norms, matconvnet)
    # A bias of the body is expected everywhere or nowhere; next to batch norm the ends may differ.
    biased = {n for n in convs if f"{n}.bias" in original}
    if biased.intersection(convs[1:-1]) or (biased and not norms):
        biased = set(convs)
    layout = []
    for i, n in enumerate(convs):
        keys = {"weight": f"{n}.weight"} | ({"bias": f"{n}.bias"} if n in biased else {})
        if norms and 0 < i < len(convs) - 1:
            at, parts = (n, _MATCONVNET_NORM) if matconvnet else (n + 1, _TORCH_NORM)
            keys |= {part: f"{at}.{key}" for part, key in parts.items()}
        layout.append({part: original.get(key, key) for part, key in keys.items()})
    kair = len(biased) == len(convs) and any("model" in key.split(".") for key in tensors)
    eps = 0.0 if matconvnet else 1e-4 if kair or biased == {0} else 1e-5
    network, parameters = read_chain(name, mode, layout, tensors, eps)
    if matconvnet:
        parameters |= {key: array * array for key, array in parameters.items() if key.endswith(".bn_var")}
    return network, parameters


def read_chain(
    name: str, mode: Any, layout: Sequence[Mapping[str, str]], tensors: Tensors, eps: float = 1e-5
) -> tuple[Network, dict[str, np.ndarray]]:
    """Read a chain given, for each convolution, its parts ("weight", "bias", "bn_weight", ...) and their keys."""
    channels = _channels(layout, tensors)
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
    layers: list[Conv | Activation] = []
    for i, keys in enumerate(layout, start=1):
        before, width = channels[i - 1], channels[i] if i < len(layout) else channels[0]
        shape = tensors[keys["weight"]].shape if keys["weight"] in tensors else ()
        kernel = shape[-1] if len(shape) == 4 and shape[-1] % 2 else 3
        wanted |= {f"conv{i}.{part}": (key, (width,)) for part, key in keys.items()}
        wanted[f"conv{i}.weight"] = (keys["weight"], (width, before, kernel, kernel))
        source = layers[-1].name if layers else "image"
        norm = eps if "bn_mean" in keys else None
        layers.append(Conv(f"conv{i}", source, before, width, kernel, "bias" in keys, norm))
        if i < len(layout):
            layers.append(Activation(f"relu{i}", f"conv{i}", width))
    if len(layout) < 2:
        raise BadInputError(f"{name}: found one layer, expected at least two convolutions; keys: {shorten(tensors)}")
    parameters = take(name, tensors, wanted)
    if channels[0] not in (1, 3):
        raise BadInputError(f"{name}: takes images of {channels[0]} channels, expected 1 or 3; is it this network?")
    return Network(name, channels[0], tuple(layers), layers[-1].name, mode), parameters


def _conv_numbers(numbers: Sequence[int], norms: bool, matconvnet: bool) -> list[int]:
    """The numbers of the convolutions, given all numbers in the file and whether there is batch norm."""
    last = numbers[-1]
    if 1 in numbers and (matconvnet or not norms):
        return list(range(last + 1))
    if norms:
        missing_last = (last - 2) % 3 == 1  # the file ends with a batch norm
        return [0, *range(2, last + (3 if missing_last else 1), 3)]
    return list(range(0, last + 1, 2))


def _channels(layout: Sequence[Mapping[str, str]], tensors: Tensors) -> list[int]:
    """The channels that each convolution reads, from the first dimension of the one before."""
    shapes = [tensors[keys["weight"]].shape if keys["weight"] in tensors else () for keys in layout]
    known = [shape[0] for shape in shapes[:-1] if len(shape) == 4]
    usual = max(set(known), key=known.count) if known else 64
    first = shapes[0][1] if len(shapes[0]) == 4 else 1
    return [first, *(shape[0] if len(shape) == 4 else usual for shape in shapes[:-1])]
