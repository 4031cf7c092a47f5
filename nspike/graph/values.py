"""What each layer of a network hands on in its spiking form: the image, spikes or a current; and whether it has one.

A convolution reads the image or spikes and gives a current; neurons turn a current into spikes; sums, averages and bilinear
enlargement take currents to currents; what only moves its input (concatenation, shuffles, slices, nearest enlargement) hands
on the kind that it reads. Planes of constants are like the image. `nspike.converting.lowering` rewrites a network so that
this holds everywhere.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from nspike.graph.geometry import Role, geometry
from nspike.graph.layer import IMAGE, Layer

Value = Literal["image", "spikes", "current", "mixed", "plain"]
"""What an edge carries. "mixed": a concatenation of several kinds; "plain": something that no spiking network has."""


def _arranged(read: list[Value]) -> Value:
    return read[0] if len(set(read)) == 1 else "plain" if "plain" in read else "mixed"


GIVES: Mapping[Role, Callable[[list[Value]], Value]] = {
    "current": lambda read: "current",
    "neurons": lambda read: "spikes",
    "linear": lambda read: "current",
    "arrange": _arranged,
    "constant": lambda read: "image",
    "plain": lambda read: "plain",
}
"""What a layer of each role gives, from what it reads."""

ACCEPTS: Mapping[Role, tuple[Value, ...]] = {
    "current": ("image", "spikes"),
    "neurons": ("current",),
    "linear": ("current",),
    "arrange": ("image", "spikes", "current"),
    "constant": ("image",),
    "plain": (),
}
"""What a layer of each role may read in the spiking form; a concatenation reads one kind."""


def values(layers: Iterable[Layer]) -> dict[str, Value]:
    """What each layer hands on, and the image."""
    known: dict[str, Value] = {IMAGE: "image"}
    for layer in layers:
        known[layer.name] = GIVES[geometry(layer).role]([known[source] for source in layer.sources])
    return known


def not_spiking(layers: Iterable[Layer], output: str) -> list[tuple[str, str]]:
    """The layers that keep a network from running as spikes as it is: (name, why), in order; none if it can."""
    layers = tuple(layers)
    known = values(layers)
    faults = []
    for layer in layers:
        role, kind = geometry(layer).role, type(layer).__name__
        if role == "plain":
            faults.append((layer.name, f"{kind} has no spiking form"))
            continue
        wrong = [source for source in layer.sources if known[source] not in ACCEPTS[role]]
        if wrong:
            faults.append(
                (layer.name, f"{kind} reads {known[wrong[0]]} of {wrong[0]!r}, expected {_words(ACCEPTS[role])}")
            )
        elif known[layer.name] == "mixed":
            faults.append((layer.name, f"{kind} reads {_words(known[source] for source in layer.sources)} together"))
    if known[output] != "current":
        faults.append((output, f"the output is {known[output]}, expected a current"))
    return faults


def _words(kinds: Iterable[Any]) -> str:
    return " or ".join(dict.fromkeys(kinds))
