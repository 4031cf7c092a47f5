"""Compiled kernels on the disk, which may help and must never hurt.

What is damaged is discarded and compiled again; what cannot be read or written is compiled in memory, with one warning that
names the folder. Each file ends in a checksum, because damaged machine code would end the process.
"""

import contextlib
import hashlib
import io
import pickle
import warnings
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

_told: list[str] = []


class KernelCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code stored for a signature, or None if there is none."""
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            _tell(self._cache_path, error)
        except Exception:  # a damaged file can make unpickling raise anything
            with contextlib.suppress(OSError):
                self._cache_file.flush()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, where that is possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _tell(self._cache_path, error)


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """The files of a function, each with a checksum behind what pickle reads.

    Compiled code is named by its key. Numba numbers it, so that two processes which compile the same function for different
    types at once may give both the same name, and one then runs the other's code.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep what was compiled for a key: the code first, so that the index never names what is not there."""
        name = self._data_name_pattern.format(number=int(hashlib.sha256(repr(key).encode()).hexdigest()[:15], 16))
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)
        return data + hashlib.sha256(data).digest()

    def _load_index(self) -> Any:
        with contextlib.suppress(FileNotFoundError), open(self._index_path, "rb") as file:
            stream = io.BytesIO(file.read())
            pickle.load(stream)  # the version
            _check(stream.read())
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            _check(file.read())
        return super()._load_data(name)


def _check(data: bytes) -> None:
    if len(data) < 32 or hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise ValueError("a checksum is wrong")


def _tell(folder: str, error: Exception) -> None:
    if _told:
        return
    _told.append(folder)
    warnings.warn(
        f"nspike: compiled kernels cannot be kept in {folder} ({getattr(error, 'strerror', None) or error}); they are "
        "compiled in memory. Set NSPIKE_CACHE_DIR to a folder of yours with free space.",
        RuntimeWarning,
        stacklevel=2,
    )
