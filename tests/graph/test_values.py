import pytest

from nspike.errors import ModelError
from nspike.graph.layer import IMAGE, Activation, Add, Bilinear, Concat, Constant, Conv, Gate, PixelUnshuffle
from nspike.graph.network import Network
from nspike.graph.plain_layer import MaxPool
from nspike.graph.values import not_spiking, values
from tests.graphs import branched, image, random_model, run

C, A = Conv("c", IMAGE, 1, 4, 3), Activation("a", "c", 4)
OUT = Conv("out", "a", 4, 1, 3)


def test_what_each_layer_hands_on():
    layers = (
        PixelUnshuffle("u", IMAGE, 2),
        Constant("k", "u", (0.1,), "sigma"),
        Concat("in", ("u", "k")),
        Conv("c", "in", 5, 4, 3),
        Activation("a", "c", 4),
        Conv("d", "a", 4, 4, 3),
        Add("sum", ("c", "d")),
        Bilinear("up", "sum"),
        Concat("mixed", (IMAGE, "up")),
    )
    assert list(values(layers).values()) == ["image"] * 4 + ["current", "spikes"] + ["current"] * 3 + ["mixed"]
    assert not_spiking(layers[:-1], "up") == []
    network = branched(2, 3, 4, gate=True, channels=3)
    assert network.is_spiking
    assert not_spiking(network.layers, network.output) == []


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        ((C, Conv("out", "c", 4, 1, 3)), ("out", "Conv reads current of 'c', expected image or spikes")),
        (
            (C, A, Activation("b", "a", 4), Conv("out", "b", 4, 1, 3)),
            ("b", "Activation reads spikes of 'a', expected current"),
        ),
        ((C, A, Concat("d", ("a", "c")), Conv("out", "d", 8, 1, 3)), ("d", "Concat reads spikes or current together")),
        ((C, A, Concat("d", (IMAGE, "a")), Conv("out", "d", 5, 1, 3)), ("d", "Concat reads image or spikes together")),
        (
            (Conv("c", IMAGE, 1, 1, 3), Gate("out", "c", 1)),
            ("out", "Gate reads current of 'c', expected image or spikes"),
        ),
        ((Conv("c", IMAGE, 1, 1, 3), Activation("out", "c", 1)), ("out", "the output is spikes, expected a current")),
        ((C, A, MaxPool("m", "a", 1), Conv("out", "m", 4, 1, 3)), ("m", "MaxPool has no spiking form")),
    ],
)
def test_what_keeps_a_network_from_running_as_spikes(layers, fault):
    network = Network("net", 1, layers, "out", "image")
    assert fault in not_spiking(network.layers, "out")
    assert not network.is_spiking
    with pytest.raises(ModelError, match="cannot run as spikes: layer '" + fault[0]):
        run(random_model(network), image(0, 1, 1, 4, 4))
