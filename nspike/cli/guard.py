"""Whether a file that a command is to write may be written: none that it reads, none that is there already."""

import os
from collections.abc import Iterable


def keep_apart(option: str, written: str | None, read: Iterable[str | os.PathLike[str] | None]) -> None:
    """Raise UsageError if `option` names a file to write that is one of those to read (None: not given)."""
    if written in (None, "-"):
        return
    names = {os.path.realpath(path) for path in read if path is not None}
    if os.path.realpath(str(written)) in names:
        from nspike.errors import UsageError

        raise UsageError(f"{option} {written} would replace an input; give another name")


def check_free(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Raise ExistsError where something is there that may not be replaced."""
    if os.path.lexists(path) and not overwrite:
        from nspike.restoration.batch import ExistsError

        raise ExistsError(f"{path}: it exists already; --overwrite replaces it")
