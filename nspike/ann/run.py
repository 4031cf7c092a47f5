"""The plain ANN of a network: the baseline of every comparison, and what a converter calibrates with.

    convolution: zero-padded correlation plus bias;   activation: max(0, ·), perhaps clipped and rounded (`nspike.graph.layer`);
    gate: K·(x - 1) + 1;   the others as `nspike.graph.layer` and `nspike.graph.plain_layer` say

in float32, each layer over a whole tile before the next. Outside the image every layer is zero. Tiles carry the halo
that each layer needs and every output is summed in one order, so the result depends on neither tiles nor threads.
A network with layers that look at the whole image (`geometry.needs_everything`) runs in several passes, each in bands of rows
(`nspike.ann.passes`). Batch norm is folded first.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.ann.field import FREE, Buffers, Region, fitting
from nspike.ann.layers import Plan
from nspike.ann.packed import Packed, pack
from nspike.ann.passes import Pass, held_channels, live_channels, passes
from nspike.ann.tile import State, needed, run_tile, scaled
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
_LARGEST_BAND = 64 * 2**20  # larger ones leave the processor's caches


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
    memory : about how many bytes the layers may take. A network that looks at the whole image takes at least
        `least_memory`.
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
    parts = [(part, _tiling(plan, part, height, width, memory)) for part in passes(plan)]
    steps = sum(len(tiles) for _, tiles in parts)
    sizes = {name: shape[1:] for name, shape in shapes.items()}
    done = 0
    with ThreadPoolExecutor(_count(threads)) as pool:
        buffers = Buffers()
        for n, image in enumerate(plane):
            state = State(plan, image, sizes)
            for part, tiles in parts:
                if len(parts) > 1:  # whose bands are of other heights
                    buffers = Buffers()
                state.begin(part)
                for core in tiles:
                    for name, values in run_tile(state, part, core, buffers, pool):
                        top, left, bottom, right = scaled(core, scales[name])
                        kept[name][n, :, top:bottom, left:right] = values.transpose(2, 0, 1)
                    done += 1
                    if progress:
                        progress(done, count * steps)
                state.end(part)
    return kept[OUTPUT]


def least_memory(network: Network, height: int, width: int) -> int:
    """About how many bytes the layers of a network take at least on an image of this size, with the narrowest bands."""
    plan = Plan(network, Packed({}, {}), frozenset())
    return max(
        _held_bytes(plan, part, height, width)
        + _band_bytes(plan, part, height, width, min(height, network.size_multiple))
        for part in passes(plan)
    )


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
    if needs_everything(network.layers):
        for image in images:
            captured: dict[str, Any] = dict.fromkeys(layer.name for layer in network.activations)
            output = run(network, parameters, image[None], threads=threads, capture=captured)
            yield {name: values[0] for name, values in {**captured, OUTPUT: output}.items()}
        return
    plan = Plan(network, pack(network, parameters), frozenset(layer.name for layer in network.activations))
    (part,) = passes(plan)
    with ThreadPoolExecutor(_count(threads)) as pool:
        buffers = Buffers()
        for image in images:
            image = _checked(network, image[None])[0]
            sizes = {name: shape[1:] for name, shape in network.shapes(*image.shape[1:]).items()}
            state = State(plan, image, sizes)
            for region in _grid(network, image.shape[1], image.shape[2], tile):
                yield {
                    name: values.transpose(2, 0, 1).copy()  # the buffers are used again
                    for name, values in run_tile(state, part, region, buffers, pool)
                }


def _tiling(plan: Plan, part: Pass, height: int, width: int, memory: int) -> list[Region]:
    """The tiles of an image in a pass, the whole of it if its layers fit `memory` bytes."""
    if needs_everything(plan.network.layers):
        return _bands(plan, part, height, width, memory)
    pixels = memory // (4 * math.ceil(live_channels(plan, part)))
    if height * width <= pixels:
        return [(0, 0, height, width)]
    return _grid(plan.network, height, width, max(_LEAST_TILE, math.isqrt(pixels) - 2 * plan.network.radius))


def _bands(plan: Plan, part: Pass, height: int, width: int, memory: int) -> list[Region]:
    """Bands of whole rows, as high as `memory` allows beside what is held, and no higher than is of use."""
    unit = plan.network.size_multiple
    room = min(memory - _held_bytes(plan, part, height, width), _LARGEST_BAND)
    one, two = (_band_bytes(plan, part, height, width, min(height, n * unit)) for n in (1, 2))
    units = 1 + max(0, room - one) // max(1, two - one)
    count = -(-height // (units * unit))
    starts = [height // unit * i // count * unit for i in range(count + 1)]
    return [(starts[i], 0, starts[i + 1], width) for i in range(count)]


def _held_bytes(plan: Plan, part: Pass, height: int, width: int) -> int:
    return math.ceil(4 * held_channels(plan, {*part.held, *part.new}) * height * width)


def _band_bytes(plan: Plan, part: Pass, height: int, width: int, rows: int) -> int:
    """The bytes of the layers of a band of so many rows in the middle of the image, with the rows around it that they need."""
    top = (height - rows) // 2 // plan.network.size_multiple * plan.network.size_multiple
    regions = needed(plan, part, (top, 0, top + rows, width), (height, width))
    live: dict[str, int] = {}
    free: list[int] = []
    most = 0
    for at, name in enumerate((IMAGE, *(layer.name for layer in part.layers)), -1):
        y0, x0, y1, x1 = regions[name]
        margin = plan.margins[name]
        if name not in plan.fused and y0 < y1:
            pixels = (y1 - y0 + 2 * margin) * (x1 - x0 + 2 * margin) + plan.slack[name]
            size = plan.network.widths[name] * pixels
            best = fitting(free, size)
            if best is None:
                free = [other for other in free if 4 * other >= size]
            live[name] = size if best is None else free.pop(best)
        most = max(most, sum(live.values()) + sum(free))
        for used in [other for other in live if part.last_use[other] <= at]:
            free = [*free[-(FREE - 1) :], live.pop(used)]
    return 4 * most


def _grid(network: Network, height: int, width: int, side: int) -> list[Region]:
    """Tiles of about one size, none larger than side×side but for those that cannot be smaller."""
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
