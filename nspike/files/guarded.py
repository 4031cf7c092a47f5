"""Safe reading of untrusted HDF5 files: the library runs in a separate process, chunks are unpacked here.

`open_hdf5` starts that process (`nspike.files.hdf5_child`), which lists what is in the file and hands out raw chunks. It has
little memory and time, and where a damaged file makes the library crash, that is an error like any other.
"""

import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.files.foreign import Refused, open_regular
from nspike.files.hdf5 import unpack

LARGEST = 2**40
"""The largest file, in bytes, that is opened; no more of it is read than is asked for."""

_MAIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from nspike.files.hdf5_child import main; main(sys.argv[2])"
_LONGEST_LINE = 2**28


@dataclass(frozen=True)
class HDF5Node:
    """What a hard link leads to, or another link.

    Parameters
    ----------
    path : from the root, such as "spikes/relu1".
    kind : "group", "dataset", "link" (a soft or external one, which is not followed) or "other".
    address : where in the file; what references name.
    attributes : their names.
    number : of a dataset; the following too are of datasets alone.
    shape, fixed : the shape (None: no values), and whether it can never change; itemsize : bytes of a value.
    dtype : of plain numbers and booleans, else None; `what` says in words what there is.
    references : whether it holds references to objects.
    layout : "compact", "contiguous", "chunked", "virtual" or "external".
    chunks, filters : the shape of a chunk, and the codes of the filters in the order in which they are applied.
    stored : how many bytes it takes in the file.
    """

    path: str
    kind: str
    address: int = -1
    attributes: tuple[str, ...] = ()
    number: int = -1
    shape: tuple[int, ...] | None = None
    fixed: bool = False
    dtype: np.dtype[Any] | None = None
    what: str = ""
    references: bool = False
    itemsize: int = 0
    layout: str = ""
    chunks: tuple[int, ...] | None = None
    filters: tuple[int, ...] = ()
    stored: int = 0

    @property
    def size(self) -> int:
        """The number of values."""
        return 0 if self.shape is None else math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes the values take, with all that chunks at the edges hold beyond them."""
        whole = self.shape or ()
        if self.chunks is not None and self.shape is not None:
            whole = tuple(-(-size // chunk) * chunk for size, chunk in zip(self.shape, self.chunks, strict=True))
        return math.prod(whole) * self.itemsize


class HDF5File:
    """An HDF5 file: what is in it by path, and its numbers when they are asked for. A context manager."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with open_regular(path, LARGEST) as stream:
            self.size = os.fstat(stream.fileno()).st_size
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, json.dumps(sys.path), os.fspath(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _end, self._process)
        try:
            reply, _ = self._ask("open")
            self.attribute_names = frozenset(map(str, reply["attributes"]))
            self.nodes: Mapping[str, HDF5Node] = {about["path"]: _node(about) for about in reply["objects"]}
        except BaseException:
            self.close()
            raise
        self._at = {node.address: node for node in self.nodes.values() if node.kind != "link"}

    def __enter__(self) -> "HDF5File":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._end()

    def attributes(self) -> dict[str, str | int]:
        """The root's attributes. Raises Refused for others than text of fixed length and 64-bit integers."""
        return dict(self._ask("attributes")[0]["values"])

    def referenced(self, node: HDF5Node) -> list[HDF5Node]:
        """What the references of a dataset lead to, in C order. Raises Refused where that is not in the tree."""
        addresses = self._ask("references", dataset=node.number)[0]["addresses"]
        if any(address not in self._at for address in addresses):
            raise Refused(f"{node.path} refers to something that no name leads to")
        return [self._at[address] for address in addresses]

    def array(self, node: HDF5Node) -> NDArray[Any]:
        """The values of a dataset of numbers. The caller has looked at `node.nbytes`."""
        assert node.shape is not None
        return self.select(node, [(0, size) for size in node.shape])

    def select(
        self,
        node: HDF5Node,
        wanted: Sequence[tuple[int, int]],
        chunk: Callable[[tuple[int, ...]], NDArray[Any]] | None = None,
    ) -> NDArray[Any]:
        """A part of a dataset: first and last (exclusive) of each dimension. `chunk` gives a chunk that is kept."""
        assert node.dtype is not None
        shape = [b - a for a, b in wanted]
        if node.chunks is None:
            data = self._ask("span", dataset=node.number, ranges=[list(pair) for pair in wanted])[1]
            return np.frombuffer(data, node.dtype).reshape(shape).copy()
        get = chunk or (lambda corner: self.chunk(node, corner))
        out = np.zeros(shape, node.dtype)
        ranges = [range(a // c * c, b, c) for (a, b), c in zip(wanted, node.chunks, strict=True)]
        for corner in itertools.product(*ranges):
            spans = list(zip(wanted, corner, node.chunks, strict=True))
            into = tuple(slice(max(a, o) - a, min(b, o + c) - a) for (a, b), o, c in spans)
            part = tuple(slice(max(a, o) - o, min(b, o + c) - o) for (a, b), o, c in spans)
            out[into] = get(corner)[part]
        return out

    def chunk(self, node: HDF5Node, corner: tuple[int, ...]) -> NDArray[Any]:
        """The chunk that begins at `corner`, unpacked here; zeros where it was never written."""
        assert node.dtype is not None
        assert node.chunks is not None
        reply, raw = self._ask("chunk", dataset=node.number, corner=list(corner))
        if reply.get("absent"):
            return np.zeros(node.chunks, node.dtype)
        nbytes = math.prod(node.chunks) * node.dtype.itemsize
        data = unpack(node.path, raw, list(node.filters), nbytes, node.dtype.itemsize)
        return np.frombuffer(data, node.dtype).reshape(node.chunks)

    def _ask(self, do: str, **values: Any) -> tuple[dict[str, Any], bytes]:
        """Send a request. Raises Refused as the child does, OSError for what is damaged or makes the child end."""
        with self._lock:
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            try:
                stdin.write(json.dumps({"do": do, **values}).encode() + b"\n")
                stdin.flush()
                reply = json.loads(stdout.readline(_LONGEST_LINE))
                data = stdout.read(reply["bytes"])
                whole = len(data) == reply["bytes"]
            except (OSError, ValueError) as error:  # it has ended: a broken pipe, or half an answer
                raise OSError(f"the HDF5 library crashed on it{self._how_it_ended()}") from error
        if not whole:
            raise OSError(f"the HDF5 library crashed on it{self._how_it_ended()}")
        if "refused" in reply:
            raise Refused(reply["refused"])
        if "damaged" in reply:
            raise OSError(reply["damaged"])
        return reply, data

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return ""
        return f": signal {-code}" if code < 0 else f": exit code {code}"


def open_hdf5(path: str | os.PathLike[str]) -> HDF5File:
    """Open an HDF5 file that may be damaged or hostile; the library reads it in a separate process.

    Links other than hard ones, external storage and virtual datasets are listed and never followed. Raises
    `Refused` for what is not a regular file, OSError for one that is damaged, as do all later requests.
    """
    return HDF5File(path)


def _node(about: dict[str, Any]) -> HDF5Node:
    tuples = {name: tuple(about[name]) for name in ("attributes", "shape", "chunks", "filters") if about.get(name)}
    if about.get("shape") == []:
        tuples["shape"] = ()
    dtype = None if about.get("dtype") is None else np.dtype(about["dtype"])
    return HDF5Node(**{**{name: value for name, value in about.items() if value is not None}, **tuples, "dtype": dtype})


def _end(process: "subprocess.Popen[bytes]") -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.kill()
    process.wait()
