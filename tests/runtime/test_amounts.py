"""Amounts with units, from the shell and from Python."""

import numpy as np
import pytest

from nspike.errors import UsageError
from nspike.runtime.amounts import in_bytes, mebibytes
from tests.tiny import image, tiny_model


@pytest.mark.parametrize(
    ("memory", "expected"),
    [("64M", 64 << 20), ("64 MiB", 64 << 20), ("64", 64 << 20), ("1.5k", 1536), ("2g", 2 << 30), (4096, 4096)],
)
def test_bytes(memory, expected):
    assert in_bytes(memory) == expected


@pytest.mark.parametrize("memory", ["plenty", "", "0", "-1M", "64T", 0, -5, 1.5, True, None, b"64M"])
def test_what_is_no_amount_is_refused(memory):
    with pytest.raises(UsageError, match='expected a number of bytes of at least 1, or text such as "64M"'):
        in_bytes(memory)


def test_in_words():
    assert [mebibytes(n) for n in (5, 1500, (5 << 20) + 1)] == ["5 bytes", "1 KiB", "5 MiB"]
    assert [mebibytes(n, up=True) for n in (5, 1500, (5 << 20) + 1)] == ["5 bytes", "2 KiB", "6 MiB"]


@pytest.mark.parametrize("ann", [False, True])
def test_python_takes_what_the_shell_takes(ann):
    model, pixels = tiny_model(), image(40, 48)
    expected = model.run(pixels, ann=ann).image
    assert np.array_equal(model.run(pixels, ann=ann, memory="64M").image, expected)
    with pytest.raises(UsageError, match="memory = 'plenty'"):
        model.run(pixels, ann=ann, memory="plenty")
    with pytest.raises(UsageError, match="threads = '2'; expected a whole number"):
        model.run(pixels, ann=ann, threads="2")


def test_too_little_says_how_much_and_how():
    with pytest.raises(UsageError, match=r'^1 KiB of working memory is too little: .*; allow more \(memory="\d+M"\)$'):
        tiny_model().run(image(40, 48), memory="1K")
