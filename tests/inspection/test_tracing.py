"""Traces hold what `tests.naive` fires, whatever the tile, threads and window; and only whole files are traces."""

import errno
import hashlib
import json
import os

import h5py
import numpy as np
import pytest

import nspike
from nspike.engine import run as engine
from nspike.engine.program import build as build_program
from nspike.errors import BadInputError, OutputError, UsageError
from nspike.model.file import digest
from nspike.registry.plugins import registry
from tests import naive
from tests.desk import write
from tests.graphs import branched, chain, random_model
from tests.graphs import image as pixels_of
from tests.own_neurons import TERNARY
from tests.tiny import image, tiny_model

MODEL = tiny_model()
HOW = [{"threads": 1}, {"threads": 2, "tile": 64}, {"threads": 3, "tile": 128}]


def whole(path):
    """Everything that an HDF5 file holds."""
    with h5py.File(path) as file:
        found = {"": dict(file.attrs)}
        file.visititems(lambda name, thing: found.update({name: thing[()]} if hasattr(thing, "shape") else {}))
        return found


def equal(one, two):
    assert list(one) == list(two)
    for name in one:
        assert one[name].items() == two[name].items() if name == "" else np.array_equal(one[name], two[name])


@pytest.mark.parametrize(
    ("network", "shape", "neuron", "head"),
    [
        (chain(3, 9), (70, 67), "mprn", "cpm"),
        (chain(17, 2), (9, 65), "if", "membrane"),
        (branched(3, 9, 2, channels=3, gate=True), (66, 13, 3), "mprn", "rate"),
        (chain(2), (12, 13, 3), "lif", "recycling"),  # a grey model: three planes
    ],
)
def test_the_spikes_are_naives(tmp_path, network, shape, neuron, head):
    model, _ = nspike.swap(random_model(network, 3), neuron=neuron, head=head)
    pixels = pixels_of(1, *shape)
    planes = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]
    planes = planes[:, None] if network.channels == 1 else planes[None]
    slow = naive.run(model, planes, naive.NEURONS[neuron], head)
    result = nspike.trace(model, pixels, tmp_path / "t.h5", tile=64)
    with nspike.read_trace(tmp_path / "t.h5") as trace:
        assert trace.layers == tuple(name for name in slow.spikes if name != "output" or head != "membrane")
        assert trace.whole
        for layer, entry in zip(trace.layers, trace.info["layers"], strict=True):
            for n in range(len(planes)):
                np.testing.assert_array_equal(trace.spikes(layer, n), slow.spikes[layer][n], err_msg=layer)
            assert entry["events"] == slow.spikes[layer].sum(axis=(0, 2, 3, 4)).tolist()
            assert tuple(entry["sha256"]) == naive.digests(slow.spikes[layer])
    np.testing.assert_array_equal(result.image, model.run(pixels).image)


def test_the_observer_sees_every_spike_plane():
    model, pixels = random_model(chain(3), 2), pixels_of(0, 1, 1, 10, 11)
    slow = naive.run(model, pixels, TERNARY.naive, "membrane")
    seen = {}

    def observer(spikes):
        seen[spikes.layer] = spikes.dense()

    program = build_program(model, TERNARY.fast, registry().heads["membrane"])
    engine.run(program, pixels, sink=lambda _: None, observer=observer)
    np.testing.assert_array_equal(seen["act0"], slow.spikes["act0"][0])


def test_the_same_content_however_it_is_run(tmp_path):
    photo = write(tmp_path / "photo.png", 150, 140)
    for window in (None, (5, 60, 131, 77)):
        found = []
        for i, how in enumerate(HOW):
            nspike.trace(MODEL, photo, tmp_path / f"{i}.h5", window=window, **how)
            found.append(whole(tmp_path / f"{i}.h5"))
        equal(found[0], found[1])
        equal(found[0], found[2])


WINDOWS = [
    (0, 0, 140, 150),
    (0, 0, 1, 1),
    (139, 149, 1, 1),
    (3, 5, 130, 140),
    (63, 63, 2, 2),
    (64, 64, 64, 64),
    (1, 0, 139, 9),
]


@pytest.mark.parametrize("window", WINDOWS)
def test_windows(tmp_path, window):
    pixels = image(150, 140)
    nspike.trace(MODEL, pixels, tmp_path / "all.h5")
    x, y, w, h = window
    for how in HOW:
        nspike.trace(MODEL, pixels, tmp_path / "part.h5", window=window, layers=["relu2"], **how)
        with nspike.read_trace(tmp_path / "all.h5") as all_, nspike.read_trace(tmp_path / "part.h5") as part:
            expected = all_.spikes("relu2")[..., y : y + h, x : x + w]
            np.testing.assert_array_equal(part.spikes("relu2"), expected)
            assert part.info["layers"][0]["events"] == expected.sum(axis=(1, 2, 3)).tolist()
            assert part.whole == (window == WINDOWS[0])
            assert (part.info["layers"][0]["sha256"] is None) == (window != WINDOWS[0])


def test_what_it_says_of_itself(tmp_path):
    photo = write(tmp_path / "photo.png", 40, 48)
    result = nspike.trace(MODEL, photo, tmp_path / "t.h5", layers=["relu2"])
    certificate = nspike.audit(MODEL, photo).certificate
    with nspike.read_trace(tmp_path / "t.h5") as trace:
        info = dict(trace.info)
        assert trace.layers == ("relu2",)
    assert {key: info[key] for key in ("input", "model", "parameters")} == {
        key: certificate[key] for key in ("input", "model", "parameters")
    }
    assert info["input"]["file_sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert info["model"]["digest"] == digest(MODEL)
    assert info["layers"][0]["sha256"] == [step["sha256"] for step in certificate["layers"][1]["steps"]]
    assert result.ledger.layers[1].digests == tuple(info["layers"][0]["sha256"])
    assert str(tmp_path) not in json.dumps(info)


def test_the_file_is_as_documented(tmp_path):
    """Read with h5py and numpy alone, by the words of docs/reference/files.md."""
    nspike.trace(MODEL, image(40, 47), tmp_path / "t.h5")
    with h5py.File(tmp_path / "t.h5") as file:
        assert (file.attrs["format"], file.attrs["version"]) == (b"nspike trace", 1)
        info = json.loads(file.attrs["trace"])
        packed = file["spikes/relu1"][()]
    spikes = np.unpackbits(packed, axis=-1, count=info["window"]["width"], bitorder="little")
    with nspike.read_trace(tmp_path / "t.h5") as trace:
        np.testing.assert_array_equal(spikes[0], trace.spikes("relu1"))
    assert spikes.shape == (1, 5, 8, 40, 47)


# ----- what goes wrong -----


def test_unknown_layers_and_windows_outside(tmp_path):
    pixels = image(40, 48)
    for layer, says in (("relu3", "Did you mean 'relu2'"), ("output", "no neuron in the output layer")):
        with pytest.raises(UsageError, match=says):
            nspike.trace(MODEL, pixels, tmp_path / "t.h5", layers=[layer])
    for window, says in (
        ((0, 0, 49, 1), "outside the image, which is 48x40"),
        ((-1, 0, 4, 4), "outside"),
        ((40, 39, 8, 2), "outside"),
        ((0, 0, 0, 4), "at least 1x1"),
    ):
        with pytest.raises(UsageError, match=says):
            nspike.trace(MODEL, pixels, tmp_path / "t.h5", window=window)
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    pixels = image(40, 48)
    (tmp_path / "t.h5").write_bytes(b"older")

    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nspike.trace(MODEL, pixels, tmp_path / "t.h5", progress=interrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]
    assert (tmp_path / "t.h5").read_bytes() == b"older"
    with pytest.raises(OutputError, match=r"the folder .+ does not exist"):
        nspike.trace(MODEL, pixels, tmp_path / "none" / "t.h5")
    with pytest.raises(OutputError, match="not a regular file"):
        nspike.trace(MODEL, pixels, "/dev/full")


def test_the_image_is_not_replaced(tmp_path):
    photo = write(tmp_path / "photo.png", 20, 24)
    before = photo.read_bytes()
    (tmp_path / "linked.h5").symlink_to(photo)
    for target in (photo, str(photo), tmp_path / "linked.h5"):
        with pytest.raises(UsageError, match="would replace the image; give another name"):
            nspike.trace(MODEL, str(photo), target)
    assert photo.read_bytes() == before


@pytest.mark.parametrize("room", [0, 100, 5_000, 9_000, "last"])
def test_a_disk_that_fills_up(tmp_path, monkeypatch, room):
    nspike.trace(MODEL, image(70, 80), tmp_path / "t.h5")
    before = (tmp_path / "t.h5").read_bytes()
    room = len(before) - 1 if room == "last" else room

    def pwrite(number, data, at):
        if at + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(number, data, at)

    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OutputError, match=r"cannot write .*t\.h5: No space left on device"):
        nspike.trace(MODEL, image(70, 80), tmp_path / "t.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]
    assert (tmp_path / "t.h5").read_bytes() == before


@pytest.fixture
def traced(tmp_path):
    nspike.trace(MODEL, image(40, 48), tmp_path / "t.h5")
    return tmp_path / "t.h5"


def test_files_that_are_no_traces(tmp_path, traced):
    files = {
        "empty": (b"", "is empty"),
        "garbage": (b"\x00garbage" * 100, "neither HDF5 nor NPZ"),
        "zip": (b"PK\x03\x04" + b"\x00" * 200, "damaged, or cut short"),
        "hdf5": (b"\x89HDF\r\n\x1a\n\x03" + b"\x55" * 2000, "damaged, or cut short"),
    }
    for name, (content, says) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInputError, match=says):
            nspike.read_trace(tmp_path / name)
    with pytest.raises(BadInputError, match="is a folder"):
        nspike.read_trace(tmp_path)
    with pytest.raises(BadInputError, match="No such file"):
        nspike.read_trace(tmp_path / "gone")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["relu1"] = np.zeros((1, 1, 2, 2), bool)
    with pytest.raises(BadInputError, match='libver="latest"'):
        nspike.read_trace(tmp_path / "old.h5")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path, traced, share):
    data = traced.read_bytes()
    (tmp_path / "short.h5").write_bytes(data[: int(share * len(data))])
    with pytest.raises(BadInputError, match=r"short\.h5: "):
        nspike.read_trace(tmp_path / "short.h5")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_damage_of_any_kind(tmp_path, traced, seed):
    """Bytes changed at random: a message, or spikes that were not hit; never anything else."""
    draw, data = np.random.default_rng(seed), traced.read_bytes()
    with nspike.read_trace(traced) as trace:
        expected = {layer: trace.spikes(layer) for layer in trace.layers}
    refused = 0
    for _ in range(7):
        changed = bytearray(data)
        for at in draw.integers(0, len(data), draw.integers(1, 4)):
            changed[at] ^= int(draw.integers(1, 256))
        (tmp_path / "d.h5").write_bytes(changed)
        try:
            with nspike.read_trace(tmp_path / "d.h5") as trace:
                for layer in trace.layers:
                    np.testing.assert_array_equal(trace.spikes(layer), expected[layer])
        except BadInputError:
            refused += 1
    assert refused > 5


def test_chunks_that_were_never_written(tmp_path):
    draw = np.random.default_rng(0)
    spikes = draw.random((4, 3, 40, 50)) < 0.2
    with h5py.File(tmp_path / "f.h5", "w", libver="latest") as file:
        made = file.create_dataset("a", spikes.shape, bool, chunks=(2, 2, 16, 16), compression="gzip", shuffle=True)
        made[1, :, 5:20] = spikes[1, :, 5:20]
    expected = np.zeros_like(spikes)
    expected[1, :, 5:20] = spikes[1, :, 5:20]
    with nspike.read_trace(tmp_path / "f.h5") as trace:
        np.testing.assert_array_equal(trace.spikes("a"), expected)


def test_a_chunk_that_was_changed_is_found(tmp_path, traced):
    with h5py.File(traced) as file:
        info = file["spikes/relu1"].id.get_chunk_info(0)
    data = bytearray(traced.read_bytes())
    data[info.byte_offset + info.size // 2] ^= 0x10
    traced.write_bytes(data)
    with nspike.read_trace(traced) as trace, pytest.raises(BadInputError, match=r"t\.h5: (damaged|not allowed)"):
        trace.spikes("relu1")


def edited(path, change):
    with h5py.File(path, "r+") as file:
        info = json.loads(file.attrs["trace"])
        change(file, info)
        text = json.dumps(info).encode()
        del file.attrs["trace"]
        file.attrs.create("trace", text, dtype=h5py.string_dtype("utf-8", len(text)))


def attribute(name, value):
    def change(file, info):
        del file.attrs[name]
        kind = h5py.string_dtype("utf-8", len(value)) if isinstance(value, bytes) else "<i8"
        file.attrs.create(name, value, dtype=kind)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (attribute("version", 2), "version 2; this nspike reads version 1"),
        (attribute("format", b"other"), "its format is 'other'"),
        (lambda file, info: info["window"].update(width=49), "expected uint8"),
        (lambda file, info: info["window"].update(width=-1), "cannot be"),
        (lambda file, info: info["parameters"].update(timesteps="4"), "cannot be"),
        (lambda file, info: info["layers"].append(info["layers"][0] | {"name": "relu9"}), "'relu9' are missing"),
        (lambda file, info: info.pop("input"), "damaged"),
        (lambda file, info: file.__delitem__("spikes/relu2"), "'relu2' are missing"),
    ],
)
def test_traces_that_contradict_themselves(traced, change, says):
    edited(traced, change)
    with pytest.raises(BadInputError, match=says):
        nspike.read_trace(traced)


def test_foreign_files_that_are_refused(tmp_path):
    plain = np.zeros((2, 3, 4, 5), np.uint8)

    def made(fill):
        with h5py.File(tmp_path / "f.h5", "w", libver="latest") as file:
            fill(file)
        return tmp_path / "f.h5"

    cases = [
        (lambda f: f.__setitem__("a", h5py.SoftLink("/b")), "soft or external link"),
        (lambda f: f.__setitem__("a", h5py.ExternalLink("x.h5", "/b")), "soft or external link"),
        (lambda f: f.create_dataset("a", data=plain, chunks=True, compression="lzf"), "filter other than"),
        (lambda f: f.create_dataset("a", (2, 2, 2, 2), "f4", external=[("x", 0, 64)]), "another file"),
        (lambda f: f.create_dataset("a", data=plain[0]), r"shape \(3, 4, 5\)"),
        (lambda f: f.create_dataset("a", data=["text"]), "plain numbers"),
        (lambda f: None, "holds no arrays"),
        (lambda f: f.create_group("g").__setitem__("h", f["g"]), "lies too deep"),
        (lambda f: [f.create_group(f"g{i}") for i in range(4100)], "more than 4096 objects"),
        (lambda f: f.create_dataset("a", (2**20,) * 4, "u1", chunks=(2**10, 2**10, 2**10, 1)), "chunks of"),
    ]
    for fill, says in cases:
        with pytest.raises(BadInputError, match=says):
            nspike.read_trace(made(fill))
    made(lambda f: f.create_dataset("a", data=plain + 2))
    with nspike.read_trace(tmp_path / "f.h5") as trace, pytest.raises(BadInputError, match="other values than 0 and 1"):
        trace.spikes("a")
    np.savez(tmp_path / "f.npz", a=np.array([object()]))
    with pytest.raises(BadInputError, match="expected numbers"):
        nspike.read_trace(tmp_path / "f.npz")


def test_asking_for_what_is_not_there(traced):
    with nspike.read_trace(traced) as trace:
        with pytest.raises(UsageError, match="Did you mean 'relu1'"):
            trace.spikes("rel1")
        with pytest.raises(UsageError, match="no plane 1; expected 0 to 0"):
            trace.spikes("relu1", 1)
