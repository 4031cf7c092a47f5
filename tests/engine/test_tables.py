"""Tables of sums, and in how many passes they are looked up."""

import numpy as np

from nspike.engine.tables import Listing, every_sum, passes


def test_every_sum():
    table = every_sum(np.arange(48).reshape(3, 16))
    assert table.shape == (8, 16)
    assert table[0b101].tolist() == [i + 32 + i for i in range(16)]


def test_no_sum_of_a_pass_leaves_16_bits():
    weights = np.full((6, 16), 4000)
    weights[:, 1] = -4000
    one = every_sum(weights)  # 24,000 at most, so that two of them need two passes; 5 rows of -1600 fit with the second
    small = every_sum(np.full((5, 16), -1600))
    made = passes([(0, 0, one), (0, 6, one), (0, 12, small)])
    assert [[bit for _, bit, _ in each] for each in made] == [[0], [6, 12]]
    exact = every_sum(np.full((1, 16), 2**15 - 1))
    assert len(passes([(0, 0, exact)])) == 1
    assert len(passes([(0, 0, exact), (0, 1, every_sum(np.ones((1, 16), np.int64)))])) == 2


def test_a_listing_holds_each_table_once():
    table, other = every_sum(np.ones((2, 16), np.int64)), every_sum(np.ones((3, 16), np.int64))
    listing = Listing()
    ends = listing.add([[[[(0, 0, table)]], [[(0, 2, other)], [(1, 64, table)]]]], 3)
    chunks, tables = listing.arrays()
    assert ends.tolist() == [[[0, 1, 2, 2]], [[2, 2, 3, 3]]]
    assert chunks.tolist() == [[0, 0, 0, 0, 3, 0], [0, 0, 0, 2, 7, 4 * 32], [1, 1, 0, 0, 3, 0]]
    np.testing.assert_array_equal(tables.reshape(-1, 16), np.concatenate([table, other]))
