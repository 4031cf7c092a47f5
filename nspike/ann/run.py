"""The plain ANN of a network: the baseline of every comparison, and what a converter calibrates with.

    convolution: zero-padded correlation plus bias;   activation: max(0, ·), perhaps clipped and rounded (`nspike.graph.layer`);
    gate: K·(x - 1) + 1;   the others as `nspike.graph.layer` and `nspike.graph.plain_layer` say

in float32, each layer over a whole tile before the next. Outside the image every layer is zero. Tiles carry the halo
that each layer needs and every output is summed in one order, so the result depends on neither tiles nor threads.
A network with a layer that looks at the whole image (`geometry.needs_everything`) runs in one tile. Batch norm is folded
first.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.ann.field import Buffers, Region
from nspike.ann.layers import Plan
from nspike.ann.packed import Packed, pack
from nspike.ann.tile import live_channels, run_tile, scaled
from nspike.errors import BadInputError, ModelError
from nspike.graph.folding import fold_batch_norm as fold_batch_norm
from nspike.graph.geometry import needs_everything
from nspike.graph.layer import IMAGE
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
    packed: Packed | None = None,
) -> Floats:
    """Run the ANN.

    Parameters
    ----------
    plane : float32 (N, C, H, W), images in [0, 1], H and W multiples of the network's size multiple.
    threads : all that this process may use by default.
    memory : about how many bytes the layers of a tile may take.
    capture : for each layer's name among its keys, is given that layer's values, float32 (N, channels, h, w), at the size
        that it has.
    packed : the parameters as `nspike.ann.packed.pack` gives them, for a network that runs many times.

    Returns
    -------
    float32 (N, C, scale·H, scale·W)
        The network's output: a residual, or an image; `nspike.graph.mode.restored` makes the image.

    Raises BadInputError for a plane of another shape, ModelError for parameters that do not fit the network.
    """
    plane = _checked(network, plane)
    packed = pack(network, parameters) if packed is None else packed
    capture = {} if capture is None else capture
    count, _, height, width = plane.shape
    shapes = network.shapes(height, width)
    for name in capture:
        if name not in shapes or name == IMAGE:
            raise ModelError(f"network {network.name}: there is no layer {name!r} to capture")
        capture[name] = np.empty((count, *shapes[name]), np.float32)
    kept: dict[str, Floats] = {**capture, OUTPUT: np.empty((count, *shapes[network.output]), np.float32)}
    scales = {name: network.scales[network.output if name == OUTPUT else name] for name in kept}
    plan = Plan(network, packed, frozenset(capture))
    tiles = _tiling(plan, height, width, memory)
    with ThreadPoolExecutor(_count(threads)) as pool:
        buffers = Buffers()
        for n, image in enumerate(plane):
            for i, core in enumerate(tiles):
                for name, values in run_tile(plan, image, core, buffers, pool):
                    top, left, bottom, right = scaled(core, scales[name])
                    kept[name][n, :, top:bottom, left:right] = values.transpose(2, 0, 1)
                if progress:
                    progress(n * len(tiles) + i + 1, count * len(tiles))
    return kept[OUTPUT]


def activations(
    network: Network,
    parameters: Mapping[str, Floats],
    images: Iterable[Floats],
    *,
    tile: int = 128,
    threads: int | None = None,
) -> Iterator[dict[str, Floats]]:
    """For each tile of each image float32 (C, H, W): activation name, and "output", -> its values float32 (C, h, w).

    The values are those of the whole image, each layer at the size that it has: a tile of at most tile×tile pixels of the
    image only bounds the memory.
    """
    plan = Plan(network, pack(network, parameters), frozenset(layer.name for layer in network.activations))
    with ThreadPoolExecutor(_count(threads)) as pool:
        buffers = Buffers()
        for image in images:
            image = _checked(network, image[None])[0]
            for region in _grid(network, image.shape[1], image.shape[2], tile):
                yield {
                    name: values.transpose(2, 0, 1).copy()  # the buffers are used again
                    for name, values in run_tile(plan, image, region, buffers, pool)
                }


def _tiling(plan: Plan, height: int, width: int, memory: int) -> list[Region]:
    """The tiles of an image, the whole of it if its layers fit `memory` bytes."""
    pixels = memory // (4 * live_channels(plan))
    if height * width <= pixels or needs_everything(plan.network.layers):
        return [(0, 0, height, width)]
    return _grid(plan.network, height, width, max(_LEAST_TILE, math.isqrt(pixels) - 2 * plan.network.radius))


def _grid(network: Network, height: int, width: int, side: int) -> list[Region]:
    """Tiles of about one size, none larger than side×side but for those that cannot be smaller."""
    if needs_everything(network.layers):
        return [(0, 0, height, width)]
    unit = network.size_multiple
    side = max(1, side // unit)
    height, width = height // unit, width // unit
    rows, columns = max(1, -(-height // side)), max(1, -(-width // side))
    ys = [height * i // rows * unit for i in range(rows + 1)]
    xs = [width * i // columns * unit for i in range(columns + 1)]
    return [(ys[i], xs[j], ys[i + 1], xs[j + 1]) for i in range(rows) for j in range(columns)]


def _checked(network: Network, plane: Floats) -> Floats:
    """The plane as float32 (N, C, H, W)."""
    plane = np.asarray(plane, np.float32)
    if plane.ndim != 4 or plane.shape[1] != network.channels or 0 in plane.shape:
        raise BadInputError(f"network {network.name} takes (N, {network.channels}, H, W), not {plane.shape}")
    multiple = network.size_multiple
    if plane.shape[2] % multiple or plane.shape[3] % multiple:
        raise BadInputError(
            f"network {network.name} takes heights and widths that are multiples of {multiple}, not "
            f"{plane.shape[2]}×{plane.shape[3]}"
        )
    return plane


def _count(threads: int | None) -> int:
    """How many threads to use."""
    return available() if threads is None else max(1, threads)
