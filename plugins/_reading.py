"""The one place where a failure to read a file becomes an error for people, shared by the format plugins."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nspike import BadInputError


class Refused(Exception):
    """Why a file is not read: what was wrong, what was expected, what to do. `reading` adds the file's name."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn every exception from reading `path` into BadInputError: a hostile file can make a library raise anything."""
    try:
        yield
    except BadInputError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise BadInputError(f"{path}: {error}") from error
    except Refused as refused:
        raise BadInputError(f"{path}: {refused}") from refused
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise BadInputError(
            f"{path}: damaged, or not {kind} ({type(error).__name__}: {detail}); fetch or export it again"
        ) from error
