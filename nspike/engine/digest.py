"""The digest of a spike train: SHA-256 over fixed blocks, the same for any packing, tile, thread count and kernel.

Of each layer and step, a leaf is the SHA-256 of one 64×64 block's spikes (the blocks lie side by side from the image's
origin; the last ones may be smaller) in the order (plane, channel, y, x), eight spikes to a byte, the first in the lowest
bit. The digest of the layer and step is the SHA-256 of its leaves, image plane by image plane in raster order.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from nspike.engine.spikes import Spikes
from nspike.engine.tiling import BLOCK, Rect


def leaf(bits: NDArray[np.uint64], width: int) -> bytes:
    """The SHA-256 of a block uint64 (channels, rows), bit x of a word being column x < width."""
    words = bits.astype("<u8", copy=False)
    if width == BLOCK:
        return hashlib.sha256(words.tobytes()).digest()
    dense = np.unpackbits(
        np.ascontiguousarray(words).view(np.uint8).reshape(*bits.shape, 8), axis=-1, bitorder="little"
    )
    return hashlib.sha256(np.packbits(dense[..., :width], bitorder="little").tobytes()).digest()


class Digests:
    """Collects the leaves of a run, in any order of tiles."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[str, int], dict[tuple[int, int, int], bytes]] = {}

    def add(self, name: str, spikes: Spikes, steps: int, plane: int, core: Rect, at: tuple[int, int]) -> None:
        """Add the blocks of one tile's core, whose first pixel lies at `at` in the tile."""
        for y in range(core.y0, core.y1, BLOCK):
            for x in range(core.x0, core.x1, BLOCK):
                height, width = min(BLOCK, core.y1 - y), min(BLOCK, core.x1 - x)
                corner = (at[0] + y - core.y0, at[1] + x - core.x0)
                for step in range(steps):
                    digest = leaf(spikes.block(corner, step, height, width), width)
                    self._leaves.setdefault((name, step), {})[plane, y, x] = digest

    def of(self, name: str, steps: int) -> tuple[str, ...]:
        """The digest of each step of a layer, as hexadecimal text."""
        found = []
        for step in range(steps):
            leaves = self._leaves[name, step]
            found.append(hashlib.sha256(b"".join(leaves[key] for key in sorted(leaves))).hexdigest())
        return tuple(found)
