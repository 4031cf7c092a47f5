"""The digest of a spike train: SHA-256 over fixed blocks, the same for any packing, tile, thread count and kernel.

Of each layer and step, a leaf is the SHA-256 of one block's spikes in the order (plane, channel, y, x), eight to a byte, the
first in the lowest bit. Blocks lie side by side from the layer's origin and are 64 pixels high and wide (the last ones may be
smaller); those of a layer r times as high as the image have gcd(64, r·lcm(64, the network's size multiple)). The digest of the
layer and step is the SHA-256 of its leaves, image plane by image plane in raster order.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from nspike.engine.digit_spikes import AnySpikes
from nspike.engine.tiling import BLOCK
from nspike.engine.window import Rect


def leaf(bits: NDArray[np.uint64], width: int) -> bytes:
    """The SHA-256 of a block uint64 (channels, rows), bit x of a word being column x < width."""
    words = bits.astype("<u8", copy=False)
    if width == BLOCK:
        return hashlib.sha256(words.tobytes()).digest()
    eights = np.ascontiguousarray(words).view(np.uint8).reshape(*bits.shape, 8)
    if width % 8 == 0:
        return hashlib.sha256(eights[..., : width // 8].tobytes()).digest()
    dense = np.unpackbits(eights, axis=-1, bitorder="little")
    return hashlib.sha256(np.packbits(dense[..., :width], bitorder="little").tobytes()).digest()


Leaves = dict[tuple[str, int], dict[tuple[int, int, int], bytes]]
"""(layer, step from 0) -> (image plane, y, x) of a block -> its leaf."""


def leaves(
    into: Leaves,
    layer: str,
    spikes: AnySpikes,
    steps: int,
    plane: int,
    core: Rect,
    at: tuple[int, int],
    side: int = BLOCK,
) -> None:
    """Add the leaves of one tile's core, whose first pixel is at row and column `at` of the spikes, in blocks of `side`."""
    for y in range(core.y0, core.y1, side):
        for x in range(core.x0, core.x1, side):
            height, width = min(side, core.y1 - y), min(side, core.x1 - x)
            corner = (at[0] + y - core.y0, at[1] + x - core.x0)
            for step in range(steps):
                digest = leaf(spikes.block(corner, step, height, width), width)
                into.setdefault((layer, step), {})[plane, y, x] = digest


def merge(into: Leaves, more: Leaves) -> None:
    """Add the leaves of another tile, in any order."""
    for key, blocks in more.items():
        into.setdefault(key, {}).update(blocks)


def of(leaves: Leaves, layer: str, steps: int) -> tuple[str, ...]:
    """The digest of each step of a layer, as hexadecimal text."""
    blocks = [leaves[layer, step] for step in range(steps)]
    return tuple(hashlib.sha256(b"".join(step[key] for key in sorted(step))).hexdigest() for step in blocks)
