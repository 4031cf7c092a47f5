"""Anytime output: the image after each step of one run, how good it is, and what it has cost until then.

The image after step t is what the head reads at step t of the run with all its T steps and post steps: see
`nspike.engine.readout`. The quality of an image p against another, r, both of N samples with white W, is

    PSNR = 10·log10(W²·N / Σ (p - r)²)

from an integer sum, so that no tile changes it (of floats, squares are rounded to 2^-32). The operations until step t are
those caused by all spikes of steps 1..t, the head's included; the first layer's multiply-accumulates, once for all steps,
are not among them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import Ledger
from nspike.errors import BadInputError, UsageError
from nspike.model.model import Model, expect_model
from nspike.model.result import Result
from nspike.restoration.execute import MEMORY, Progress, prepare
from nspike.restoration.way import Fill, Pixels
from nspike.runtime.words import counted

if TYPE_CHECKING:
    from nspike.engine.window import Part

WITHIN = 0.1
MATCH = 40.0
_FINE = 2.0**32


@dataclass(frozen=True)
class Step:
    """After one step: spikes and synaptic operations until then, and the PSNR in dB (infinite for equal images).

    step from 1; post : whether it is a post step; psnr : against the reference, None without one; psnr_last : against the
    image after the last step.
    """

    step: int
    post: bool
    spikes: int
    synops: int
    synops_paper: int
    psnr: float | None
    psnr_last: float


@dataclass(frozen=True, eq=False)
class Curve:
    """The steps of a run, and its result, which is the image after the last of them."""

    steps: tuple[Step, ...]
    result: Result

    def __repr__(self) -> str:
        return f"<Curve of {counted(len(self.steps), 'step')}: {self.result!r}>"

    def stop(self, *, within: float = WITHIN, match: float = MATCH) -> int:
        """Where to stop: the earliest step whose image is good enough.

        With a reference: within so many dB of the best step. Without: at least `match` dB against the last image.
        """
        if any(step.psnr is None for step in self.steps):
            return next(step.step for step in self.steps if step.psnr_last >= match)
        best = max(step.psnr for step in self.steps if step.psnr is not None)
        return next(s.step for s in self.steps if s.psnr is not None and (s.psnr == best or s.psnr >= best - within))


def curve(
    model: Model,
    pixels: Pixels,
    *,
    reference: Pixels | None = None,
    keep: Callable[[int, tuple[int, ...], np.dtype[Any]], Pixels] | None = None,
    scale: int | None = None,
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Restore an image and look at it after every step.

    Parameters
    ----------
    model, pixels, scale, tile, memory, threads, progress : as for `nspike.restore`.
    reference : the clean image, of the result's size; 8 or 16 bits, or floats for floats.
    keep : (step from 1, shape, dtype) -> an array to fill with the image after that step.

    Returns
    -------
    Curve

    Raises
    ------
    BadInputError
        a reference of another size or kind; and as `nspike.restore` does.
    UsageError, ModelError, PluginError
        as `nspike.restore` does.

    Examples
    --------
    >>> curve = nspike.curve(model, noisy, reference=clean)  # doctest: +SKIP
    >>> [(step.synops, step.psnr) for step in curve.steps], curve.stop()  # doctest: +SKIP
    """
    expect_model(model)
    ready = prepare(model, pixels, scale=scale, tile=tile, memory=memory, threads=threads)
    image, count = ready.image, ready.program.integers.steps
    if reference is not None:
        _check_reference(reference, image)
    kept = [] if keep is None else [keep(step, image.shape, image.dtype) for step in range(1, count + 1)]
    gauge = _Gauge(image, reference, kept, ready.fill, count, separate=len(ready.planes) > 1)
    result = ready.run(step_sink=gauge.step, progress=progress)
    return Curve(_steps(result.ledger, gauge), result)


class _Gauge:
    """Fills the image of each step and adds up how far it is from the last one and from the reference."""

    def __init__(
        self,
        image: Pixels,
        reference: Pixels | None,
        kept: list[Pixels],
        fill: Fill,
        steps: int,
        *,
        separate: bool,
    ) -> None:
        self._image, self._reference, self._kept, self._fill = image, reference, kept, fill
        self._scratch = np.empty_like(image)
        self._separate = separate
        self.from_last, self.from_reference = [0] * steps, [0] * steps

    def step(self, step: int, part: "Part") -> None:
        """The engine's step sink; the tile of the last image is there already."""
        target = self._kept[step] if self._kept else self._scratch
        self._fill(target, part)
        height, width = self._image.shape[:2]
        scale = part.scale
        core = part.cropped(height // scale, width // scale).core.scaled(Fraction(scale))
        window = (*core.slices, part.n) if self._separate else core.slices
        self.from_last[step] += _squares(target[window], self._image[window])
        if self._reference is not None:
            self.from_reference[step] += _squares(target[window], self._reference[window])

    def psnr(self, squares: int) -> float:
        """PSNR in dB for a sum of squared errors over the whole image; infinite for 0."""
        white = 65535.0 if self._image.dtype.kind == "u" else math.sqrt(_FINE)
        return 10.0 * math.log10(white**2 * self._image.size / squares) if squares else math.inf

    def to_reference(self, step: int) -> float | None:
        """The PSNR against the reference, if there is one."""
        return None if self._reference is None else self.psnr(self.from_reference[step])


def _squares(a: Pixels, b: Pixels) -> int:
    """Σ (a - b)², of pixels in units of 1/65535, of floats in units of 2^-16."""
    if a.dtype.kind == "f":
        return int(np.rint((a - b) ** 2 * _FINE).astype(np.int64).sum())
    difference = _wide(a) - _wide(b)
    return int((difference * difference).sum())


def _wide(pixels: Pixels) -> NDArray[np.int64]:
    return pixels.astype(np.int64) * (257 if pixels.dtype == np.uint8 else 1)


def _check_reference(reference: Pixels, image: Pixels) -> None:
    if not isinstance(reference, np.ndarray):
        raise BadInputError(f"the reference is of type {type(reference).__name__}; expected an array of pixels")
    if reference.shape != image.shape:
        raise BadInputError(f"the reference is {reference.shape}, and the result will be {image.shape}")
    kinds = (np.uint8, np.uint16) if image.dtype.kind == "u" else (np.float32, np.float64)
    if reference.dtype not in kinds:
        raise BadInputError(f"the reference is {reference.dtype}, and the image {image.dtype}; give both as pixels")


def _steps(ledger: Ledger, gauge: _Gauge) -> tuple[Step, ...]:
    count = ledger.timesteps + ledger.post_steps
    spikes = sum((layer.events.sum(axis=0) for layer in ledger.layers), np.zeros(count, np.int64))
    synops, paper = (np.array(ledger.head_synops_steps or [0] * count, np.int64) for _ in range(2))
    if ledger.head_synops:
        output = ledger.layers[-1].events.sum(axis=0)
        paper = output * (ledger.head_synops_paper // int(output.sum()))
    for layer in ledger.layers:
        synops, paper = synops + layer.synops, paper + layer.synops_paper
    totals = [np.cumsum(values) for values in (spikes, synops, paper)]
    return tuple(
        Step(
            step=t + 1,
            post=t >= ledger.timesteps,
            spikes=int(totals[0][t]),
            synops=int(totals[1][t]),
            synops_paper=int(totals[2][t]),
            psnr=gauge.to_reference(t),
            psnr_last=gauge.psnr(gauge.from_last[t]),
        )
        for t in range(count)
    )


def check_levels(within: float, match: float) -> None:
    """Raise UsageError for levels in dB that are none."""
    if not (math.isfinite(within) and within >= 0):
        raise UsageError(f"within = {within:g} dB is out of range; expected 0 or more")
    if not (math.isfinite(match) and match > 0):
        raise UsageError(f"match = {match:g} dB is out of range; expected more than 0")
