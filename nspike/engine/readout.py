"""What the head makes of the output layer over a tile: when a run is done, and after each of its steps.

After step t of a run of T steps and its post steps, with the currents I and the spikes s of the output layer,

    Q(t) = Σ_{τ<=t} I(τ);   n(t) = Σ_{τ<=t} s(τ);   residual(t) = Q(t) - n(t)·θ     (of a head that does not fire: Q alone)

and the output after step t is what the head reads from these with min(t, T) in the place of T: rates and mean currents are
over the steps in which input has arrived so far. It is what the network would answer if the run were cut off there; a run
of T = t is another one, in which neurons may go by another T and the post steps come after t. At the last step it is the
output of the run itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.head import OutputLayer
from nspike.contracts.plugin_code import called
from nspike.engine import stages
from nspike.engine.digit_spikes import AnySpikes
from nspike.engine.prepared import Prepared
from nspike.engine.spikes import Spikes
from nspike.engine.stages import Frame
from nspike.engine.window import Rect
from nspike.errors import PluginError
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.rounding import IntegerNetwork

HEAD_ROWS = 64
"""How many rows of the output a head is handed at a time."""

Charge = NDArray[np.int64]
Counts = NDArray[np.int32]
Band = Callable[[Rect], tuple[Charge, Counts]]
"""band(rows and columns of the frame) -> Q, n there."""


def read(
    frame: Frame, prepared: Prepared, spikes: AnySpikes, membranes: NDArray[np.int32], area: Rect
) -> NDArray[np.float64]:
    """The output over `area` (C, rows, columns) at the end of a run, in units of the ANN's, on the frame's threads."""
    stage = prepared.stage
    theta = stage.integer.theta.astype(np.int64)[:, None, None]

    def band(rows: Rect) -> tuple[Charge, Counts]:
        v = membranes[:, rows.y0 : rows.y1, rows.x0 : rows.x1]
        charge = (v - stage.v0[:, None, None]).astype(np.int64)
        fired = np.zeros(v.shape, np.int32)
        if frame.integers.head.fires:
            seen = spikes.rows(rows.y0, rows.y1).dense()
            fired = seen[..., rows.x0 : rows.x1].sum(axis=0, dtype=np.int32)
            charge += fired * theta
        return charge, fired

    return _in_bands(frame, prepared, area, frame.integers.timesteps, band)


def read_each_step(
    frame: Frame, prepared: Prepared, spikes: AnySpikes, current: Callable[[int], NDArray[np.int32]], area: Rect
) -> Iterator[NDArray[np.float64]]:
    """The output over `area` after each step; current(step from 0) is I over `area`, int32 (C, rows, columns)."""
    integers = frame.integers
    shape = (prepared.stage.channels, area.height, area.width)
    charge, fired = np.zeros(shape, np.int64), np.zeros(shape, np.int32)

    def band(rows: Rect) -> tuple[Charge, Counts]:
        window = np.s_[:, rows.y0 - area.y0 : rows.y1 - area.y0, rows.x0 - area.x0 : rows.x1 - area.x0]
        return charge[window].copy(), fired[window].copy()

    for step in range(integers.steps):
        charge += current(step)
        if integers.head.fires:
            fired += spikes.step(step).dense()[0, :, area.y0 : area.y1, area.x0 : area.x1]
        yield _in_bands(frame, prepared, area, min(step + 1, integers.timesteps), band)


def current_in_frame(
    frame: Frame, prepared: Prepared, sources: Mapping[str, Spikes], area: Rect, pad: int, step: int
) -> NDArray[np.int32]:
    """I at one step, int32 (C, rows, columns) over `area`, of a chain whose output layer reads the spikes `sources`.

    It is the membrane of a neuron that never fires, one step old.
    """
    alone = replace(
        prepared,
        v0=np.zeros_like(prepared.v0),
        threshold=np.full_like(prepared.threshold[:1], NEVER_FIRES),
        reset=prepared.reset[:1],
    )
    post = step >= frame.integers.timesteps
    one = replace(frame, integers=replace(frame.integers, timesteps=0 if post else 1, post_steps=1 if post else 0))
    _, membranes = stages.run(alone, one, area, {name: s.step(step) for name, s in sources.items()}, pad, True)
    return membranes[:, area.y0 : area.y1, area.x0 : area.x1]


def _in_bands(frame: Frame, prepared: Prepared, area: Rect, timesteps: int, band: Band) -> NDArray[np.float64]:
    """What the head reads, band by band, each with the head's halo around it."""
    halo = frame.integers.head.kernel // 2
    output = np.empty((prepared.stage.channels, area.height, area.width))

    def rows(first: int, last: int) -> None:
        top, bottom = max(first - halo, area.y0), min(last + halo, area.y1)
        charge, fired = band(Rect(top, bottom, area.x0, area.x1))
        values = _read(prepared, frame.integers, charge, fired, timesteps)
        output[:, first - area.y0 : last - area.y0] = values[:, first - top : last - top]

    starts = range(area.y0, area.y1, HEAD_ROWS)
    for _ in frame.pool.map(lambda first: rows(first, min(first + HEAD_ROWS, area.y1)), starts):
        pass
    return output


def _read(
    prepared: Prepared, integers: IntegerNetwork, charge: Charge, fired: Counts, timesteps: int
) -> NDArray[np.float64]:
    stage, head = prepared.stage, integers.head
    theta = stage.integer.theta.astype(np.int64)
    residual = np.zeros(charge.shape, np.int32)
    if head.fires:
        residual = (charge - fired * theta[:, None, None]).astype(np.int32)
    layer = OutputLayer(charge, fired, residual, theta, stage.integer.exponent, timesteps)
    read = np.asarray(called(f"head {head.name}", head.read, layer, integers.head_parameters))
    if read.dtype.kind not in "fiu":
        raise PluginError(f"head {head.name} gave {read.dtype}; expected float64 {charge.shape}")
    values = read.astype(np.float64, copy=False)
    if values.shape != charge.shape or not np.all(np.isfinite(values)):
        what = f"an array {values.shape}" if values.shape != charge.shape else "NaN or infinity"
        raise PluginError(f"head {head.name} gave {what}; expected finite numbers {charge.shape}")
    return values * integers.output_scale[:, None, None]
