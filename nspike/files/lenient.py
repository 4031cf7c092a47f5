"""A file that the HDF5 library writes to and that never fails.

The library keeps files open that it could not write, and may crash when the process ends. So what the system refuses is
kept in `error`, for the caller to raise; later writes are dropped, and the library can close its file normally.
"""

import os
from typing import Any


class LenientFile:
    """A new file with the methods that h5py needs of a file object."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.error: OSError | None = None
        self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._at = self._end = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte offset and return it; the end is where it would be if no write had failed."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """The current offset in bytes."""
        return self._at

    def write(self, data: Any) -> int:
        """Write all bytes of `data`; an OSError is kept in `error`. Always returns the length of `data`."""
        rest = memoryview(data).cast("B")
        try:
            while self.error is None and len(rest):
                written = os.pwrite(self._number, rest, self._at + len(data) - len(rest))
                rest = rest[written:]
        except OSError as error:
            self.error = error
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the file, with zeros for bytes that could not be written."""
        view = memoryview(buffer).cast("B")
        stored = os.pread(self._number, len(view), self._at)
        view[: len(stored)] = stored
        view[len(stored) :] = bytes(len(view) - len(stored))
        self._at += len(view)
        return len(view)

    def read(self, count: int) -> bytes:
        """Read `count` bytes as `readinto` does; h5py only checks that the method exists."""
        buffer = bytearray(count)
        self.readinto(buffer)
        return bytes(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Set the size in bytes, by default to the current offset, and return it; an OSError is kept in `error`."""
        size = self._at if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._number, size)
            except OSError as error:
                self.error = error
        self._end = size
        return size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def close(self) -> None:
        """Close the file descriptor, if it is open."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)
