"""The best conversion that needs no training: what it takes where nothing is said, and the images its layers are fitted on.

One scale for each channel, membranes that are half full at the start, so that rates are rounded to the nearest, a release
that does not round a second time, and then kernels and biases fitted layer by layer (`nspike.converting.regression`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.converter import Converter
from nspike.contracts.neuron import Neuron
from nspike.graph.layer import Activation

Plane = NDArray[np.float32]

RELEASE = {"mprn": {"beta": 3.0}, "mprn_beta": {"alpha": 1.0}}
"""The release threshold α that goes with half full membranes, nearly θ: 0.976, which yet answers to training, and 1."""

SIGNED = {"mprn": {"beta": -30.0}, "mprn_beta": {"alpha": 0.5001}}
"""The release threshold of neurons that fire both signs, half of θ; and they start empty. Half full membranes would round their
counts up, negative ones too, by half a spike on average; so the release rounds what is left to the nearest, of both signs."""

WINDOW = 64
"""The largest side of a window in pixels."""
WINDOWS = 64
"""How many windows at most; with `WINDOW` what bounds the memory."""


def best_options(converter: Converter, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """`given`, and for the options that it leaves out: `per` channel, and `v_init` 0.5, if the converter has them."""
    options = dict(given or {})
    for option in converter.options:
        if option.name == "per" and "channel" in option.choices:
            options.setdefault("per", "channel")
        if option.name == "v_init":
            options.setdefault("v_init", 0.5)
    return options


def taken(plugin: Converter | Neuron) -> dict[str, Any]:
    """What conversion takes, where nothing is said, in place of the defaults of a converter or a neuron."""
    if isinstance(plugin, Converter):
        usual = {option.name: option.default for option in plugin.options} if plugin.calibrates else {}
        return {name: value for name, value in best_options(plugin, None).items() if usual.get(name, value) != value}
    half = {"v_init": 0.5} if any(parameter.name == "v_init" for parameter in plugin.parameters) else {}
    return half | (RELEASE.get(plugin.name, {}) if half else {})


def with_release(neuron: Neuron, values: Mapping[str, float]) -> dict[str, float]:
    """A layer's parameters, with the release threshold that goes with half full membranes if they say none."""
    return {**(RELEASE.get(neuron.name, {}) if values.get("v_init", 0.0) > 0 else {}), **values}


def of_layer(
    neuron: Neuron, layer: Activation, values: Mapping[str, float], given: Mapping[str, float]
) -> dict[str, float]:
    """A layer's parameters: `values`, for signed neurons with `SIGNED` in place of what was not `given`."""
    own = neuron.values(values)
    if not layer.signed:
        return own
    other = SIGNED.get(neuron.name, {}) | {"v_init": 0.0}
    return neuron.values(own | {name: value for name, value in other.items() if name in own and name not in given})


def fit_windows(
    images: Sequence[Plane], targets: Sequence[Plane] | None, multiple: int = 1
) -> tuple[Plane, Plane | None]:
    """Windows of one size, spread evenly over the images, float32 (N, C, h, w), and the same of the targets.

    The size is the median of the images', at most `WINDOW`, and a multiple of `multiple`; smaller images are left out.
    """

    def side(axis: int) -> int:
        median = min(WINDOW, sorted(p.shape[axis] for p in images)[(len(images) - 1) // 2])
        return int(max(median - median % multiple, multiple))

    height, width = side(1), side(2)
    scale = 1 if targets is None else targets[0].shape[1] // images[0].shape[1]
    places = [
        (i, top, left)
        for i, p in enumerate(images)
        for top in range(0, p.shape[1] - height + 1, height)
        for left in range(0, p.shape[2] - width + 1, width)
    ]
    count = min(WINDOWS, len(places))
    chosen = [places[i * len(places) // count] for i in range(count)]

    def cut(planes: Sequence[Plane], times: int) -> Plane:
        return np.stack([
            planes[i][:, times * top : times * (top + height), times * left : times * (left + width)]
            for i, top, left in chosen
        ])  # fmt: skip

    return cut(images, 1), None if targets is None else cut(targets, scale)
