"""Restore an image: through the spiking form of a model, or through its plain network."""

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from nspike.model.model import ImageLike, Images, Model, check_plain, expect_model
from nspike.model.result import Result
from nspike.restoration import plain
from nspike.restoration.execute import MEMORY, Progress, prepare
from nspike.restoration.inputs import Input, is_path, read_input
from nspike.restoration.way import scale_of, way
from nspike.runtime.amounts import in_bytes
from nspike.runtime.arguments import whole

if TYPE_CHECKING:
    from nspike.engine.run import Observer


class Options(TypedDict, total=False):
    """The options of `restore`, which explains them."""

    scale: int | None
    tile: int | None
    memory: int | str
    threads: int | None
    ann: bool
    digest: bool
    progress: Progress | None
    observer: "Observer | None"
    inexact: bool
    strength: float


@overload
def restore(model: Model, image: ImageLike, **options: Unpack[Options]) -> Result: ...
@overload
def restore(model: Model, image: Images, **options: Unpack[Options]) -> list[Result]: ...
def restore(
    model: Model,
    image: ImageLike | Images,
    *,
    scale: int | None = None,
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    ann: bool = False,
    digest: bool = False,
    progress: Progress | None = None,
    observer: "Observer | None" = None,
    inexact: bool = False,
    strength: float = 1.0,
) -> Result | list[Result]:
    """Restore an image, or several, with `model`.

    Parameters
    ----------
    model : its spiking form is run, unless `ann`.
    image : a file, or an array: uint8 or uint16, or floats with black 0 and white 1 (outside values allowed, as in noisy
        benchmarks); (H, W) or (H, W, 1) grey, (H, W, 3) RGB; of (H, W, 2) and (H, W, 4) the last channel is alpha, which is
        kept, and enlarged where the image is. Several: a list or tuple of these, restored one after the other.
    scale : for super-resolution, how many times larger; 1 for a luma that is enlarged already. Default: the smallest
        that the model was trained for.
    tile : the side of a tile in pixels; by default the largest that `memory` allows: bytes, or text such as "64M" or "1G".
    threads : by default all.
    ann : run the plain ANN instead.
    digest : put digests of all spikes into the ledger.
    progress : called with (done, total), for each image anew.
    observer : is handed every spike of the spiking form, tile by tile; small tiles keep that small.
    inexact : run a neuron whose kernel computes with floats, too; what comes out may differ from machine to machine.
    strength : the share of what is restored in the result, 0 to 1; the rest is the input (or, for super-resolution, its
        bicubic enlargement), mixed before the one rounding.

    Returns
    -------
    Result
        or, of a list or tuple, a list of them.

    Raises
    ------
    BadInputError
        a file that cannot be read; pixels of another kind, not finite, or far outside [0, 1].
    ModelError
        a plain ANN without `ann`, or one that is damaged.
    PluginError
        a part of the model that is unknown or broken, or a neuron whose kernel computes with floats, without `inexact`.
    UsageError
        a scale for a model that does not enlarge, or out of range; threads, tile, memory or strength out of range.
    """
    expect_model(model)
    options: dict[str, Any] = {"scale": scale, "tile": tile, "memory": memory, "threads": threads, "progress": progress}
    options["strength"] = strength
    options |= {"ann": ann, "digest": digest, "observer": observer, "inexact": inexact}
    if is_path(image) or not isinstance(image, list | tuple):
        return _restore(model, read_input(image), **options)
    return [_restore(model, read_input(one), **options) for one in image]


def _restore(
    model: Model,
    source: Input,
    *,
    scale: int | None,
    tile: int | None,
    memory: int | str,
    threads: int | None,
    progress: Progress | None,
    ann: bool,
    strength: float,
    **options: Any,
) -> Result:
    """Restore one image."""
    if ann:
        check_plain(model)
    if not ann:
        ready = prepare(model, source.pixels, scale=scale, tile=tile, memory=memory, threads=threads, strength=strength)
        result = ready.run(progress=progress, **options)
    else:
        whole(1, tile=tile, threads=threads)
        start = time.perf_counter()
        planes, restored, fill = way(model, source.pixels, scale_of(model, scale), strength)
        plain.run(model, planes, partial(fill, restored), threads, in_bytes(memory), progress)
        result = Result(restored, plain.ledger(model.network, planes.shape), time.perf_counter() - start)
    image = source.finish(result.image)
    return replace(result, image=image, icc_profile=source.icc_profile, exif=source.exif, dpi=source.dpi)
