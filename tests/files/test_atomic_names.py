"""Files of any name: written whole, or refused, and nothing left beside them."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nspike.errors import OutputError
from nspike.files.atomic import replacing, write_bytes
from tests.properties import examples

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="/")
NAMES = st.text(LETTERS, min_size=1, max_size=90).filter(lambda name: name not in (".", ".."))
LONGEST = 255  # bytes


def write(path, data):
    write_bytes(path, data)


def replace(path, data):
    with replacing(path) as temporary:
        assert temporary.parent.samefile(Path(path).parent)
        temporary.write_bytes(data)


@examples
@given(NAMES, st.binary(max_size=40), st.booleans(), st.sampled_from([write, replace]))
def test_any_name(name, data, there, how):
    possible = "\0" not in name and len(name.encode()) <= LONGEST
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        if there and possible:
            Path(path).write_bytes(b"old")
        if not possible:
            with pytest.raises(OutputError, match=r"^cannot write "):
                how(path, data)
            assert os.listdir(folder) == []
            return
        how(path, data)
        assert os.listdir(folder) == [name]
        assert Path(path).read_bytes() == data
