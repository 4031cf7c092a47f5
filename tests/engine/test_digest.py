import hashlib

import numpy as np
import pytest

from nspike.engine.digest import leaves, of
from nspike.engine.tiling import tiles
from nspike.engine.window import Rect
from tests import naive
from tests.engine.test_spikes import narrow_of, random_spikes, wide_of


def test_a_digest_by_hand():
    """Two pixels, one channel, the second fires: one block of one byte, 0b10."""
    dense = np.zeros((1, 1, 1, 2), bool)
    dense[..., 1] = True
    for spikes in (narrow_of(dense), wide_of(dense, 1)):
        digests = {}
        leaves(digests, "a", spikes, 1, 0, Rect(0, 1, 0, 2), (0, 0))
        leaf = hashlib.sha256(b"\x02").digest()
        assert of(digests, "a", 1) == (hashlib.sha256(leaf).hexdigest(),)


@pytest.mark.parametrize("shape", [(2, 3, 70, 130), (1, 9, 64, 64), (2, 65, 5, 66), (1, 8, 129, 63)])
def test_any_packing_tile_and_order(shape):
    planes = np.stack([random_spikes(n, *shape) for n in range(2)])  # (N, steps, channels, H, W)
    expected = naive.digests(planes)
    steps, _, height, width = shape
    for size in (64, 128, 192):
        for pack in (narrow_of, lambda dense: wide_of(dense, 1)):
            digests = {}
            for n in (1, 0):
                for core in reversed(list(tiles(height, width, size))):
                    frame = core.grown(5, height, width)
                    part = pack(planes[n][..., frame.y0 : frame.y1, frame.x0 : frame.x1])
                    leaves(digests, "a", part, steps, n, core, (core.y0 - frame.y0, core.x0 - frame.x0))
            assert of(digests, "a", steps) == expected


def test_every_spike_matters():
    dense = random_spikes(0, 1, 1, 3, 3, 66)
    seen = {naive.digests(dense)}
    for index in ((0, 0, 0, 0, 0), (0, 0, 2, 2, 65), (0, 0, 1, 0, 64)):
        changed = dense.copy()
        changed[index] ^= True
        digests = {}
        for core in tiles(3, 66, 64):
            leaves(digests, "a", narrow_of(changed[0]), 1, 0, core, (core.y0, core.x0))
        assert of(digests, "a", 1) == naive.digests(changed)
        seen.add(of(digests, "a", 1))
    assert len(seen) == 4
