"""What the pickle machine charges for, and how much it asks its file for."""

import io

import pytest
from nspike_plugins import _unpickle
from nspike_plugins._reading import Refused


class Asked(io.BytesIO):
    """A file that keeps the most that it was asked for at once."""

    most = 0

    def read(self, count=-1):
        self.most = max(self.most, count if count >= 0 else 2**62)
        return super().read(count)

    def readline(self, count=-1):
        self.most = max(self.most, count if count >= 0 else 2**62)
        return super().readline(count)


def load(data):
    file = Asked(data)
    return _unpickle.Machine(file, {}, lambda identity: identity), file


FRAME = b"\x95" + bytes(8)


def test_a_frame_is_a_step_too(monkeypatch):
    """Nine bytes that build nothing, as often as a file likes."""
    monkeypatch.setattr(_unpickle, "MAX_WORK", 100)
    assert load(b"\x80\x04" + 97 * FRAME + b"N.")[0].load() is None
    with pytest.raises(Refused, match="more than 100 steps"):
        load(b"\x80\x04" + 98 * FRAME + b"N.")[0].load()


@pytest.mark.parametrize("opcode", [b"I", b"L", b"V", b"S'", b"p", b"cos\n"])
def test_a_line_is_no_longer_than_a_file_may_be(opcode, monkeypatch):
    monkeypatch.setattr(_unpickle, "MAX_BYTES", 1000)
    machine, file = load(opcode + b"1" * 5000 + b"\n.")
    with pytest.raises(Refused, match="is longer than"):
        machine.load()
    assert file.most <= 1001


def test_a_length_asks_for_no_more_than_a_file_may_have(monkeypatch):
    monkeypatch.setattr(_unpickle, "MAX_BYTES", 1000)
    for opcode, size in ((b"X", 4), (b"B", 4), (b"\x8d", 8), (b"\x8b", 4)):
        machine, file = load(opcode + (2**30).to_bytes(size, "little") + b"1" * 5000 + b".")
        with pytest.raises((Refused, ValueError)):
            machine.load()
        assert file.most <= 1001
