"""Files of torch.save: what they may hold, and what the real exports give."""

import io
import tarfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from nspike_plugins import pytorch

from nspike import BadInputError
from tests.plugins.torch_files import STORAGES, Bytes, Call, G, New, Pid, Writer, dumps

WEIGHTS = Path(__file__).parents[2] / ".." / "shared" / "weights"
RNG = np.random.default_rng(1)
W = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)


@pytest.fixture(params=[False, True], ids=["zip", "stream"])
def writer(request):
    return Writer(old=request.param)


def module(kind: str, parameters=(), buffers=(), modules=(), **more) -> New:
    """A pickled nn.Module."""
    state = {
        "training": True,
        "_parameters": OrderedDict(parameters),
        "_buffers": OrderedDict(buffers),
        "_modules": OrderedDict(modules),
        **more,
    }
    return New(G("nets", kind), (), state)


def test_state_dict(tmp_path, writer):
    thing = OrderedDict([("a.weight", writer.tensor(W)), ("a.bias", writer.tensor(W[0, 0, 0]))])
    path = writer.save(tmp_path / "x.pth", thing)
    found = pytorch.read(path)
    assert pytorch.detect(path, path.read_bytes()[:512])
    assert list(found.tensors) == ["a.weight", "a.bias"]
    assert found.format == "pytorch"
    np.testing.assert_array_equal(found.tensors["a.weight"], W)
    assert found.tensors["a.weight"].flags.c_contiguous
    assert found.tensors["a.weight"].flags.writeable


@pytest.mark.parametrize("dtype", sorted(STORAGES))
def test_dtypes(tmp_path, writer, dtype):
    if dtype == "bfloat16":
        values, expected = np.array([0x3F80, 0xC040, 0x7F80], np.uint16), np.array([1, -3, np.inf], np.float32)
    else:
        values = expected = np.array([0, 1, 3]).astype(dtype)
    found = pytorch.read(writer.save(tmp_path / "x.pth", {"x": writer.tensor(values, dtype)})).tensors["x"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_newer_dtypes_lie_in_bytes(tmp_path):
    writer = Writer()
    raw = writer.storage(np.array([1, 70000], "<u4").view(np.uint8))
    raw.identity = ("storage", G("torch.storage", "UntypedStorage"), *raw.identity[2:])
    v3 = Call(G("torch._utils", "_rebuild_tensor_v3"), (raw, 0, (2,), (1,), False, OrderedDict(), G("torch", "uint32")))
    found = pytorch.read(writer.save(tmp_path / "x.pth", {"x": v3})).tensors["x"]
    assert found.dtype == np.uint32
    assert found.tolist() == [1, 70000]


def test_views_are_copied(tmp_path, writer):
    base = np.arange(24, dtype=np.float32)
    storage = writer.storage(base)
    grid = base.reshape(4, 6)
    thing = {
        "transposed": writer.view(storage, 0, (6, 4), (1, 6)),
        "slice": writer.view(storage, 7, (3, 2), (6, 2)),
        "scalar": writer.view(storage, 5, (), ()),
        "empty": writer.view(storage, 0, (0, 3), (3, 1)),
        "tied": writer.view(storage, 7, (3, 2), (6, 2)),
    }
    found = pytorch.read(writer.save(tmp_path / "x.pth", thing)).tensors
    np.testing.assert_array_equal(found["transposed"], grid.T)
    np.testing.assert_array_equal(found["slice"], grid[1:, 1:5:2])
    np.testing.assert_array_equal(found["tied"], grid[1:, 1:5:2])
    assert found["scalar"].shape == ()
    assert found["scalar"] == 5
    assert found["empty"].shape == (0, 3)
    assert all(array.flags.c_contiguous for array in found.values())


def test_view_of_a_storage_in_an_old_stream(tmp_path):
    writer = Writer(old=True)
    storage = writer.storage(np.arange(10, dtype=np.float32), view=("part", 4, 3))
    found = pytorch.read(writer.save(tmp_path / "x.pth", {"x": writer.view(storage, 1, (2,), (1,))}))
    assert found.tensors["x"].tolist() == [5, 6]


def test_big_endian_archive(tmp_path):
    writer = Writer()
    thing = {"x": writer.tensor(W)}
    writer.storages["0"] = (W.astype(">f4").tobytes(), W.size)
    path = writer.save(tmp_path / "x.pth", thing)
    path.write_bytes(_replaced_member(path, "net/byteorder", b"big"))
    np.testing.assert_array_equal(pytorch.read(path).tensors["x"], W)


@pytest.mark.parametrize(
    ("wrap", "wrapper"),
    [
        (lambda inner, more: {"epoch": 3, "state_dict": inner, "optimizer": {"state": more()}}, "state_dict"),
        (lambda inner, more: {"params": more(), "params_ema": inner}, "params_ema"),
        (lambda inner, more: {"model": {"state_dict": inner}, "lr": 0.1}, "model.state_dict"),
        (lambda inner, more: {"model": inner, "epoch": 50}, "model"),
    ],
)
def test_wrappers(tmp_path, writer, wrap, wrapper):
    thing = wrap({"module.w": writer.tensor(W)}, lambda: {"u": writer.tensor(W)})
    found = pytorch.read(writer.save(tmp_path / "x.pth", thing))
    assert list(found.tensors) == ["module.w"]
    assert found.metadata["wrapper"] == wrapper


def test_nested_dicts_without_a_wrapper(tmp_path, writer):
    thing = {"encoder": {"w": writer.tensor(W), "steps": [writer.tensor(W), 3]}, "optimizer": {"m": writer.tensor(W)}}
    found = pytorch.read(writer.save(tmp_path / "x.pth", thing))
    assert list(found.tensors) == ["encoder.w", "encoder.steps.0"]


def test_whole_module(tmp_path, writer):
    def parameter(values):
        args = (writer.tensor(values), True, OrderedDict())
        return Call(G("torch._utils", "_rebuild_parameter"), args)

    conv = module("Conv2d", [("weight", parameter(W)), ("bias", None)], stride=(1, 1))
    hidden = {"_non_persistent_buffers_set": Call(G("builtins", "set"), (["seen"],))}
    norm = module("Norm", [("weight", parameter(W[0]))], [("mean", writer.tensor(W[1])), ("seen", writer.tensor(W))])
    norm.state |= hidden
    net = module("Net", modules=[("body", module("Sequential", modules=[("0", conv), ("1", norm)]))], note="hello")
    found = pytorch.read(writer.save(tmp_path / "x.pth", net))
    assert list(found.tensors) == ["body.0.weight", "body.1.weight", "body.1.mean"]
    assert found.metadata["class"] == "nets.Net"


def test_whole_module_of_python_2(tmp_path):
    writer = Writer(old=True, python2=True)
    kind = Pid(("module", G("vdsr", "Net"), "/home/someone/vdsr.py", "class Net: pass  # caf\xe9" + "x" * 300))
    ordered = G("collections", "OrderedDict")
    weight = Call(G("torch.nn.parameter", "Parameter"), (writer.tensor(W),), (True, False, None))
    state = {
        "_parameters": Call(ordered, ([["weight", weight], ["bias", None]],)),
        "_buffers": Call(ordered, ([],)),
        "_modules": Call(ordered, ([],)),
        "_backend": Call(G("torch.nn.backends.thnn", "_get_thnn_function_backend"), ()),
    }
    found = pytorch.read(writer.save(tmp_path / "x.pth", {"epoch": 50, "model": New(kind, (), state)}))
    assert found.metadata == {"wrapper": "model", "ignored": "epoch", "class": "vdsr.Net", "container": "stream"}
    np.testing.assert_array_equal(found.tensors["weight"], W)


def test_torchscript(tmp_path):
    writer = Writer()
    inner = New(G("__torch__.torch.nn.modules.conv", "Conv2d"), (), {"training": True, "weight": writer.tensor(W)})
    shape = Call(G("torch.jit._pickle", "build_intlist"), ([1, 2],))
    net = New(G("__torch__", "Net"), (), {"conv": inner, "shape": shape})
    path = tmp_path / "x.pt"
    writer.archive(path, dumps(net), {"net/constants.pkl": b"\x80\x02).", "net/code/__torch__.py": b"not run"})
    found = pytorch.read(path)
    assert list(found.tensors) == ["conv.weight"]
    assert found.metadata["container"] == "TorchScript"


def test_unknown_objects_beside_the_weights(tmp_path, writer):
    thing = {
        "args": New(G("argparse", "Namespace"), (), {"lr": 0.1}),
        "path": Call(G("pathlib", "PosixPath"), ("runs", "one")),
        "best": Call(G("numpy.core.multiarray", "scalar"), (Call(G("numpy", "dtype"), ("f8",)), "x")),
        "seen": Bytes(b"ccollections\nmyset\n)\x81(K\x01K\x02e"),
        "state_dict": {"w": writer.tensor(W)},
    }
    assert list(pytorch.read(writer.save(tmp_path / "x.pth", thing)).tensors) == ["w"]


def test_globals_over_the_stack(tmp_path):
    writer = Writer()
    path = writer.save(tmp_path / "x.pth", OrderedDict(w=writer.tensor(W)), stack_global=True)
    np.testing.assert_array_equal(pytorch.read(path).tensors["w"], W)


def test_tar_and_plain_pickle_say_what_they_are(tmp_path):
    tar, plain = tmp_path / "old.pth", tmp_path / "plain.pth"
    with tarfile.open(tar, "w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"), io.BytesIO())
    plain.write_bytes(dumps({"a": 1}))
    assert pytorch.detect(tar, tar.read_bytes()[:512])
    with pytest.raises(BadInputError, match=r"old\.pth.* is a tar archive.*save its state_dict again"):
        pytorch.read(tar)
    with pytest.raises(BadInputError, match=r"not a file of torch\.save"):
        pytorch.read(plain)


BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
DNCNN = [
    "dncnn.0.weight", "dncnn.0.bias",
    *(name for i in range(15) for name in (f"dncnn.{2 + 3 * i}.weight", *(f"dncnn.{3 + 3 * i}.{x}" for x in BATCH_NORM))),
    "dncnn.47.weight", "dncnn.47.bias",
]  # fmt: skip


def _pairs(pattern, indices):
    return [f"{pattern.format(i)}.{kind}" for i in indices for kind in ("weight", "bias")]


@pytest.mark.parametrize(
    ("file", "names", "values", "first", "shape"),
    [
        ("own/dncnn_gray_s15.pth", DNCNN, 558032, "dncnn.0.weight", (64, 1, 3, 3)),
        ("own/dncnn_gray_s25.pth", DNCNN, 558032, "dncnn.2.weight", (64, 64, 3, 3)),
        ("own/dncnn_gray_s50.pth", DNCNN, 558032, "dncnn.47.weight", (1, 64, 3, 3)),
        ("own/aodnet.pth", _pairs("conv{}", range(1, 6)), 1761, "conv5.weight", (3, 12, 3, 3)),
        ("own/vdsr_y.pth", _pairs("net.{}", range(0, 39, 2)), 665921, "net.38.weight", (1, 64, 3, 3)),
        ("third_party/kair_dncnn_25.pth", _pairs("model.{}", range(0, 33, 2)), 555137, "model.0.weight", (64, 1, 3, 3)),
        ("third_party/mayanksingal_dehazer.pth", _pairs("e_conv{}", range(1, 6)), 1761, "e_conv3.weight", (3, 6, 5, 5)),
        (
            "third_party/twtygqyy_model_epoch_50.pth",
            [*(f"residual_layer.{i}.conv.weight" for i in range(18)), "input.weight", "output.weight"],
            664704,
            "input.weight",
            (64, 1, 3, 3),
        ),
    ],
)
def test_real_exports(file, names, values, first, shape):
    path = WEIGHTS / file
    if not path.exists():
        pytest.skip(f"the export {file} is not beside this checkout (../shared/weights)")
    found = pytorch.read(path).tensors
    assert sorted(found) == sorted(names)
    assert sum(array.size for array in found.values()) == values
    assert found[first].shape == shape
    for name, array in found.items():
        assert array.dtype == (np.int64 if name.endswith("num_batches_tracked") else np.float32)
        assert np.isfinite(array).all()


def _replaced_member(path, name, content):
    """The bytes of an archive with one member's content exchanged."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            new.writestr(member, content if member == name else old.read(member))
    return out.getvalue()
