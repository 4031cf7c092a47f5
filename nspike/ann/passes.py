"""In which passes over an image a plain network is run, and what they hold in memory.

A layer that looks at the whole image takes two passes: one adds up what it needs of every row, a later one computes its values
from that, pixel by pixel. A network without such layers has one pass. In each, the image goes by in tiles or in bands of rows.

Layers are run as late as they can be. What a later pass reads of an earlier one is held for the whole image, unless it follows
from what is held without a product: it is then computed again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from nspike.ann.layers import PLAIN, Plan
from nspike.graph import geometry
from nspike.graph.layer import IMAGE, Layer


@dataclass(frozen=True)
class Pass:
    """One pass over the image.

    layers : what is run on each tile, in order.
    gathers : after which of them, by index, or before all (-1), which layers add up rows of what they read.
    held : what is held of the whole image while it runs, and read; new : what it adds to that.
    last_use : for each field of a tile, the index of the last layer that reads it; its own if none does.
    """

    layers: tuple[Layer, ...]
    gathers: Mapping[int, tuple[Layer, ...]]
    held: tuple[str, ...]
    new: tuple[str, ...]
    last_use: Mapping[str, int]

    @property
    def summed(self) -> tuple[Layer, ...]:
        """The layers that add up rows in this pass."""
        return tuple(layer for layers in self.gathers.values() for layer in layers)


def gathered(layer: Layer) -> tuple[str, ...]:
    """What a layer adds up before it can be run."""
    whole = PLAIN[type(layer)].whole
    return () if whole is None else whole.reads(layer)


def passes(plan: Plan) -> tuple[Pass, ...]:
    """The passes of a network, of which the values of `plan.kept` are wanted, and the output."""
    layers = plan.network.layers
    wanted = [*plan.kept, plan.network.output]
    when, count = _latest(layers, wanted)
    held = _held(plan, when)
    needed = [_needed(layers, when, held, wanted, number) for number in range(count)]
    last = {name: max(number for number in range(count) if name in needed[number]) for name in held}
    made = []
    for number in range(count):
        own = tuple(
            layer
            for layer in layers
            if layer.name in needed[number] and not (layer.name in held and when[layer.name] < number)
        )
        summing = [layer for layer in layers if gathered(layer) and when.get(layer.name) == number + 1]
        place = {layer.name: i for i, layer in enumerate(own)}
        gathers: dict[int, tuple[Layer, ...]] = {}
        for layer in summing:
            at = max(place.get(name, -1) for name in gathered(layer))
            gathers[at] = (*gathers.get(at, ()), layer)
        before = tuple(name for name in held if when[name] < number <= last[name])
        new = tuple(name for name in held if when[name] == number)
        made.append(Pass(own, gathers, before, new, _last_use(plan, own, gathers)))
    return tuple(made)


def _latest(layers: tuple[Layer, ...], wanted: Iterable[str]) -> tuple[dict[str, int], int]:
    """For each layer that something needs, the last pass in which it can be run; and how many passes there are."""
    first = {IMAGE: 0}
    for layer in layers:
        read = [first[name] for name in PLAIN[type(layer)].reads(layer)]
        first[layer.name] = max([*read, *(first[name] + 1 for name in gathered(layer))], default=0)
    end = max(first[name] for name in wanted)
    latest = dict.fromkeys(wanted, end)
    for layer in reversed(layers):
        if layer.name in latest:
            own = latest[layer.name]
            for name, limit in [(name, own) for name in PLAIN[type(layer)].reads(layer)] + [
                (name, own - 1) for name in gathered(layer)
            ]:
                latest[name] = min(latest.get(name, limit), limit)
    return latest, end + 1


def _held(plan: Plan, when: Mapping[str, int]) -> tuple[str, ...]:
    """The layers that are held for the whole image."""
    network = plan.network
    last_read = dict(when)
    for layer in network.layers:
        if layer.name in when:
            for name in PLAIN[type(layer)].reads(layer):
                last_read[name] = max(last_read[name], when[layer.name])
            for name in gathered(layer):
                last_read[name] = max(last_read[name], when[layer.name] - 1)
    held: list[str] = []
    again = {IMAGE}
    for layer in network.layers:
        if layer.name not in when:
            continue
        free = geometry.weights(layer) == 0 and not set(layer.sources) & plan.fused
        if free and all(name in again for name in PLAIN[type(layer)].reads(layer)) and not gathered(layer):
            again.add(layer.name)
        elif last_read[layer.name] > when[layer.name]:
            held.append(layer.name)
            again.add(layer.name)
    return tuple(held)


def _needed(
    layers: tuple[Layer, ...], when: Mapping[str, int], held: Collection[str], wanted: Iterable[str], number: int
) -> set[str]:
    """What a pass reads or computes."""
    needed = {name for name in wanted if when[name] == number}
    needed |= {name for name in held if when[name] == number}
    for layer in layers:
        if when.get(layer.name) == number + 1:
            needed |= set(gathered(layer))
    for layer in reversed(layers):
        if layer.name in needed and not (layer.name in held and when[layer.name] < number):
            needed |= set(PLAIN[type(layer)].reads(layer))
    return needed


def _last_use(plan: Plan, layers: tuple[Layer, ...], gathers: Mapping[int, tuple[Layer, ...]]) -> dict[str, int]:
    last = {IMAGE: -1} | {layer.name: i for i, layer in enumerate(layers)}
    for i, layer in enumerate(layers):
        last |= {name: max(last.get(name, i), i) for name in plan.reads(layer)}
    for i, summing in gathers.items():
        for layer in summing:
            last |= {name: max(last.get(name, i), i) for name in gathered(layer)}
    return last


def held_channels(plan: Plan, names: Iterable[str]) -> Fraction:
    """How many channels some layers have for each pixel of the image."""
    network = plan.network
    return sum((network.widths[name] * (network.scales[name] or Fraction(0)) ** 2 for name in names), start=Fraction(0))


def live_channels(plan: Plan, part: Pass) -> Fraction:
    """The most channels of a tile that are in memory at once in a pass, for each pixel of the image."""
    live = {IMAGE: Fraction(plan.network.channels)}
    most = live[IMAGE]
    for i, layer in enumerate(part.layers):
        if layer.name not in plan.fused:
            live[layer.name] = held_channels(plan, [layer.name])
        most = max(most, sum(live.values(), Fraction(0)))
        live = {name: count for name, count in live.items() if part.last_use[name] > i}
    return most
