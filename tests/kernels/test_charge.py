"""What spikes add up to over all steps, against the definition."""

import numpy as np
import pytest

from nspike.engine.charge import _looked_up
from nspike.engine.tables import Listing, passes
from nspike.kernels import charge
from tests.kernels.test_wide import pack


@pytest.mark.parametrize(
    ("channels", "read", "size", "steps"), [(3, 48, 3, 4), (3, 70, 3, 5), (1, 9, 5, 1), (17, 5, 1, 4)]
)
def test_against_the_definition(channels, read, size, steps):
    """Of an image of which the source holds a part, in two bands, with padding outside the image; all sums the largest too."""
    draw, (height, width), padding = np.random.default_rng(read), (7, 6), size // 2
    for extreme in (False, True):
        weights = draw.integers(-4095, 4096, (channels, read, size, size))
        seen = draw.random((steps, read, height, width)) < (1.0 if extreme else 0.4)
        if extreme:
            weights[:] = 4095
        around = np.pad(seen.astype(np.int64), [(0, 0), (0, 0), (padding, padding), (padding, padding)])
        start = draw.integers(-999, 999, channels).astype(np.int32)
        expected = np.zeros((height, width, channels), np.int64) + start
        for dy, dx in np.ndindex(size, size):
            taps = around[..., dy : dy + height, dx : dx + width].sum(axis=0)
            expected += np.einsum("oi,ihw->hwo", weights[..., dy, dx], taps)

        table = np.zeros((read, -(-channels * size**2 // 16) * 16), np.int64)
        table[:, : channels * size**2] = weights.transpose(1, 2, 3, 0).reshape(read, -1)
        looked = [_looked_up(table[:, lane : lane + 16]) for lane in range(0, table.shape[1], 16)]
        listing = Listing()
        ends = np.ascontiguousarray(listing.add([[passes(each) for each in looked]], len(looked))[:, 0])
        chunks, tables = listing.arrays()
        words = pack(seen, 1)
        chunks[:, 2] = words.shape[3]
        out = np.full((height, width, channels), 7, np.int32)
        places = np.array([1, 1, 0, 0, height, width])
        for block in ([0, 3, 0, width], [3, height, 0, 2], [3, height, 2, width]):
            charge.charge(words, places, size, padding, chunks.ravel(), ends, tables, start, np.array(block), out)
        np.testing.assert_array_equal(out, expected)
