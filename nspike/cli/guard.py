"""Whether a command may write a file: none that it reads, none that is there already, none that another run is writing.

Reports alone (--json, --report) replace what is there, if that is a report too.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from nspike.errors import OutputError, UsageError
from nspike.files.atomic import check_folder, check_writable, same_file

_REPORT = re.compile(rb'\{\n +("nspike": "\d|"format": "nspike certificate")')
"""How the reports that commands write with --json begin, and certificates."""
_PAGE = b"<!doctype html>\n"
_HEAD = 1 << 16
_PLUGIN_FILE = re.compile(r"(.*\.py)(:.*)?", re.DOTALL)
"""What --plugin may name a file by: path/to/file.py, or with :NAME or :KIND:NAME behind."""


def keep_apart(
    option: str, written: str | os.PathLike[str] | None, read: Iterable[str | os.PathLike[str] | None]
) -> None:
    """Raise UsageError if `option` names a file to write that is one of those to read, by this name or another.

    Parameters
    ----------
    written : the file's name; None where it is not given, "-" for standard output.
    read : files, values of --plugin, names of shipped models; None where one is not given.
    """
    if written is None or os.fspath(written) == "-":
        return
    for path in read:
        if path is not None and same_file(os.fspath(written), _PLUGIN_FILE.sub(r"\1", os.fspath(path))):
            raise UsageError(f"{option} {written} would replace an input; give another name")


def check_report(
    option: str,
    written: str | None,
    read: Iterable[str | os.PathLike[str] | None] = (),
    made: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Whether `option` (--json or --report) can and may write its file: one that is not there, or is an earlier report.

    made : folders that the command makes, where the report may be.

    Raises UsageError where it is one of those to read, as `keep_apart` does, ExistsError where it is any other file, and
    OutputError where it cannot be written. A device or a pipe, and an empty file, may be written to.
    """
    keep_apart(option, written, read)
    if written is None or written == "-":
        return
    if os.path.isfile(written) and os.path.getsize(written) > 0:
        with open(written, "rb") as stream:
            head = stream.read(_HEAD)
        if not (_is_page(head) if option == "--report" else _REPORT.match(head)):
            from nspike.restoration.batch import ExistsError

            raise ExistsError(
                f"{written}: it exists already and is no report of nspike's; {option} replaces only such. Give another name, or "
                "remove it"
            )
    check_writable(written, made)


def _is_page(head: bytes) -> bool:
    """Whether a file that begins so is a page of `nspike audit --report`."""
    return head.startswith(_PAGE) and b": every spike</title>" in head


def check_free(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Raise ExistsError where something is there that may not be replaced."""
    if os.path.lexists(path) and not overwrite and not os.path.isdir(path):  # a folder never is replaced
        from nspike.restoration.batch import ExistsError

        raise ExistsError(f"{path}: it exists already; --overwrite replaces it")


def take(path: str | os.PathLike[str], made: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Keep other runs from writing the file `path` until this command ends.

    Raises OutputError if one is doing so, or it cannot be written; `made` as for `check_writable`.
    """
    check_writable(path, made)
    click.get_current_context().with_resource(taken(path))


def take_folder(path: str | os.PathLike[str]) -> None:
    """The same for a folder, which may have to be made."""
    check_folder(Path(path))
    click.get_current_context().with_resource(taken(path))


@contextlib.contextmanager
def taken(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within, no other run takes `path`, a file or a folder; a lock of a process that was killed is gone with it.

    Raises OutputError if another run has taken it. Where the system has no such locks, nothing is kept from anybody.
    """
    descriptor = None
    lock = _lock_of(path)
    with contextlib.suppress(ImportError, PermissionError, FileNotFoundError, NotADirectoryError, FileExistsError):
        import fcntl

        lock.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise OutputError(f"{path}: another run is writing it; wait until it ends, or give another -o") from None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock_of(path: str | os.PathLike[str]) -> Path:
    """The lock's file. It stays: it is empty, and one that is removed could be locked twice."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return Path(tempfile.gettempdir()) / f"nspike-locks-{user}" / name
