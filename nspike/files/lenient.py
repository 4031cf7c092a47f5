"""A file that the HDF5 library writes to and that never fails.

The library keeps files open that it could not write, and may crash when the process ends. So what the system refuses is
kept in `error`, for the caller to raise, all that follows is dropped, and the library closes its file in peace.
"""

import os
from typing import Any


class LenientFile:
    """What h5py asks of a file object, over a new file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.error: OSError | None = None
        self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._at = self._end = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; the end is where it would be if nothing had failed."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def write(self, data: Any) -> int:
        """Write all of it, or keep the error."""
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
        """What is there; zeros for what could not be written."""
        view = memoryview(buffer).cast("B")
        stored = os.pread(self._number, len(view), self._at)
        view[: len(stored)] = stored
        view[len(stored) :] = bytes(len(view) - len(stored))
        self._at += len(view)
        return len(view)

    def read(self, count: int) -> bytes:
        """As `readinto`; h5py only looks whether there is such a method."""
        buffer = bytearray(count)
        self.readinto(buffer)
        return bytes(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen the file."""
        size = self._at if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._number, size)
            except OSError as error:
                self.error = error
        self._end = size
        return size

    def flush(self) -> None:
        """Nothing: nothing is held back."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._number)
