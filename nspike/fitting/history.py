"""The history of a run as JSON lines: one for each step and each validation, on the disk as soon as it is known."""

import dataclasses
import json
import math
import os
from collections.abc import Iterable
from io import BufferedWriter
from types import TracebackType
from typing import Any

from nspike.errors import OutputError
from nspike.files.atomic import write_bytes


class HistoryFile:
    """A file that is begun with the lines that are known, and takes more: `with HistoryFile(path, known) as history:`.

    What an earlier process wrote beyond them, because it was killed after it last saved its state, is taken away.
    """

    def __init__(self, path: str | os.PathLike[str], known: Iterable[Any]) -> None:
        self.path = path
        write_bytes(path, b"".join(_line(entry) for entry in known))
        self._stream: BufferedWriter | None = None

    def __enter__(self) -> "HistoryFile":
        try:
            self._stream = open(self.path, "ab")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        return self

    def add(self, entry: Any) -> None:
        """Add the line of a dataclass. Raises OutputError."""
        assert self._stream is not None
        try:
            self._stream.write(_line(entry))
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            try:
                self._stream.close()
            except OSError as failed:
                if error is None:
                    raise OutputError(f"cannot write {self.path}: {failed.strerror}") from failed


def _line(entry: Any) -> bytes:
    """{"what": "record", "step": 1, ...}; a number that is not finite becomes null."""
    values = {"what": type(entry).__name__.lower(), **dataclasses.asdict(entry)}
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return (json.dumps(plain) + "\n").encode()
