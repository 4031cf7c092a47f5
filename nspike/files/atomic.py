"""Files that are complete or absent: written beside their target, then renamed."""

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from nspike.errors import OutputError

_TEMPORARY = re.compile(r"\.nspike-[0-9a-f]{16}\.tmp")
_OLD = 60.0
"""Seconds after which a temporary file that no process holds is what a killed one left."""
_swept: set[Path] = set()
_tried: set[Path] = set()
"""The folders in which this process has made a file, to see whether it can."""


def write_bytes(path: str | os.PathLike[str], data: bytes, *, fsync: bool = False) -> None:
    """Write `data` to `path` so that no reader, and no crash, ever meets half of it.

    A symbolic link is followed; a device or a pipe is written to directly. `fsync` waits until the disk has the data,
    which only a power cut can make worth its time.

    Raises
    ------
    OutputError
        with the system's reason (no space, read-only, missing folder); nothing is left behind.
    """
    try:
        _write(Path(os.path.realpath(path)), data, fsync)
    except FileNotFoundError as error:
        raise OutputError(f"cannot write {path}: the folder {Path(path).parent} does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The name of a file to write, beside `path`: it takes its place when all went well, else it is removed.

    Raises OutputError where no such file could be made, and for what the system refuses.
    """
    with contextlib.ExitStack() as opened:
        try:
            target = Path(os.path.realpath(path))
            if target.exists() and not target.is_file():
                raise OutputError(f"cannot write {path}: it is not a regular file")
            temporary = _temporary(target)
            opened.callback(_remove, temporary)
            opened.enter_context(_opened(temporary))
        except FileNotFoundError as error:
            raise OutputError(f"cannot write {path}: the folder {Path(path).parent} does not exist") from error
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
        try:
            yield temporary
            os.replace(temporary, target)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def same_file(a: str, b: str) -> bool:
    """Whether two names are of one file: by links of any kind, or the same name of none that is there yet."""
    with contextlib.suppress(OSError, ValueError):
        return os.path.samefile(a, b)
    with contextlib.suppress(OSError, ValueError):  # a working folder that has been deleted; a null character
        return os.path.realpath(a) == os.path.realpath(b)
    return a == b


def check_writable(path: str | os.PathLike[str], made: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Raise OutputError where `write_bytes` would: before the work that its content takes.

    made : folders that are made before it is written, with those above them.
    """
    target = Path(path)
    if os.path.islink(target):  # which is followed; unlike Path.is_symlink, this takes names that are too long
        target = Path(os.path.realpath(path))
    try:
        mode = os.stat(target).st_mode
    except (FileNotFoundError, NotADirectoryError):
        folder, folders = Path(os.path.abspath(target.parent)), [Path(os.path.abspath(each)) for each in made]
        if not os.path.lexists(folder) and not any(folder in (each, *each.parents) for each in folders):
            raise OutputError(f"cannot write {path}: the folder {target.parent} does not exist") from None
        check_folder(target.parent)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    else:
        if stat.S_ISDIR(mode):
            raise OutputError(f"cannot write {path}: it is a folder")
        if stat.S_ISREG(mode):
            check_folder(target.parent)


def check_folder(folder: Path) -> None:
    """Raise OutputError where no file can be made in a folder, or, if it is not there, in the next one above that is.

    A folder in which one could be made is not tried again.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        what = "is a file, not a folder" if nearest.exists() else "is a link to what is not there"
        raise OutputError(f"cannot write into {folder}: {nearest} {what}")
    if nearest.absolute() in _tried:
        return
    temporary = _temporary(nearest / "trial")
    try:
        _opened(temporary).close()
        _tried.add(nearest.absolute())
    except OSError as error:
        # /proc says that files are not there
        reason = "" if isinstance(error, FileNotFoundError) else f": {error.strerror or error}"
        raise OutputError(f"cannot write into {folder}: no file can be made in {nearest}{reason}") from error
    finally:
        _remove(temporary)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder: old ones that no process holds open."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [entry.path for entry in entries if _TEMPORARY.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError):
                if time.time() - os.stat(name, follow_symlinks=False).st_mtime < _OLD:
                    continue
                with open(name, "rb") as stream:
                    if _hold(stream):
                        os.unlink(name)


def _temporary(target: Path) -> Path:
    """The name of a new file beside `target`: known before there is such a file, so that an interrupt can leave none."""
    if target.parent not in _swept:
        _swept.add(target.parent)
        sweep(target.parent)
    return target.with_name(f".nspike-{secrets.token_hex(8)}.tmp")


def _opened(temporary: Path) -> BinaryIO:
    """Make the file, which is in use as long as the stream is open."""
    stream = open(temporary, "xb")  # noqa: SIM115
    _hold(stream)
    return stream


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink()


def _hold(stream: BinaryIO) -> bool:
    """Mark a file as in use until it is closed or the process ends; false where another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to remove files in use
        return True
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _write(target: Path, data: bytes, fsync: bool) -> None:
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(target).st_mode
        if stat.S_ISDIR(mode):
            raise OutputError(f"cannot write {target}: it is a folder")
        if not stat.S_ISREG(mode):
            with open(target, "wb") as stream:
                stream.write(data)
            return
    temporary = _temporary(target)
    try:
        with _opened(temporary) as stream:
            stream.write(data)
            stream.flush()
            if fsync:
                os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:  # an interrupt too must leave nothing behind
        _remove(temporary)
        raise
