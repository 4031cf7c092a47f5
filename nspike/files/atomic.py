"""Files that are there complete or not at all: written beside their target, then renamed."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from nspike.errors import OutputError


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
    try:
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".nspike-{secrets.token_hex(8)}.tmp")
        if target.exists() and not target.is_file():
            raise OutputError(f"cannot write {path}: it is not a regular file")
        temporary.open("xb").close()
    except FileNotFoundError as error:
        raise OutputError(f"cannot write {path}: the folder {Path(path).parent} does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _write(target: Path, data: bytes, fsync: bool) -> None:
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(target).st_mode
        if stat.S_ISDIR(mode):
            raise OutputError(f"cannot write {target}: it is a folder")
        if not stat.S_ISREG(mode):
            with open(target, "wb") as stream:
                stream.write(data)
            return
    temporary = target.with_name(f".nspike-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            if fsync:
                os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:  # an interrupt too must leave nothing behind
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
