"""The difference between two traces: which spike differs first, and how many do.

First is meant in this order: the layer, in network order; the step; the image plane; the channel; y; x. In a
feed-forward network all that the first differing layer reads is then equal on both sides, at every step, so that the layer
itself is what differs; and in it, all steps before. A layer that only one side holds is not compared. A step that only one
side has, a post step, is silent on the other. Places are those of the layer's own pixels, from 0; steps count from 1.

Where the neurons of a layer have other planes of spikes on each side (a ternary neuron beside a plain one), what a neuron fires
in a step is compared: the gains of its spikes added up.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.tiling import BLOCK
from nspike.engine.window import Rect
from nspike.errors import BadInputError, nearest
from nspike.inspection.traces import Trace, damage, in_memory, read_trace, worth
from nspike.inspection.trains import Train

Source = Trace | str | os.PathLike[str] | Mapping[str, Any]
"""A trace, its file, or arrays by layer."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, order=True)
class Place:
    """One spike: a step from 1, a plane of the image, a channel (spike planes times channels), and a pixel.

    in_a : whether it is A that has it, and not B; of neurons with other planes, whose channel is that of the neuron, whether A
        fires more.
    """

    step: int
    plane: int
    channel: int
    y: int
    x: int
    in_a: bool


@dataclass(frozen=True, eq=False)
class LayerDifference:
    """One layer: how many spikes each side has, and how many places differ, int64 (steps,); the first place, or None."""

    name: str
    spikes_a: Counts
    spikes_b: Counts
    differ: Counts
    first: Place | None


@dataclass(frozen=True, eq=False)
class Difference:
    """Of two traces.

    layers : those that were compared, in order; only_a, only_b : those that one side alone holds; notes : what else is not
    the same, in words.
    """

    layers: tuple[LayerDifference, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all compared spikes are equal."""
        return self.first is None

    @property
    def first(self) -> tuple[str, Place] | None:
        """The first layer that differs, and where it does first."""
        return next(((layer.name, layer.first) for layer in self.layers if layer.first is not None), None)


def diff(
    a: Source,
    b: Source,
    *,
    layers: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Difference:
    """Compare two traces, spike by spike, a band of rows at a time.

    Parameters
    ----------
    a, b : traces, their files, or arrays by layer ([planes,] steps, channels, height, width) of zeros and ones.
    layers : which to compare; by default all that both have.
    progress : called with (done, total).

    Raises BadInputError for traces that cannot be compared: of other images, of another T, of other shapes, of windows
    that do not overlap, damaged, or without a layer in common; UsageError for an unknown layer.

    Examples
    --------
    >>> difference = nspike.diff("mine.h5", "theirs.npz")  # doctest: +SKIP
    >>> difference.same, difference.first  # doctest: +SKIP
    """
    with ExitStack() as opened:
        one, two = (_opened(source, opened) for source in (a, b))
        _check_runs(one, two)
        names = _common(one, two, layers)
        places = {name: _places(one, two, name) for name in names}
        for name in names:
            _check_shapes(one, two, name)
        compared = []
        for index, name in enumerate(names):
            pair = (one.trains[name], two.trains[name])
            gains = (one.gains(name), two.gains(name))
            compared.append(_layer(name, pair, (one.name, two.name), gains, *places[name]))
            one.forget(name)
            two.forget(name)
            if progress is not None:
                progress(index + 1, len(names))
        only_a, only_b = (
            tuple(n for n in mine.layers if n not in other.trains) for mine, other in ((one, two), (two, one))
        )
        return Difference(tuple(compared), only_a, only_b, tuple(_notes(one, two, names, places)))


def _opened(source: Source, opened: ExitStack) -> Trace:
    if isinstance(source, Trace):
        return source
    if isinstance(source, Mapping):
        return in_memory(source)
    return opened.enter_context(read_trace(source))


def _check_runs(a: Trace, b: Trace) -> None:
    """Raise BadInputError unless both are of one image and one T."""
    if a.info is None or b.info is None:
        return
    mine, theirs = a.info["input"], b.info["input"]
    if mine["plane_sha256"] != theirs["plane_sha256"]:
        sizes = [f"{i['width']}x{i['height']}, SHA-256 {i['plane_sha256'][:12]}" for i in (mine, theirs)]
        raise BadInputError(f"{a.name} and {b.name} are of different images: {sizes[0]}, and {sizes[1]}")
    steps = [trace["parameters"]["timesteps"] for trace in (a.info, b.info)]
    if steps[0] != steps[1]:
        raise BadInputError(
            f"{a.name} has T = {steps[0]} and {b.name} T = {steps[1]}, so that their steps do not mean the same; trace "
            "both with the same T"
        )


def _common(a: Trace, b: Trace, layers: Sequence[str] | None) -> list[str]:
    for name in layers or ():
        a.train(name)
        b.train(name)
    ordered, other = (a, b) if a.info is not None or b.info is None else (b, a)
    names = [name for name in ordered.layers if name in other.trains and (not layers or name in layers)]
    if not names:
        hint = nearest(b.layers[0], a.layers)
        raise BadInputError(
            f"{a.name} and {b.name} have no layer in common: {', '.join(a.layers)} and {', '.join(b.layers)}.{hint}"
        )
    return names


def _places(a: Trace, b: Trace, name: str) -> tuple[Rect, Rect, Rect]:
    """Where each side's train of a layer lies, in the layer's pixels, and where both do."""
    windows = [a.window_of(name), b.window_of(name)]
    for i, (trace, other) in enumerate(((a, b), (b, a))):
        if windows[i] is not None:
            continue
        *_, height, width = trace.trains[name].shape
        windows[i] = Rect(0, height, 0, width)
        theirs = other.window_of(name)
        if theirs is not None and (theirs.height, theirs.width) == (height, width):
            windows[i] = theirs
    one, two = windows
    assert one is not None
    assert two is not None
    both = Rect(max(one.y0, two.y0), min(one.y1, two.y1), max(one.x0, two.x0), min(one.x1, two.x1))
    if both.height < 1 or both.width < 1:
        raise BadInputError(f"the windows of {a.name} and {b.name} do not overlap")
    return one, two, both


def _check_shapes(a: Trace, b: Trace, name: str) -> None:
    mine, theirs = a.trains[name].shape, b.trains[name].shape
    foreign = a.info is None or b.info is None
    size = foreign and mine[3:] != theirs[3:]
    size = size or (not foreign and a.scale(name) != b.scale(name))
    steps = mine[1] != theirs[1] and not _post_steps_apart(a, b, mine[1], theirs[1])
    channels = [trace.trains[name].shape[2] // len(trace.gains(name)) for trace in (a, b)]
    if mine[0] != theirs[0] or channels[0] != channels[1] or size or steps:
        raise BadInputError(
            f"layer {name!r} is (planes, steps, channels, height, width) {mine} in {a.name} and {theirs} in {b.name}; "
            "they cannot be compared"
        )


def _post_steps_apart(a: Trace, b: Trace, mine: int, theirs: int) -> bool:
    """Whether the steps that only one side has are post steps."""
    known = [trace.info["parameters"]["timesteps"] for trace in (a, b) if trace.info is not None]
    return bool(known) and min(mine, theirs) >= known[0]


def _layer(
    name: str,
    trains: tuple[Train, Train],
    names: tuple[str, str],
    gains: tuple[tuple[int, ...], tuple[int, ...]],
    place_a: Rect,
    place_b: Rect,
    both: Rect,
) -> LayerDifference:
    a, b = trains
    planes, steps = a.shape[0], max(a.shape[1], b.shape[1])
    spikes_a, spikes_b, differ = (np.zeros(steps, np.int64) for _ in range(3))
    first: Place | None = None
    for step in range(steps):
        places: list[Place] = []
        for n, rows in _bands(planes, both):
            mine: NDArray[Any] = _read(a, names[0], n, step, rows, place_a)
            theirs: NDArray[Any] = _read(b, names[1], n, step, rows, place_b)
            spikes_a[step] += np.count_nonzero(mine)
            spikes_b[step] += np.count_nonzero(theirs)
            if gains[0] != gains[1]:
                mine, theirs = worth(mine, gains[0]), worth(theirs, gains[1])
            other = mine != theirs
            differ[step] += np.count_nonzero(other)
            if first is None and other.any():
                c, y, x = (int(i) for i in np.unravel_index(int(other.argmax()), other.shape))
                places.append(Place(step + 1, n, c, y + rows.y0, x + rows.x0, bool(mine[c, y, x] > theirs[c, y, x])))
        first = first or min(places, default=None)
    return LayerDifference(name, spikes_a, spikes_b, differ, first)


def _bands(planes: int, both: Rect) -> Iterator[tuple[int, Rect]]:
    for n in range(planes):
        for y in range(both.y0, both.y1, BLOCK):
            yield n, Rect(y, min(y + BLOCK, both.y1), both.x0, both.x1)


def _read(train: Train, name: str, n: int, step: int, rows: Rect, place: Rect) -> NDArray[np.bool_]:
    if step >= train.shape[1]:
        return np.zeros((train.shape[2], rows.height, rows.width), np.bool_)
    with damage(name):
        return train.read(n, step, (rows.y0 - place.y0, rows.y1 - place.y0), (rows.x0 - place.x0, rows.x1 - place.x0))


def _notes(a: Trace, b: Trace, names: Sequence[str], places: Mapping[str, tuple[Rect, Rect, Rect]]) -> Iterator[str]:
    if a.info is not None and b.info is not None:
        models = [f"{i['model']['name']} ({i['model']['digest'][:12]})" for i in (a.info, b.info)]
        if models[0] != models[1]:
            yield f"the models differ: {models[0]} and {models[1]}"
        for key in ("neuron", "head"):
            parts = [i["parameters"][key] for i in (a.info, b.info)]
            if parts[0] != parts[1]:
                yield f"the {key}s differ: {parts[0]} and {parts[1]}"
    other = next((name for name in names if a.gains(name) != b.gains(name)), None)
    if other is not None:
        planes = [", ".join(f"{gain:+d}" for gain in trace.gains(other)) for trace in (a, b)]
        yield f"the neurons have other planes of spikes ({planes[0]}; {planes[1]}): compared by what they fire in a step"
    steps = [trace.trains[names[0]].shape[1] for trace in (a, b)]
    if steps[0] != steps[1]:
        longer, last = (a, steps[1]) if steps[0] > steps[1] else (b, steps[0])
        yield f"only {longer.name} has steps after {last}; the other is silent there"
    if not (a.whole and b.whole):
        both = places[names[0]][2]
        where = (
            "" if len({places[name][2] for name in names}) == 1 else f" of layer {names[0]}, and as much of the others"
        )
        yield f"compared: {both.width}x{both.height} pixels from ({both.x0}, {both.y0}) on{where}"
