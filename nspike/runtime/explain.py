"""An exception of a plugin's in one line: its class, its message, and the line of the plugin's code that raised it."""

import re
import traceback
from pathlib import Path

_HOME = Path(__file__).parents[1]
_COMPILER_NOISE = ("Failed in nopython", "During:", "No implementation", "There are", "No match")
_LONGEST = 300


def explain(error: BaseException) -> str:
    """An exception as one line of text."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} ({Path(error.filename or '?').name}, line {error.lineno})"
    if type(error).__module__.startswith("numba."):
        return f"{kind}: {_compiler_message(message_of(error))}{_compiler_place(message_of(error))}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _ours(frame.filename)]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{kind}: {' '.join(message_of(error).split())}{place}"


def message_of(error: BaseException) -> str:
    """The message of an exception, whose own code may fail when it is asked for it."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as another:
        return f"its message cannot be shown ({type(another).__name__})"


def changes_its_input(error: BaseException) -> bool:
    """Whether the exception reports a write to a read-only array."""
    return "Cannot modify readonly array" in message_of(error) or "assignment destination is read-only" in message_of(
        error
    )


def _compiler_message(text: str) -> str:
    """The line of a Numba error that states the cause; the rest lists what Numba tried."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"(NameError|Numba\w+Error|Unknown attribute|Cannot )", line)]
    rest = [line for line in lines if not line.startswith(_COMPILER_NOISE)]
    message = next(iter(named or rest or lines), "no message")
    return message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "..."


def _compiler_place(text: str) -> str:
    frames = re.findall(r'^File "(.+?)", line (\d+):$', text, flags=re.M)
    return f" ({Path(frames[-1][0]).name}, line {frames[-1][1]})" if frames else ""


def _ours(filename: str) -> bool:
    """Whether a frame belongs to nspike, to the loading of plugins or to the compiler, and not to the plugin."""
    parents = Path(filename).parents
    return "importlib" in filename or _HOME in parents or any(p.name in ("pluggy", "numba") for p in parents)
