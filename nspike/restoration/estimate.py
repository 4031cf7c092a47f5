"""How long a run will take, measured on a corner of the image before it begins."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.model.model import Model
from nspike.restoration.image import restore

LONG = 30.0
"""Seconds from which a run is long."""

_SIDE = 128
_WARM = 16
_WORTH = {True: 5e11, False: 1.5e12}
"""Operations (of the plain network; of the spiking one, a step each) that take a fast processor some seconds: fewer are not
measured first."""


@dataclass(frozen=True)
class Estimate:
    """Seconds that a run will take, and those of the plain network, where that is not the one that runs."""

    seconds: float
    ann_seconds: float | None = None


def estimated(
    model: Model,
    pixels: NDArray[Any],
    scale: int | None,
    *,
    ann: bool = False,
    inexact: bool = False,
    memory: int,
    threads: int | None = None,
) -> Estimate | None:
    """How long `restore` will take, or None where that is less than `LONG`; takes about a second itself.

    Raises as `nspike.restore` does.
    """
    planes = pixels.shape[2] if pixels.ndim == 3 and model.network.channels == 1 and scale is None else 1
    area = pixels.shape[0] * pixels.shape[1] * (1 if model.network.scale > 1 else scale or 1) ** 2
    steps = 1 if ann or model.spiking is None else model.spiking.timesteps
    if planes * area * model.network.macs_per_pixel * steps < _WORTH[ann]:
        return None
    side = max(_SIDE // (scale or 1), _WARM)
    top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    sample = pixels[top : top + side, left : left + side]
    if planes > 1:
        sample = np.ascontiguousarray(sample[..., 1])
    times = planes * pixels.shape[0] * pixels.shape[1] / (sample.shape[0] * sample.shape[1])

    def seconds(plain: bool) -> float:
        for part in (sample[:_WARM, :_WARM], sample):  # the first one compiles, and builds what is built once
            start = time.perf_counter()
            restore(model, part, scale=scale, memory=memory, threads=threads, ann=plain, inexact=inexact)
        return float(times * (time.perf_counter() - start))

    expected = seconds(ann)
    if expected < LONG:
        return None
    return Estimate(expected, None if ann or model.info.trained == "spiking" else seconds(True))
