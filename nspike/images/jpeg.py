"""Whether a JPEG file holds the whole image: decoders fill in what is missing before an end mark, and say nothing.

What stands before the end mark matters only where the coded data end too soon: if noise put there changes a pixel, the
decoder was still waiting for data.
"""

import hashlib
import re

_NOISE = hashlib.shake_128(b"noise").digest(4096).replace(b"\xff", b"\x5a")  # 0xff would begin a marker
_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # 0xff 0x00 and restarts belong to the coded data
_ALONE = (0x01, *range(0xD0, 0xD9))
_END, _SCAN = 0xD9, 0xDA


def with_noise_before_end(data: bytes) -> bytes | None:
    """The file with noise before the end mark of its (first) image; None where there is no end mark."""
    at = _end(data)
    return None if at is None else data[:at] + _NOISE + data[at:]


def _end(data: bytes) -> int | None:
    at = 2
    while match := _MARKER.match(data, at):
        code, at = data[match.end() - 1], match.end()
        if code == _END:
            return at - 2
        if code in _ALONE:
            continue
        at += int.from_bytes(data[at : at + 2], "big")
        if code == _SCAN:
            following = _MARKER.search(data, at)
            if following is None:
                return None
            at = following.start()
    return None
