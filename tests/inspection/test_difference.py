"""The first difference and the counts are those of a plain search over the whole arrays."""

import h5py
import numpy as np
import pytest

import nspike
from nspike.errors import BadInputError, UsageError
from nspike.inspection.difference import Place
from tests.tiny import image, tiny_model

MODEL = tiny_model()


def slow(a, b):
    """Of dictionaries of (planes, steps, channels, H, W): the first (layer, step, plane, channel, y, x), and counts."""
    first, counts = None, {}
    for layer in a:
        counts[layer] = [int((a[layer][:, t] != b[layer][:, t]).sum()) for t in range(a[layer].shape[1])]
        differing = [(int(t), int(n), int(c), int(y), int(x)) for n, t, c, y, x in np.argwhere(a[layer] != b[layer])]
        if differing and first is None:
            t, n, c, y, x = min(differing)
            first = layer, Place(t + 1, n, c, y, x, bool(a[layer][n, t, c, y, x]))
    return first, counts


@pytest.mark.parametrize("seed", range(6))
def test_random_trains(seed, tmp_path):
    draw = np.random.default_rng(seed)
    shapes = {"relu2": (2, 3, 5, 130, 9), "relu10": (2, 3, 2, 130, 9)}
    a = {name: draw.random(shape) < 0.3 for name, shape in shapes.items()}
    b = {name: array.copy() for name, array in a.items()}
    for name in list(b)[seed % 2 :]:
        where = tuple(draw.integers(0, n, seed) for n in b[name].shape)
        b[name][where] ^= True
    first, counts = slow(a, b)
    np.savez(tmp_path / "b.npz", **b)
    with h5py.File(tmp_path / "b.h5", "w", libver="latest") as file:
        for name, array in b.items():
            file.create_dataset(name, data=array.astype(float if seed % 2 else bool), chunks=True, compression="gzip")
    for other in (b, tmp_path / "b.npz", tmp_path / "b.h5"):
        found = nspike.diff(a, other)
        assert found.first == first
        assert found.same == (first is None)
        assert {layer.name: layer.differ.tolist() for layer in found.layers} == counts
        assert [layer.spikes_a.sum() for layer in found.layers] == [array.sum() for array in a.values()]
        assert [layer.spikes_b.sum() for layer in found.layers] == [array.sum() for array in b.values()]


@pytest.fixture
def traces(tmp_path):
    """trace(name, model, **options) -> the file."""

    def make(name, model=MODEL, pixels=None, **options):
        nspike.trace(model, image(70, 48) if pixels is None else pixels, tmp_path / name, **options)
        return tmp_path / name

    return make


def test_the_same_run(traces):
    found = nspike.diff(traces("a.h5"), traces("b.h5", tile=64, threads=2))
    assert (found.same, found.first, found.notes, found.only_a, found.only_b) == (True, None, (), (), ())
    assert [layer.name for layer in found.layers] == ["relu1", "relu2"]


def test_the_layer_comes_before_the_step(traces):
    """A spike of the second layer at an earlier step is not the first difference."""
    with nspike.read_trace(traces("a.h5")) as trace:
        a = {layer: trace.spikes(layer) for layer in trace.layers}
    b = {layer: spikes.copy() for layer, spikes in a.items()}
    b["relu2"][0, 1, 2, 3] ^= True
    b["relu1"][3, 7, 65, 47] ^= True
    b["relu1"][3, 7, 66, 0] ^= True
    found = nspike.diff(b, traces("a.h5"))
    assert found.first == ("relu1", Place(4, 0, 7, 65, 47, bool(b["relu1"][3, 7, 65, 47])))
    assert nspike.diff(b, traces("a.h5"), layers=["relu2"]).first[1].step == 1


def test_two_models(traces):
    """One weight of the second layer: the first layer is the same, and all of the difference is in the second."""
    weight = MODEL.parameters["conv2.weight"].copy()
    weight[5, 0, 1, 1] += 0.25
    other = nspike.Model(MODEL.info, MODEL.network, {**MODEL.parameters, "conv2.weight": weight}, MODEL.spiking)
    found = nspike.diff(traces("a.h5"), traces("b.h5", other))
    assert found.layers[0].first is None
    assert found.first[0] == "relu2"
    assert found.first[1].channel == 5
    assert found.notes[0].startswith("the models differ: tiny (")


def test_two_neurons(traces):
    """mprn is if until T; the step after T is its own."""
    plain = nspike.swap(MODEL, neuron="if")[0]
    found = nspike.diff(traces("a.h5", plain), traces("b.h5"))
    for layer in found.layers:
        assert layer.differ[:4].tolist() == [0, 0, 0, 0]
        assert layer.differ[4] == layer.spikes_b[4] > 0
        assert layer.spikes_a[4] == 0
    assert found.first[1].step == 5
    assert not found.first[1].in_a
    assert "the neurons differ: if and mprn" in found.notes
    assert any("has steps after 4; the other is silent there" in note for note in found.notes)


def test_windows_are_compared_where_they_overlap(traces):
    whole = traces("a.h5")
    part = traces("b.h5", window=(5, 3, 30, 40), layers=["relu2"])
    other = traces("c.h5", window=(20, 30, 28, 40))
    for pair, note in (((whole, part), "30x40 pixels from (5, 3)"), ((part, other), "15x13 pixels from (20, 30)")):
        found = nspike.diff(*pair)
        assert found.same
        assert [layer.name for layer in found.layers] == ["relu2"]
        assert found.notes == (f"compared: {note} on",)
    with nspike.read_trace(other) as trace:
        cut = {"relu2": trace.spikes("relu2")}
    assert nspike.diff(cut, other).same
    cut["relu2"][1, 0, 2, 3] ^= True
    place = nspike.diff(other, cut).first[1]
    assert (place.y, place.x) == (32, 23)
    far = traces("d.h5", window=(0, 0, 4, 4))
    with pytest.raises(BadInputError, match="do not overlap"):
        nspike.diff(far, other)


def test_layers_that_only_one_has(traces):
    found = nspike.diff(traces("a.h5", layers=["relu2"]), traces("b.h5"))
    assert (found.same, found.only_a, found.only_b) == (True, (), ("relu1",))


# ----- what goes wrong -----


def test_what_cannot_be_compared(traces):
    mine = traces("a.h5")
    with pytest.raises(BadInputError, match=r"are of different images: 48x70, SHA-256 .*, and 48x71"):
        nspike.diff(mine, traces("b.h5", pixels=image(71, 48)))
    with pytest.raises(BadInputError, match=r"T = 4 and .* T = 6"):
        nspike.diff(mine, traces("b.h5", nspike.swap(MODEL, timesteps=6)[0]))
    with pytest.raises(BadInputError, match=r"layer 'relu1' is .* \(1, 5, 8, 70, 48\) in .* and \(1, 5, 9, 70, 48\)"):
        nspike.diff(mine, traces("b.h5", tiny_model(width=9)))
    with pytest.raises(UsageError, match=r"has no layer 'relu3'\. Did you mean"):
        nspike.diff(mine, mine, layers=["relu3"])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"conv": np.zeros((5, 8, 70, 48))}, "no layer in common: relu1, relu2 and conv"),
        ({"rel1": np.zeros((5, 8, 70, 48))}, "Did you mean 'relu1'"),
        ({"relu1": np.zeros((5, 8, 70, 47))}, "cannot be compared"),
        ({"relu1": np.zeros((5, 8, 48, 70))}, "cannot be compared"),
        ({"relu1": np.zeros((3, 8, 70, 48))}, "cannot be compared"),
        ({"relu1": np.zeros((2, 5, 8, 70, 48))}, "cannot be compared"),
        ({"relu1": np.zeros((8, 70, 48))}, "expected numbers"),
        ({"relu1": np.full((5, 8, 70, 48), 0.5)}, "other values than 0 and 1"),
        ({"relu1": np.full((5, 8, 70, 48), np.nan)}, "other values than 0 and 1"),
    ],
)
def test_foreign_traces_that_do_not_fit(traces, arrays, says):
    with pytest.raises(BadInputError, match=says):
        nspike.diff(traces("a.h5"), arrays)


def test_a_trace_made_elsewhere_may_end_at_t(traces):
    with nspike.read_trace(traces("a.h5")) as trace:
        spikes = trace.spikes("relu1")
    found = nspike.diff(traces("a.h5"), {"relu1": spikes[:4]})
    assert found.layers[0].differ.tolist() == [0, 0, 0, 0, spikes[4].sum()]
