"""What a convolution reads of spikes: planes, groups, parts."""

import numpy as np
import pytest

from nspike.errors import ModelError
from nspike.graph.layer import IMAGE, Activation, ChannelShuffle, Concat, Constant, Conv, Slice
from nspike.graph.network import Network
from nspike.integer.spike_channels import inputs, spike_planes, spike_sources, spike_worth, taken, weighed

PLANES = {"a": (1,), "b": (1, -1)}


def network(groups=1):
    layers = (
        Conv("ca", IMAGE, 1, 2, 3),
        Activation("a", "ca", 2),
        Conv("cb", IMAGE, 1, 4, 3),
        Activation("b", "cb", 4),
        ChannelShuffle("s", "b", 2),
        Concat("bs", ("b", "s")),
        Concat("all", ("a", "bs")),
        Slice("part", "all", 0, 1),
        Constant("sigma", IMAGE, (0.5,)),
        Concat("noisy", (IMAGE, "sigma")),
        Conv("ci", "noisy", 2, 1, 3),
        Activation("i", "ci", 1),
        Conv("c", "all", 10, 5 * groups, 3, groups=groups),
        Activation("e", "c", 5 * groups),
        Conv("out", "e", 5 * groups, 1, 3),
    )
    return Network("n", 1, layers, "out", "image")


def test_one_group_reads_the_planes_of_each_part_one_after_the_other():
    read = inputs(network(), "c", 1, PLANES.__getitem__)
    assert read.parts == ("a", "b", "s") == spike_sources(network(), "c")
    assert spike_sources(network(), "ci") == ()
    assert read.channels.tolist() == [[0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 7, 8, 9, 6, 7, 8, 9]]
    assert read.places.tolist() == [list(range(18))]
    assert read.part.tolist() == [[0] * 2 + [1] * 8 + [2] * 8]
    assert read.gains.tolist() == [[1] * 6 + [-1] * 4 + [1] * 4 + [-1] * 4]


def test_groups_that_read_fewer_spike_channels_have_zeros_at_the_end():
    read = inputs(network(2), "c", 2, PLANES.__getitem__)
    assert read.channels[0].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 4, 4]
    assert read.gains[0].tolist() == [1, 1, 1, 1, 1, -1, -1, -1, 0, 0]
    assert read.channels[1].tolist() == [5, 5, 6, 7, 8, 9, 6, 7, 8, 9]
    assert read.places[1].tolist() == [5, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    weights = np.random.default_rng(0).normal(size=(10, 5, 3, 3))
    of, gains = taken(read, 10)
    assert of[3].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 4, 4]
    assert of[7].tolist() == [0, 0, 1, 2, 3, 4, 1, 2, 3, 4]
    np.testing.assert_array_equal(gains, read.gains.repeat(5, axis=0))
    kernel = weighed(weights, read, [(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)])
    assert kernel.shape == (2, 10, 5, 3, 3)
    np.testing.assert_array_equal(kernel[0], weights)
    np.testing.assert_array_equal(kernel[1, :5], weights[:5] * np.array([1, 1, 2, 2, 2])[:, None, None])
    np.testing.assert_array_equal(kernel[1, 5:], weights[5:] * np.array([2, 3, 3, 3, 3])[:, None, None])
    assert len(weighed(weights, read, [(1.0, 1.0)] * 3)) == 1


def test_what_is_moved_together_has_one_set_of_planes_and_one_worth():
    net = network()
    assert spike_planes(net, "s", PLANES.__getitem__) == (1, -1)
    assert spike_worth(net, "b", {"b": (1.0, 2.0)}.__getitem__) == (1.0, 2.0)
    with pytest.raises(ModelError, match="'part' joins spikes of neurons with different planes"):
        spike_planes(net, "part", PLANES.__getitem__)


def test_whether_the_groups_read_all_in_order():
    one = {"a": (1,), "b": (1,)}
    assert inputs(network(), "c", 1, PLANES.__getitem__).in_order
    assert inputs(network(2), "c", 2, one.__getitem__).in_order
    read = inputs(network(2), "c", 2, PLANES.__getitem__)
    assert not read.in_order, "a group reads both planes of its channels, which do not lie side by side"
    assert not read.gains.all()
