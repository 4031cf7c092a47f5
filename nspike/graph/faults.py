"""What can be wrong with a layer's own numbers, in words."""

import math
from typing import Any

from nspike.graph.plain_layer import FUNCTIONS


def bad_conv(conv: Any) -> str | None:
    """A convolution's fault; None if it has none."""
    numbers, together = (conv.kernel, conv.stride, conv.dilation, conv.groups), conv.normed_together
    if (
        type(conv.repeats) is not int
        or conv.repeats < 1
        or conv.in_channels % conv.repeats
        or conv.out_channels % conv.repeats
    ):
        return f"layer {conv.name!r} repeats {conv.in_channels} and {conv.out_channels} channels {conv.repeats!r} times"
    if not all(type(n) is int and n >= 1 for n in numbers):
        return f"layer {conv.name!r} has kernel, stride, dilation, groups {numbers}, expected positive integers"
    outputs = conv.out_channels // conv.repeats
    if type(together) is not int or together < 1 or outputs % together:
        return f"layer {conv.name!r} norms {together!r} of {outputs} channels together, expected a divisor"
    if conv.in_channels // conv.repeats % conv.groups or outputs % conv.groups:
        return f"layer {conv.name!r} has {conv.in_channels} and {conv.out_channels} channels in {conv.groups} groups"
    pads, least = sum(conv.pads), conv.span + 1 - conv.stride
    if min(conv.pads) < 0 or not least <= pads <= conv.span:
        return (
            f"layer {conv.name!r} with kernel {conv.kernel}, stride {conv.stride}, dilation {conv.dilation} pads by "
            f"{conv.pads}, which changes the size; expected {max(0, least)} to {conv.span} zeros in all"
        )
    return None


def bad_activation(layer: Any) -> str | None:
    """An activation's fault; None if it has none."""
    ceiling, levels = layer.ceiling, layer.levels
    if ceiling is not None and not (
        len(ceiling) in (1, layer.channels)
        and all(isinstance(n, int | float) and math.isfinite(n) and n > 0 for n in ceiling)
    ):
        return f"the ceiling of {layer.name!r} must be 1 or {layer.channels} positive numbers"
    if levels is not None and (ceiling is None or type(levels) is not int or levels < 1):
        return f"{layer.name!r} has {levels!r} levels; they need a ceiling"
    return None


def bad_plain(layer: Any) -> str | None:
    """The fault of a function of each value; None if it has none."""
    if layer.function not in FUNCTIONS:
        return f"layer {layer.name!r} is {layer.function!r}, expected one of {', '.join(FUNCTIONS)}"
    return None


def bad_steps(layer: Any, channels: int) -> str | None:
    """The fault of a layer of steps side by side; None if it has none."""
    numbers = [value for name, value in vars(layer).items() if name in ("reduced_steps", "reduced_channels", "kernel")]
    if any(type(value) is not int or value < 1 for value in numbers) or getattr(layer, "kernel", 1) % 2 == 0:
        return f"layer {layer.name!r} reduces to, and has a kernel of, {numbers}; expected positive integers, an odd kernel"
    threshold, keep = getattr(layer, "threshold", 1.0), getattr(layer, "keep", 0.0)
    if not (math.isfinite(threshold) and threshold > 0 and 0 <= keep <= 1):
        return f"layer {layer.name!r} has threshold {threshold:g} and keeps {keep:g}, expected above 0, and 0 to 1"
    return not_a_size(layer.name, "steps", layer.steps, channels)


def bad_pool(layer: Any) -> str | None:
    """The fault of a pool over the whole image; None if it has none."""
    if layer.function not in ("mean", "max"):
        return f"layer {layer.name!r} takes the {layer.function!r}, expected mean or max"
    return None


def bad_factor(layer: Any) -> str | None:
    """The fault of what a layer shrinks by; None if it has none."""
    if type(layer.factor) is not int or layer.factor < 2 or layer.factor % 2:
        return f"layer {layer.name!r} shrinks by {layer.factor!r}, expected an even number"
    return None


def bad_numbers(layer: Any, *names: str) -> str | None:
    """The fault of fields that must be positive integers; None if all are."""
    values = {name: getattr(layer, name) for name in names}
    if all(type(value) is int and value >= 1 for value in values.values()):
        return None
    listed = ", ".join(f"{name} {value!r}" for name, value in values.items())
    return f"layer {layer.name!r} has {listed}, expected positive integers"


def not_a_size(name: str, what: str, value: int, channels: int | None = None, parts: int | None = None) -> str | None:
    """The fault of a factor or a number of groups, by which (or by `parts`) `channels` must be divisible."""
    if type(value) is not int or value < 1:
        return f"layer {name!r} has {what} {value!r}, expected a positive integer"
    if channels is not None and channels % (value if parts is None else parts):
        return f"layer {name!r} has {what} {value} and reads {channels} channels, which it does not divide"
    return None
