"""Choosing a format, names without prefixes, and what is said of files that are no checkpoints."""

from pathlib import Path

import numpy as np
import pytest

from nspike import BadInputError, Checkpoint, Format
from nspike.contracts.format import check_finite, read_checkpoint, strip_prefixes

ONE = {"module.a": np.ones(1)}


def a_format(name="toy", magic=b"TOY", tensors=ONE):
    return Format(
        name, "a toy", (f".{name}",), lambda path, head: head.startswith(magic), lambda path: Checkpoint(dict(tensors))
    )


def a_file(tmp_path, content, name="x.bin"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_the_content_decides_before_the_suffix(tmp_path):
    formats = [a_format("one", b"ONE"), a_format("two", b"TWO")]
    assert read_checkpoint(a_file(tmp_path, b"TWO...", "x.one"), formats).format == "two"
    assert read_checkpoint(a_file(tmp_path, b"damaged", "x.ONE"), formats).format == "one"


def test_names_lose_their_prefixes_and_text_paths_do(tmp_path):
    found = read_checkpoint(str(a_file(tmp_path, b"TOY")), [a_format()])
    assert list(found.tensors) == ["a"]
    assert found.metadata == {}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"is empty.*fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"git lfs pull"),
        (b"\n<!DOCTYPE html><html>", r"is a web page"),
        (b"anything", r"known format; expected one of: toy \(\.toy\)"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, match):
    path = a_file(tmp_path, content)
    with pytest.raises(BadInputError, match=match) as caught:
        read_checkpoint(path, [a_format()])
    assert str(path) in str(caught.value)


def test_places_that_are_no_files(tmp_path):
    with pytest.raises(BadInputError, match="is a folder"):
        read_checkpoint(tmp_path, [a_format()])
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "absent.pth", [a_format()])
    with pytest.raises(BadInputError, match="no format plugin is installed"):
        read_checkpoint(a_file(tmp_path, b"TOY"), [])


def test_a_file_without_tensors(tmp_path):
    with pytest.raises(BadInputError, match="holds no tensors"):
        read_checkpoint(a_file(tmp_path, b"TOY"), [a_format(tensors={})])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["module.conv1.weight", "module.conv1.bias"], ["conv1.weight", "conv1.bias"]),
        (["module.module.a", "module.module.b"], ["a", "b"]),
        (["_orig_mod.module.a"], ["a"]),
        (["module.a", "b"], ["module.a", "b"]),
        (["module.0.weight", "module.2.weight"], ["0.weight", "2.weight"]),
        (["model.0.weight", "model.2.weight"], ["model.0.weight", "model.2.weight"]),
        (["model.model.0.weight"], ["model.0.weight"]),
        (["model.input.weight", "model.output.weight"], ["input.weight", "output.weight"]),
        (["net.38.weight"], ["net.38.weight"]),
        (["module.net.conv.weight"], ["conv.weight"]),
        (["model."], ["model."]),
        (["model"], ["model"]),
        ([], []),
    ],
)
def test_strip_prefixes(names, expected):
    tensors = {name: np.full(1, i) for i, name in enumerate(names)}
    found = strip_prefixes(tensors)
    assert list(found) == expected
    assert [int(array[0]) for array in found.values()] == list(range(len(names)))


def test_check_finite():
    check_finite("w", np.ones((2, 3), np.float16))
    check_finite("n", np.array(3))
    check_finite("e", np.zeros((0, 3), np.float32))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(BadInputError, match=r"tensor 'a\.weight': 1 of its 2 values are NaN or infinite"):
            check_finite("a.weight", np.array([1, bad], np.float32))


def test_importing_format_plugins_is_cheap():
    import subprocess
    import sys

    code = (
        "import sys, nspike_plugins.pytorch, nspike_plugins.safetensors, nspike_plugins.matconvnet;"
        "print([m for m in ('numba', 'scipy', 'h5py', 'safetensors') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
