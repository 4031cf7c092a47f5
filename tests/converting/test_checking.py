"""An imported network against the framework's own output."""

import os

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.signal import correlate

import nspike
from nspike.converting.checking import check_output
from nspike.errors import BadInputError, DifferenceError
from tests.cli.console import run
from tests.converting.test_importing import dncnn_tensors


def network_of_numpy(tensors, image, dilation=1):
    """What a framework makes of an image (H, W): the noise."""
    values = image[None]
    for n in ("0", "2", "4"):
        kernels = tensors[f"{n}.weight"].astype(float)
        wide = np.zeros((*kernels.shape[:2], 2 * dilation + 1, 2 * dilation + 1))
        wide[..., ::dilation, ::dilation] = kernels
        values = np.stack(
            [sum(correlate(v, k, "same", "direct") for v, k in zip(values, kernel, strict=True)) for kernel in wide]
        )
        values += tensors[f"{n}.bias"][:, None, None]
        values = values if n == "4" else np.maximum(values, 0)
    return values[0]


@pytest.fixture
def files(tmp_path):
    tensors = dncnn_tensors()
    image = np.random.default_rng(3).random((21, 17))
    save_file(tensors, tmp_path / "net.safetensors")
    np.save(tmp_path / "input.npy", image.astype(np.float32))
    for name, dilation in (("right", 1), ("dilated", 2)):
        noise = network_of_numpy(tensors, image, dilation)
        np.save(tmp_path / f"{name}_noise.npy", noise[None, None])
        np.save(tmp_path / f"{name}.npy", (image - noise)[None])
    return tmp_path


@pytest.mark.parametrize(("name", "of"), [("right", "image"), ("right_noise", "network")])
def test_the_same_network(files, name, of):
    model = nspike.import_checkpoint(files / "net.safetensors", "dncnn")
    check = check_output(model, files / "input.npy", files / f"{name}.npy")
    assert check.of == of
    assert 0 < check.mean < check.largest < 1e-5


def test_a_dilated_network_is_noticed(files, capsys):
    command = ("import", files / "net.safetensors", "--network", "dncnn", "-o", files / "ann.h5")
    done = run(capsys, *command, "--check", files / "input.npy", files / "dilated.npy")
    assert (done.code, (files / "ann.h5").exists()) == (1, False), done
    assert "it is another architecture" in done.err
    done = run(capsys, *command, "--check", files / "input.npy", files / "right.npy")
    assert (done.code, (files / "ann.h5").exists()) == (0, True), done
    assert "assumed: 3×3 kernels of stride 1 and dilation 1" in done.out
    assert "IRCNN" in done.out
    assert "checked: the image's output differs by" in done.out


def test_files_that_are_no_such_arrays(files):
    model = nspike.import_checkpoint(files / "net.safetensors", "dncnn")
    np.save(files / "small.npy", np.zeros((5, 5)))
    np.save(files / "integers.npy", np.zeros((21, 17), int))
    np.save(files / "objects.npy", np.array([object()]))
    np.save(files / "nan.npy", np.full((21, 17), np.nan))
    (files / "cut.npy").write_bytes((files / "input.npy").read_bytes()[:-1])
    os.mkfifo(files / "pipe.npy")
    for name, says in (
        ("small", "expected"),
        ("integers", "expected floats"),
        ("objects", "is no array of numbers"),
        ("nan", "not finite"),
        ("cut", "is no array of numbers"),
        ("pipe", "not a regular file"),
        ("absent", "No such file"),
    ):
        with pytest.raises(BadInputError, match=says):
            check_output(model, files / "input.npy", files / f"{name}.npy")


def test_nothing_is_near_what_is_not_a_number(files):
    model = nspike.import_checkpoint(files / "net.safetensors", "dncnn")
    np.save(files / "far.npy", np.full((21, 17), 1e30))
    with pytest.raises(DifferenceError):
        check_output(model, files / "input.npy", files / "far.npy")
