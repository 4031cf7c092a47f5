"""The process in which the HDF5 library reads a file that may be hostile: see `nspike.files.guarded`.

It answers requests, a line of JSON each on standard input: with a line of JSON and as many bytes as that says. Memory, and
the time for each request, are bounded; if the library crashes, this process alone ends.
"""

import contextlib
import itertools
import json
import math
import os
import signal
import sys
from typing import Any

import h5py
import numpy as np

from nspike.files.foreign import Refused
from nspike.files.hdf5 import filters_of, root_attributes

MEMORY = 640 << 20
"""Bytes beyond what the libraries take themselves."""

SECONDS = 60
"""Of the processor, for a request."""

_MOST_OBJECTS = 100_000
_DEEPEST = 16
_MOST_ATTRIBUTES = 64
_LAYOUTS = {
    h5py.h5d.COMPACT: "compact",
    h5py.h5d.CONTIGUOUS: "contiguous",
    h5py.h5d.CHUNKED: "chunked",
    h5py.h5d.VIRTUAL: "virtual",
}


def main(path: str) -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    _limit_memory()
    server, out = Server(path), sys.stdout.buffer
    for line in sys.stdin.buffer:
        _limit_time()
        request, data = json.loads(line), b""
        try:
            reply, data = getattr(server, request.pop("do"))(**request)
        except Refused as refused:
            reply = {"refused": str(refused)}
        except MemoryError:
            reply = {"damaged": f"MemoryError: reading it takes more than {MEMORY >> 20} MiB"}
        except Exception as error:  # a damaged file can make the library raise anything
            reply = {"damaged": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        out.write(json.dumps(reply | {"bytes": len(data)}).encode() + b"\n" + data)
        out.flush()
    os._exit(0)  # without the library's own end, which can crash too


class Server:
    """The requests: each gives what to answer, and bytes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._datasets: dict[int, Any] = {}
        self._written: dict[int, set[tuple[int, ...]] | None] = {}

    def open(self) -> tuple[dict[str, Any], bytes]:
        """The names of the root's attributes, and every object that hard links lead to."""
        self._file = h5py.File(self._path, "r", locking=False)
        return {"attributes": _attributes(self._file), "objects": list(self._walk())}, b""

    def attributes(self) -> tuple[dict[str, Any], bytes]:
        """The root's attributes, text and integers alone."""
        return {"values": root_attributes(self._file.id)}, b""

    def references(self, dataset: int) -> tuple[dict[str, Any], bytes]:
        """The addresses that the references of a dataset lead to."""
        references = np.asarray(self._datasets[dataset][()]).reshape(-1)
        return {"addresses": [_address(self._file[reference]) for reference in references]}, b""

    def chunk(self, dataset: int, corner: list[int]) -> tuple[dict[str, Any], bytes]:
        """The stored bytes of a chunk, not unpacked; absent if it was never written."""
        data, first = self._datasets[dataset], tuple(corner)
        if dataset not in self._written:
            self._written[dataset] = _written(data)
        written = self._written[dataset]
        if written is not None and first not in written:
            return {"absent": True}, b""
        skipped, raw = data.id.read_direct_chunk(first)
        if skipped:
            raise Refused(f"{data.name[1:]} skips a filter")
        return {}, raw

    def span(self, dataset: int, ranges: list[list[int]]) -> tuple[dict[str, Any], bytes]:
        """The values of a part of a dataset without chunks."""
        return {}, np.asarray(self._datasets[dataset][tuple(slice(*pair) for pair in ranges)]).tobytes()

    def _walk(self) -> Any:
        waiting = [("", self._file)]
        for count in itertools.count(1):
            if not waiting:
                return
            prefix, group = waiting.pop()
            for name in itertools.islice(group, _MOST_OBJECTS + 1):
                path = f"{prefix}{name}"
                if count + len(self._datasets) > _MOST_OBJECTS:
                    raise Refused(f"has more than {_MOST_OBJECTS} objects")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    yield {"path": path, "kind": "link"}
                    continue
                thing = group[name]
                about = {"path": path, "address": _address(thing), "attributes": _attributes(thing)}
                if isinstance(thing, h5py.Group):
                    if path.count("/") >= _DEEPEST:
                        raise Refused(f"{path} lies too deep")
                    waiting.append((f"{path}/", thing))
                    yield about | {"kind": "group"}
                elif isinstance(thing, h5py.Dataset):
                    self._datasets[len(self._datasets)] = thing
                    yield about | {"kind": "dataset", "number": len(self._datasets) - 1} | _described(thing)
                else:
                    yield about | {"kind": "other"}


def _described(dataset: Any) -> dict[str, Any]:
    kind, plan = dataset.id.get_type(), dataset.id.get_create_plist()
    reference = isinstance(kind, h5py.h5t.TypeReferenceID) and dataset.dtype == h5py.ref_dtype
    plain = not reference and dataset.shape is not None and dataset.dtype.kind in "biuf"
    layout = "external" if plan.get_external_count() else _LAYOUTS.get(plan.get_layout(), "unknown")
    chunked = layout == "chunked"
    return {
        "shape": None if dataset.shape is None else list(dataset.shape),
        "fixed": dataset.maxshape == dataset.shape,
        "dtype": dataset.dtype.str if plain else None,
        "what": str(dataset.dtype)[:60],
        "references": reference,
        "itemsize": dataset.dtype.itemsize,
        "layout": layout,
        "chunks": list(dataset.chunks) if chunked else None,
        "filters": filters_of(dataset),
        "stored": dataset.id.get_storage_size() if layout != "virtual" else 0,
    }


def _attributes(thing: Any) -> list[str]:
    if len(thing.attrs) > _MOST_ATTRIBUTES:
        raise Refused(f"has {len(thing.attrs)} attributes; at most {_MOST_ATTRIBUTES} are read")
    return list(thing.attrs)


def _address(thing: Any) -> int:
    return int(h5py.h5o.get_info(thing.id).addr)


def _written(dataset: Any) -> set[tuple[int, ...]] | None:
    """The first elements of the chunks that were ever written; None if all were (to ask for each takes longer by far)."""
    grid = (-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() == math.prod(grid):
        return None
    corners: set[tuple[int, ...]] = set()
    dataset.id.chunk_iter(lambda info: corners.add(info.chunk_offset))
    return corners


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on every system
        import resource

        pages = int(open("/proc/self/statm", "rb").read().split()[0])  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def _limit_time() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, most))
