"""The engine: a program over an image, tile by tile, and the ledger of what it cost.

Exact: the spikes, and so the output and the ledger, are the same bits for any tile, thread count and packing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import Ledger
from nspike.engine.accounts import Accounts
from nspike.engine.program import Program
from nspike.engine.stages import check_integer
from nspike.engine.tile import LayerSpikes, Watch, on_plane, run_tile, window
from nspike.engine.tiling import DEFAULT_MEMORY, choose, tiles
from nspike.engine.window import Part
from nspike.errors import BadInputError
from nspike.integer.rounding import IntegerNetwork
from nspike.runtime.parallel import available, executor

Sink = Callable[[Part], None]
"""Is handed the output tile by tile."""

Observer = Callable[[LayerSpikes], None]
"""Is handed the spikes of every layer, tile by tile."""

StepSink = Callable[[int, Part], None]
"""(step from 0, part): what can be read out after each step, handed over after the tile itself."""

Progress = Callable[[int, int], None]
"""(stages done, stages in all)."""


def run(
    program: Program,
    image: NDArray[np.generic],
    *,
    sink: Sink,
    tile: int | None = None,
    memory: int = DEFAULT_MEMORY,
    threads: int | None = None,
    digest: bool = False,
    progress: Progress | None = None,
    observer: Observer | None = None,
    step_sink: StepSink | None = None,
    inexact: bool = False,
) -> Ledger:
    """Run a program.

    Parameters
    ----------
    image : (N, C, H, W): uint8 or uint16 pixels, or int32 on the input plane's grid 1/65535.
    sink : is handed the output, tile by tile, from the calling thread.
    tile : size of the tiles, a multiple of 64 and of the network's size multiple; by default the largest that `memory`
        (bytes of working memory) allows.
    threads : by default one per processor.
    digest : whether to digest every spike train.
    progress, observer, step_sink : called as the tiles run; none changes a bit.
    inexact : run neurons whose kernel computes with floats, too.

    Raises BadInputError for an image of the wrong kind or size, UsageError for a tile or memory out of range, PluginError.
    """
    integers, given = program.integers, program.given
    _check(image, integers)
    if not inexact:
        for stage in integers.stages:
            if given is None or stage.name != given.layer:
                check_integer(stage.neuron)
    threads = available() if threads is None else threads
    pool = executor(threads)
    planes, _, height, width = image.shape
    if given is not None:
        given.check(integers, planes, height, width)
    size = choose(integers, program.plan, height, width, tile, memory)
    cores = [(n, core) for n in range(planes) for core in tiles(height, width, size)]
    accounts = Accounts(program, planes, height, width, digest)
    watch = Watch(observer, _counted(progress, len(cores) * len(integers.stages)), sink, step_sink)
    for n, core in cores:
        result = run_tile(
            program,
            window(program, image, n, core),
            pool=pool,
            threads=threads,
            digest=digest,
            watch=watch,
        )
        accounts.add(result.counts, result.leaves)
    return replace(accounts.ledger(), plane_digest=plane_digest(image) if digest else "")


def _counted(progress: Progress | None, total: int) -> Callable[[], None] | None:
    """A callback that counts its calls for `progress`."""
    if progress is None:
        return None
    done = iter(range(1, total + 1))
    return lambda: progress(next(done), total)


def _check(image: NDArray[np.generic], integers: IntegerNetwork) -> None:
    channels = integers.network.channels
    if image.ndim != 4 or image.shape[1] != channels or 0 in image.shape:
        raise BadInputError(f"the image has shape {image.shape}; expected (planes, {channels}, height, width)")
    multiple = integers.network.size_multiple
    if image.shape[2] % multiple or image.shape[3] % multiple:
        raise BadInputError(
            f"the image is {image.shape[2]} pixels high and {image.shape[3]} wide; network {integers.network.name} runs on "
            f"multiples of {multiple}, to which images are padded before"
        )
    if image.dtype not in (np.uint8, np.uint16, np.int32):
        raise BadInputError(f"the image is {image.dtype}; expected uint8, uint16, or int32 on the grid 1/65535")


def plane_digest(image: NDArray[np.generic]) -> str:
    """SHA-256 of the whole input plane, row by row."""
    digest = hashlib.sha256()
    for n, c in np.ndindex(image.shape[:2]):
        for y in range(0, image.shape[2], 64):
            digest.update(on_plane(image[n, c, y : y + 64]).astype("<i4", copy=False).tobytes())
    return digest.hexdigest()
