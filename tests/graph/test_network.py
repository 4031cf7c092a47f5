import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from nspike.errors import ModelError
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network
from tests.graphs import branched, chain, image, random_model, run


def network(*layers, output="out", channels=1, mode="image"):
    return Network("net", channels, layers, output, mode)


C, A = Conv("c", IMAGE, 1, 4, 3), Activation("a", "c", 4)
OUT = Conv("out", "a", 4, 1, 3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((C, A, A, OUT), "two layers are called 'a'"),
        ((Conv(IMAGE, IMAGE, 1, 4, 3), A, OUT), "two layers are called 'image'"),
        ((A, C, OUT), "reads 'c', which is not before it"),
        ((C, A, Conv("out", "b", 4, 1, 3)), "reads 'b', which is not before it"),
        ((C, Activation("a", "c", 3), OUT), "expects 3 channels and reads 4"),
        ((C, A, Conv("out", "a", 5, 1, 3)), "expects 5 channels and reads 4"),
        (
            (Conv("c", IMAGE, 1, 4, 3, padding=(0, 0)), A, OUT),
            r"pads by \(0, 0\), which changes the size; expected 2 to 2",
        ),
        ((Conv("c", IMAGE, 1, 4, 3, stride=2, padding=(0, 0)), A, OUT), "which changes the size; expected 1 to 2"),
        ((Conv("c", IMAGE, 1, 4, 3, stride=0), A, OUT), r"groups \(3, 0, 1, 1\), expected positive"),
        ((Conv("c", IMAGE, 1, 4, 3, groups=3), A, OUT), "1 and 4 channels in 3 groups"),
        ((Conv("c", IMAGE, 1, 4, 3, normed_together=3), A, OUT), "norms 3 of 4 channels together, expected a divisor"),
        ((Conv("c", IMAGE, 1, 4, 3, normed_together=0), A, OUT), "norms 0 of 4 channels together, expected a divisor"),
        ((C, A, Conv("out", "a", 4, 1, 3, stride=2)), "1/2 times as high as the image"),
        (
            (C, A, PixelUnshuffle("u", "a", 2), Concat("d", ("u", "a")), OUT),
            "different sizes, relative to the image: 'u' 1/2",
        ),
        ((C, A, PixelShuffle("out", "a", 3)), "factor 3 and reads 4 channels, which it does not divide"),
        ((C, A, Add("out", ("a", "image"))), r"adds \[4, 1\] channels"),
        ((C, A, AveragePool("out", "a", 3)), "blocks of 3, expected a power of two"),
        ((C, A, Slice("out", "a", 2, 3)), "takes channels 2 .. 4 of 4"),
        ((C, A, replace(OUT, tied="d")), "uses the weights of 'd', which has none"),
        ((C, A, replace(OUT, tied="c")), "share weights of different shapes"),
        ((C, Activation("a", "c", 4, (1.0, 2.0)), OUT), "ceiling of 'a' must be 1 or 4 positive numbers"),
        ((C, Activation("a", "c", 4, (0.0,)), OUT), "ceiling of 'a' must be 1 or 4 positive numbers"),
        ((C, Activation("a", "c", 4, None, 3), OUT), "'a' has 3 levels; they need a ceiling"),
        ((C, Activation("a", "c", 4, (1.0,), 0), OUT), "'a' has 0 levels; they need a ceiling"),
        ((Conv("c", IMAGE, 1, 4, -1), A, OUT), r"groups \(-1, 1, 1, 1\), expected positive"),
        ((C, A), "'out' must be the last layer"),
        ((C, A, Conv("out", "a", 4, 3, 3)), "3 channels come out, 1 go in"),
        ((C, A, OUT, Conv("d", "a", 4, 4, 3), Activation("e", "d", 4)), "'out' must be the last layer"),
        ((C, A, OUT, Activation("b", "out", 1)), "'out' must be the last layer"),
    ],
)
def test_an_inconsistent_graph(layers, message):
    with pytest.raises(ModelError, match=message):
        network(*layers)


def test_modes():
    with pytest.raises(ModelError, match="unknown output mode 'multiply'"):
        network(C, A, OUT, mode="multiply")


def test_no_activation_has_the_output_layers_name():
    layers = (Conv("c", IMAGE, 1, 1, 3), Activation("output", "c", 1), Conv("out", "output", 1, 1, 3))
    with pytest.raises(ModelError, match="no activation may be called 'output'"):
        run(random_model(network(*layers)), image(0, 1, 1, 3, 3))


def test_what_follows_from_the_graph():
    net = branched(2, 3, 4, channels=3, kernels=(1, 3, 5, 7), gate=True)
    assert [layer.name for layer in net.convs] == ["conv_a", "conv_b", "conv_c", "conv_d"]
    assert [layer.name for layer in net.activations] == ["a", "b", "c", "d"]
    assert [layer.name for layer in net.activations_into("conv_d")] == ["b", "a", "c"]
    assert net.activations_into("conv_a") == ()
    assert [layer.name for layer in net.consumers("a")] == ["conv_b", "conv_c", "conv_d"]
    assert [layer.name for layer in net.consumers("d")] == ["gate"]
    assert net.macs_per_pixel == 3 * 2 + 9 * 6 + 25 * 5 * 4 + 49 * 9 * 3
    with pytest.raises(ModelError, match="there is no layer 'x'"):
        net.layer("x")


@pytest.mark.parametrize("net", [chain(2, kernels=(1, 5)), chain(3, 9, kernels=(3, 1, 5)), branched(2, 9, 3)])
def test_the_radius_is_how_far_a_pixel_is_seen(net):
    model = random_model(net, 1, timesteps=6, level=0.4)
    pixels = image(0, 1, 1, 25, 25)
    before = run(model, pixels)[0]
    seen = 0
    for value in (0, 90, 255):
        changed = pixels.copy()
        changed[0, 0, 12, 12] = value
        _, _, ys, xs = np.nonzero(run(model, changed)[0] != before)
        seen = max([seen, *np.abs(ys - 12), *np.abs(xs - 12)])
    assert seen == net.radius


@pytest.mark.parametrize("net", [chain(2), branched(2, 3, 4, channels=3, gate=True)])
def test_to_a_dictionary_and_back(net):
    values = net.to_dict()
    assert Network.from_dict(values) == net
    for damaged in (
        {},
        values | {"layers": [{"kind": "pool", "name": "p"}]},
        values | {"layers": [{"kind": "conv", "name": "p"}]},
        values | {"strange": 1},
        values | {"layers": 3},
        values | {"layers": [3]},
    ):
        with pytest.raises(ModelError, match="damaged or of a newer nspike"):
            Network.from_dict(damaged)


def test_layers_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        C.kernel = 5


def test_ceilings_are_kept_and_taken_away():
    plain = network(C, A, OUT)
    limited = network(C, Activation("a", "c", 4, (0.5, 1.0, 1.5, 2.0), 8), OUT)
    assert Network.from_dict(json.loads(json.dumps(limited.to_dict()))) == limited
    assert limited.rectified() == plain
    assert "ceiling" not in plain.to_dict()["layers"][1], "what is written of plain networks stays as it was"
