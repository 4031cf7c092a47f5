"""Training states: those of an earlier nspike go on, damaged ones are refused."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nspike.errors import BadInputError, NspikeError
from nspike.fitting.finetuning import FineTuning
from nspike.fitting.runs import Files
from nspike.fitting.state import read_state
from tests.fitting.test_finetuning import OPTIONS, batches, same
from tests.tiny import tiny_model

EARLIER = Path(__file__).parent / "data" / "checkpoint.npz"
"""Saved after 3 steps of 6 by nspike before packages, when a state was called a checkpoint."""


def begun(file):
    return FineTuning(tiny_model(timesteps=3), OPTIONS, batches, state=file)


def test_an_earlier_checkpoint_goes_on(tmp_path):
    shutil.copy(EARLIER, tmp_path / "out.checkpoint.npz")
    run = begun(Files(tmp_path / "out.h5").adopted())
    assert (run.done, run.state) == (3, tmp_path / "out.state.npz")
    run.run()
    straight = begun(None)
    straight.run()
    assert run.done == 6
    for name, tensor in straight.parameters.items():
        np.testing.assert_allclose(tensor.data, run.parameters[name].data, rtol=1e-4, atol=1e-6)
    same(run, begun(tmp_path / "out.state.npz"))


def zip_version(data):
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 6] + b"\xff" + data[at + 7 :]


DAMAGED = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "another version of zip": zip_version,
    "a type": lambda data: data.replace(b"'descr': '<f4'", b"'descr': '<i4'").replace(b"'<f8'", b"'|O8'"),
    "a shape": lambda data: data.replace(b"'shape': (8, 8, 3, 3)", b"'shape': (99999999,) "),
    "the description": lambda data: data.replace(b"n\x00\x00\x00s\x00\x00\x00p", b"\xff\xff\xff\xffs\x00\x00\x00p"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged(tmp_path, name):
    data = EARLIER.read_bytes()
    (tmp_path / "x.npz").write_bytes(DAMAGED[name](data))
    assert DAMAGED[name](data) != data
    with pytest.raises(BadInputError, match=r"x.npz: cannot be read as a training state: ."):
        begun(tmp_path / "x.npz")


def test_any_byte(tmp_path):
    """No byte that changes makes anything but a refusal or a state; nearly all are refused, by a checksum if by nothing else."""
    data, draw, refused = EARLIER.read_bytes(), np.random.default_rng(0), 0
    for at in draw.integers(len(data), size=300):
        (tmp_path / "x.npz").write_bytes(data[:at] + bytes([data[at] ^ int(draw.integers(1, 256))]) + data[at + 1 :])
        try:
            begun(tmp_path / "x.npz")
        except NspikeError:
            refused += 1
    assert refused > 250


def test_what_is_no_plain_state(tmp_path):
    arrays = dict(np.load(EARLIER))
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    spoilt = {**arrays, "parameter/conv1.weight": arrays["parameter/conv1.weight"] * np.float32(np.nan)}
    np.savez(tmp_path / "nan.npz", **spoilt)
    np.savez(tmp_path / "late.npz", **{**arrays, "history": arrays["history"][1:]})
    os.mkfifo(tmp_path / "pipe.npz")
    for name, said in {
        "small": "its arrays are compressed",
        "nan": "conv1.weight is not all finite",
        "late": "not of the steps 1, 2, 3",
        "pipe": "no regular file",
    }.items():
        with pytest.raises(BadInputError, match=said):
            read_state(tmp_path / f"{name}.npz")
    assert zipfile.ZipFile(EARLIER).testzip() is None
