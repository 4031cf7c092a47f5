"""Signals held back while a library must not be interrupted.

HDF5 calls Python back to write a file. Where a signal's handler raises in such a call, as Ctrl-C does, the library takes it for
a failed write, keeps the file open, and crashes when the process ends.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NAMES = ("INT", "TERM", "HUP", "QUIT", "BREAK", "ALRM", "VTALRM", "PROF", "USR1", "USR2", "CHLD", "CONT", "WINCH")
_NUMBERS = tuple(int(getattr(signal, f"SIG{name}")) for name in _NAMES if hasattr(signal, f"SIG{name}"))
"""Those for which programs set handlers."""


@contextmanager
def held() -> Iterator[None]:
    """Within, no handler of a signal runs; those of the signals that came run at the end.

    Nothing is done outside the main thread, in which alone Python runs handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {
        number: handler for number in _NUMBERS if callable(handler := signal.getsignal(number))
    }
    came: list[tuple[int, FrameType | None]] = []
    holding = True

    def note(number: int, frame: FrameType | None) -> None:
        if holding:
            came.append((number, frame))
        else:
            handlers[number](number, frame)

    try:
        for number in handlers:
            signal.signal(number, note)
        yield
    finally:
        holding = False  # first: a handler that raises from here on leaves others as they are, and they work
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came:
            handlers[number](number, frame)
