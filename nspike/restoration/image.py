"""Restore an image: through the spiking form of a model, or through its plain network."""

import time
from functools import partial
from typing import TYPE_CHECKING

from nspike.model.model import Model
from nspike.model.result import Result
from nspike.restoration import plain
from nspike.restoration.execute import MEMORY, Progress, at_least_one, prepare
from nspike.restoration.way import Pixels, scale_of, way

if TYPE_CHECKING:
    from nspike.engine.run import Observer


def restore(
    model: Model,
    pixels: Pixels,
    *,
    scale: int | None = None,
    tile: int | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    ann: bool = False,
    digest: bool = False,
    progress: Progress | None = None,
    observer: "Observer | None" = None,
    inexact: bool = False,
    strength: float = 1.0,
) -> Result:
    """Restore `pixels` with `model`.

    Parameters
    ----------
    model : its spiking form is run, unless `ann`.
    pixels : uint8 or uint16, or floats with black 0 and white 1 (outside values allowed, as in noisy benchmarks);
        (H, W) grey or (H, W, 3) RGB.
    scale : for super-resolution, how many times larger; 1 for a luma that is enlarged already. Default: the smallest
        that the model was trained for.
    tile : the side of a tile in pixels; by default the largest that `memory` (bytes) allows.
    threads : by default all.
    ann : run the plain ANN instead.
    digest : put digests of all spikes into the ledger.
    progress : called with (done, total).
    observer : is handed every spike of the spiking form, tile by tile; small tiles keep that small.
    inexact : run a neuron whose kernel computes with floats, too; what comes out may differ from machine to machine.
    strength : the share of what is restored in the result, 0 to 1; the rest is the input (or, for super-resolution, its
        bicubic enlargement), mixed before the one rounding.

    Returns
    -------
    Result

    Raises
    ------
    BadInputError
        pixels of another kind, not finite, or far outside [0, 1].
    ModelError
        a plain ANN without `ann`, or one that is damaged.
    PluginError
        a part of the model that is unknown or broken, or a neuron whose kernel computes with floats, without `inexact`.
    UsageError
        a scale for a model that does not enlarge, or out of range; threads, tile, memory or strength out of range.
    """
    if not ann:
        ready = prepare(model, pixels, scale=scale, tile=tile, memory=memory, threads=threads, strength=strength)
        return ready.run(digest=digest, progress=progress, observer=observer, inexact=inexact)
    at_least_one(tile=tile, memory=memory, threads=threads)
    start = time.perf_counter()
    planes, image, fill = way(model, pixels, scale_of(model, scale), strength)
    plain.run(model, planes, partial(fill, image), threads, memory, progress)
    return Result(image, plain.ledger(model.network, planes.shape), time.perf_counter() - start)
