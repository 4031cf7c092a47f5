"""The door for files that others made: regular files only, and no more bytes than were agreed on.

A device or a pipe could block or never end, so what a name leads to is looked at before it is opened, and again after.
"""

import os
import stat
from typing import BinaryIO

from nspike.errors import BadInputError


class Refused(BadInputError):
    """What is wrong with a file or with something in it; the caller that catches it adds the file's name."""


def open_regular(path: str | os.PathLike[str], limit: int) -> BinaryIO:
    """Open a file for reading.

    Raises Refused for a folder, a device, a pipe or a socket, and for more than `limit` bytes; OSError as `open` does,
    and ValueError for a null character in the name.
    """
    _check(os.stat(path), limit)
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check(os.fstat(number), limit)
    except BaseException:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a file, at most `limit`. Raises as `open_regular` does."""
    with open_regular(path, limit) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise Refused(f"is too large: at most {limit} bytes are read")
    return data


def _check(status: os.stat_result, limit: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise Refused("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("is not a regular file")
    if status.st_size > limit:
        raise Refused(f"is too large: {status.st_size} bytes, at most {limit} are read")
