"""Files that attack, or are damaged: BadInputError, always, and nothing runs."""

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from nspike_plugins import _torch_names, _unpickle, pytorch

from nspike import BadInputError
from tests import mutants
from tests.plugins.torch_files import Bytes, Call, G, New, Pid, Writer, dumps

SYSTEM = os.system
W = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    """Whatever would start a program fails the test instead."""

    def caught(*_args, **_kwargs):
        pytest.fail("a file made the reader run something")

    monkeypatch.setattr(os, "system", caught)
    monkeypatch.setattr(os, "popen", caught)
    monkeypatch.setattr(subprocess, "Popen", caught)


def refused(tmp_path, thing, match, **how):
    writer = how.pop("writer", None) or Writer()
    path = writer.save(tmp_path / "x.pth", thing, **how) if not isinstance(thing, bytes) else tmp_path / "x.pth"
    if isinstance(thing, bytes):
        writer.archive(path, thing)
    with pytest.raises(BadInputError, match=match) as caught:
        pytorch.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


HARMFUL = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("sys", "modules"),
    ("shutil", "rmtree"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"), ("builtins", "open"),
    ("builtins", "__import__"), ("__builtin__", "eval"), ("os.path", "join"), ("importlib", "import_module"),
    ("runpy", "run_path"), ("nspike", "load"),
]  # fmt: skip


@pytest.mark.parametrize("stack_global", [False, True])
@pytest.mark.parametrize("name", HARMFUL, ids=".".join)
@pytest.mark.parametrize("shape", ["reduce", "build", "mention", "new", "persistent"])
def test_harmful_names_are_refused_anywhere(tmp_path, name, shape, stack_global):
    target = G(*name)
    thing = {
        "reduce": Call(target, ("echo gone",)),
        "build": New(G("nets", "Net"), (), {"__setstate__": target}),
        "mention": {"hook": target},
        "new": New(target, ("echo gone",)),
        "persistent": Pid(("module", target, "f.py", "source")),
    }[shape]
    message = refused(tmp_path, {"a": thing}, r"names '.*' *, which can run code", stack_global=stack_global)
    assert ".".join(name) in message


def test_harmful_names_by_inst_and_obj(tmp_path):
    refused(tmp_path, b"\x80\x02(X\x02\x00\x00\x00lsios\nsystem\n.", r"names 'os\.system'")
    refused(tmp_path, b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00lso.", r"names 'os\.system'")


def test_real_pickle_of_an_attack(tmp_path):
    class Attack:
        def __reduce__(self):
            return SYSTEM, ("echo gone",)

    for protocol in (0, 1, 2, 3, 4, 5):
        refused(tmp_path, pickle.dumps({"w": Attack()}, protocol), "which can run code")


def test_a_call_off_the_list_is_refused_by_name(tmp_path):
    refused(tmp_path, Call(G("some.package", "launch"), ("x",)), r"calls 'some\.package\.launch'.*state_dict\(\)")
    refused(tmp_path, Call(G("torch", "load"), ("x",)), r"calls 'torch\.load'")
    refused(tmp_path, Call(G("torch.hub", "load"), ("x",)), r"calls 'torch\.hub\.load'")
    refused(tmp_path, Call(New(G("a", "b")), ()), "calls 'Record'")
    wrapped = Call(G("torch._tensor", "_rebuild_from_type_v2"), (G("a", "launch"), G("a", "b"), (), {}))
    refused(tmp_path, wrapped, r"calls 'a\.launch'")


def test_build_cannot_change_a_function(tmp_path):
    rebuild = G("torch._utils", "_rebuild_tensor_v2")
    refused(tmp_path, [Bytes(dumps(rebuild)[2:-1] + dumps({"__code__": 1})[2:-1] + b"b")], "changes 'torch._utils")


def test_objects_of_unknown_classes_do_nothing(tmp_path):
    writer = Writer()
    state = ({"__class__": 1, "__reduce__": 2}, {"__dict__": 3})
    thing = {"state_dict": {"w": writer.tensor(W)}, "other": New(G("evil", "Thing"), ("x",), state)}
    assert list(pytorch.read(writer.save(tmp_path / "x.pth", thing)).tensors) == ["w"]
    assert "evil" not in sys.modules


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (1 << 40,), (1,)), (0, (1 << 40,), (0,)), (0, (3, 4), (4, 2)), (9, (4,), (1,)), (1 << 62, (1,), (1,)),
        (0, (1 << 62, 1 << 62), (1, 1)), (0, (2,), (1 << 63,)), (0, (13,), (0,)),
    ],
)  # fmt: skip
def test_views_beyond_their_storage(tmp_path, old, offset, size, stride):
    writer = Writer(old=old)
    thing = {"w": writer.view(writer.storage(W), offset, size, stride)}
    refused(tmp_path, thing, "does not fit in its storage of 12 values", writer=writer)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(-1, (1,), (1,)), (0, (-1,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,)), (0, (1,) * 40, (1,) * 40), (0, 5, 5)],
)
def test_views_that_make_no_sense(tmp_path, offset, size, stride):
    writer = Writer()
    refused(tmp_path, {"w": writer.view(writer.storage(W), offset, size, stride)}, "x.pth", writer=writer)


@pytest.mark.parametrize("old", [False, True])
def test_storage_larger_than_the_file(tmp_path, old):
    writer = Writer(old=old)
    storage = writer.storage(W)
    storage.identity = (*storage.identity[:4], 1 << 50, *storage.identity[5:])
    refused(tmp_path, {"w": writer.view(storage, 0, (1 << 50,), (1,))}, "should have", writer=writer)


def test_many_overlapping_views_of_one_storage(tmp_path):
    writer = Writer()
    storage = writer.storage(np.zeros(100_000, np.float32))
    thing = {str(i): writer.view(storage, i, (90_000,), (1,)) for i in range(50)}
    refused(tmp_path, thing, "over 4 times the file", writer=writer)


def test_quantised_and_unknown_storages(tmp_path):
    writer = Writer()
    storage = writer.storage(W)
    storage.identity = ("storage", G("torch", "QInt8Storage"), *storage.identity[2:])
    refused(tmp_path, {"w": writer.view(storage, 0, (1,), (1,))}, "QInt8Storage.*expected one of", writer=writer)


@pytest.mark.parametrize("name", ["../evil", "net/../../evil", "/etc/evil", "C:/evil", "net\\..\\evil"])
def test_members_outside_the_archive(tmp_path, name):
    writer = Writer()
    path = tmp_path / "x.pth"
    writer.archive(path, dumps({"w": writer.tensor(W)}), {"placeholder": b""})
    raw = path.read_bytes().replace(b"placeholder", name.encode().ljust(11, b"_")[:11])
    path.write_bytes(raw) if len(name) <= 11 else writer.archive(path, dumps({"w": writer.tensor(W)}), {name: b""})
    with pytest.raises(BadInputError, match="points outside the archive"):
        pytorch.read(path)


def test_compressed_members(tmp_path):
    writer = Writer()
    thing = dumps({"w": writer.tensor(np.zeros(1_000_000, np.float32))})
    writer.archive(tmp_path / "x.pth", thing, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(BadInputError, match="is compressed; expected stored members"):
        pytorch.read(tmp_path / "x.pth")


def test_member_that_claims_more_than_the_file_has(tmp_path):
    writer = Writer()
    path = tmp_path / "x.pth"
    writer.archive(path, dumps({"w": writer.tensor(W)}))
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"net/data/0") - 46
    raw[at + 20 : at + 28] = struct.pack("<II", 1 << 31, 1 << 31)
    path.write_bytes(raw)
    with pytest.raises(BadInputError, match="larger than the file"):
        pytorch.read(path)


def test_archive_without_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(BadInputError, match=r"without a data\.pkl"):
        pytorch.read(tmp_path / "x.pth")


def _nested(depth):
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def _laughs():
    return b"\x80\x02]q\x00" + b"".join(b"](" + b"h%c" % i * 10 + b"eq%c" % (i + 1) for i in range(30)) + b"."


BOMBS = {
    "deep list": _nested(200_000),
    "deep tuple as a key": b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"Ns.",
    "list of lists of lists": _laughs(),
    "list that contains itself": b"\x80\x02]q\x00h\x00a.",
    "huge string": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"abc.",
    "huge bytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
    "huge integer": b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".",
    "digits": b"I" + b"9" * 100_000 + b"\n.",
    "no end": b"\x80\x02" + b"N" * 1000,
    "nothing": b"",
    "empty stack": b"\x80\x02.",
    "endless": b"\x80\x02" + b"N0" * 300_000 + b"N.",
    "bytearray of a size": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "extension": b"\x80\x02\x82\x01.",
    "copies": b"\x80\x02](" + b"K\x01" * 2000 + b"e\x85q\x00]" + b"cbuiltins\nset\nh\x00Ra" * 2000 + b".",
}


@pytest.mark.parametrize("bomb", list(BOMBS))
def test_bombs(tmp_path, monkeypatch, bomb):
    monkeypatch.setattr(_unpickle, "MAX_WORK", 500_000)
    monkeypatch.setattr(_torch_names, "_MAX_VISITS", 100_000)
    refused(tmp_path, BOMBS[bomb], "x.pth")


def test_the_memo_takes_no_room_for_places_left_out(tmp_path):
    writer = Writer()
    writer.archive(tmp_path / "x.pth", b"\x80\x02Nr\xff\xff\xff\xff.")
    tracemalloc.start()
    assert pytorch.read(tmp_path / "x.pth").tensors == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def _samples():
    """A small file of each container."""
    for old in (False, True):
        writer = Writer(old=old)
        norm = New(G("nets", "Norm"), (), {"_parameters": OrderedDict(w=writer.tensor(W)), "_modules": OrderedDict()})
        thing = {"epoch": 1, "state_dict": OrderedDict(a=writer.tensor(W), b=norm)}
        if old:
            yield writer.stream(thing)
        else:
            out = io.BytesIO()
            writer.archive(out, dumps(thing))  # type: ignore[arg-type]
            yield out.getvalue()


@pytest.mark.parametrize("index", [0, 1], ids=["zip", "stream"])
def test_every_prefix_is_refused(tmp_path, index):
    raw = list(_samples())[index]
    path = tmp_path / "x.pth"
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(BadInputError):
            pytorch.read(path)
    path.write_bytes(raw)
    assert list(pytorch.read(path).tensors) == ["a", "b.w"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("index", [0, 1], ids=["zip", "stream"])
def test_flipped_bytes(tmp_path, index):
    raw = list(_samples())[index]
    count = mutants.refused(pytorch.read, tmp_path / "x.pth", raw, random.Random(7), 400, BadInputError, (1, 1, 3))
    assert 200 < count < 390, count
