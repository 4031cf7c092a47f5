"""Ctrl-C, also where a library swallows it.

A compiler that is interrupted in one of its callbacks drops KeyboardInterrupt and fails with an error of its own later; so it
is noted that the signal came.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_received = threading.Event()


@contextmanager
def noted() -> Iterator[None]:
    """Note Ctrl-C within, where Python's own handler is in place; it raises KeyboardInterrupt as ever."""
    _received.clear()
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error, which a library may have turned into one of its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return _received.is_set()


def _note(number: int, frame: FrameType | None) -> None:
    _received.set()
    signal.default_int_handler(number, frame)
