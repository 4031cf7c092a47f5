import numpy as np
import pytest

from nspike.kernels import moving


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (1, 2), (3, 1)])
def test_shuffle(factor, top, left):
    draw = np.random.default_rng(0)
    currents = draw.integers(-9, 9, (5, 6, 4 * factor**2)).astype(np.int32)
    height, width = 5 * factor - top, 6 * factor - left
    out = np.empty((height, width, 4), np.int32)
    moving.shuffle(currents, factor, top, left, out)
    for y, x, c in np.ndindex(*out.shape):
        row, column = top + y, left + x
        phase = row % factor * factor + column % factor
        assert out[y, x, c] == currents[row // factor, column // factor, c * factor**2 + phase]
