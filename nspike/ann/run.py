"""The plain ANN of a network: the baseline of every comparison, and what a converter calibrates with.

    convolution: zero-padded correlation plus bias;   activation: max(0, ·), perhaps clipped and rounded (`nspike.graph.layer`);
    gate: K·(x - 1) + 1

in float32, each layer over a whole tile before the next. Outside the image every layer is zero. Tiles carry the halo
that each layer needs and every output is summed in one order, so the result depends on neither tiles nor threads.
Batch norm is folded first.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.ann.tile import Buffers, Region, live_channels, pack, run_tile
from nspike.errors import BadInputError, ModelError
from nspike.graph.folding import fold_batch_norm as fold_batch_norm
from nspike.graph.network import Network
from nspike.model.model import OUTPUT
from nspike.runtime.parallel import available

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with how many steps are done, and of how many."""

MEMORY = 256 * 2**20
_LEAST_TILE = 16


def run(
    network: Network,
    parameters: Mapping[str, Floats],
    plane: Floats,
    *,
    threads: int | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
    capture: dict[str, Any] | None = None,
) -> Floats:
    """Run the ANN.

    Parameters
    ----------
    plane : float32 (N, C, H, W), images in [0, 1].
    threads : all that this process may use by default.
    memory : about how many bytes the layers of a tile may take.
    capture : for each activation's name among its keys, is given that layer's values, float32 (N, channels, H, W).

    Returns
    -------
    float32 (N, C, H, W)
        The network's output: a residual, or an image; `nspike.graph.mode.restored` makes the image.

    Raises BadInputError for a plane of another shape, ModelError for parameters that do not fit the network.
    """
    plane = _checked(network, plane)
    packed = pack(network, parameters)
    capture = {} if capture is None else capture
    count, _, height, width = plane.shape
    channels = {layer.name: layer.channels for layer in network.activations}
    for name in capture:
        if name not in channels:
            raise ModelError(f"network {network.name}: there is no activation {name!r} to capture")
        capture[name] = np.empty((count, channels[name], height, width), np.float32)
    output = np.empty(plane.shape, np.float32)
    kept = {**capture, OUTPUT: output}
    tiles = _tiling(network, height, width, memory)
    with ThreadPoolExecutor(_count(threads)) as pool:
        buffers = Buffers()
        for n, image in enumerate(plane):
            for i, (top, left, bottom, right) in enumerate(tiles):
                for name, values in run_tile(network, packed, image, (top, left, bottom, right), buffers, pool):
                    if name in kept:
                        kept[name][n, :, top:bottom, left:right] = values.transpose(2, 0, 1)
                if progress:
                    progress(n * len(tiles) + i + 1, count * len(tiles))
    return output


def activations(
    network: Network,
    parameters: Mapping[str, Floats],
    images: Iterable[Floats],
    *,
    tile: int = 128,
    threads: int | None = None,
) -> Iterator[dict[str, Floats]]:
    """For each tile of each image float32 (C, H, W): activation name, and "output", -> its values float32 (C, h, w).

    The values are those of the whole image: a tile of at most tile×tile pixels only bounds the memory.
    """
    packed = pack(network, parameters)
    with ThreadPoolExecutor(_count(threads)) as pool:
        buffers = Buffers()
        for image in images:
            image = _checked(network, image[None])[0]
            for region in _grid(image.shape[1], image.shape[2], tile):
                yield {
                    name: values.transpose(2, 0, 1).copy()  # the buffers are used again
                    for name, values in run_tile(network, packed, image, region, buffers, pool)
                }


def _tiling(network: Network, height: int, width: int, memory: int) -> list[Region]:
    """The tiles of an image, the whole of it if its layers fit `memory` bytes."""
    pixels = memory // (4 * live_channels(network))
    if height * width <= pixels:
        return [(0, 0, height, width)]
    return _grid(height, width, max(_LEAST_TILE, math.isqrt(pixels) - 2 * network.radius))


def _grid(height: int, width: int, side: int) -> list[Region]:
    """Tiles of about one size, none larger than side×side."""
    rows, columns = max(1, -(-height // side)), max(1, -(-width // side))
    ys = [height * i // rows for i in range(rows + 1)]
    xs = [width * i // columns for i in range(columns + 1)]
    return [(ys[i], xs[j], ys[i + 1], xs[j + 1]) for i in range(rows) for j in range(columns)]


def _checked(network: Network, plane: Floats) -> Floats:
    """The plane as float32 (N, C, H, W)."""
    plane = np.asarray(plane, np.float32)
    if plane.ndim != 4 or plane.shape[1] != network.channels or 0 in plane.shape:
        raise BadInputError(f"network {network.name} takes (N, {network.channels}, H, W), not {plane.shape}")
    return plane


def _count(threads: int | None) -> int:
    """How many threads to use."""
    return available() if threads is None else max(1, threads)
