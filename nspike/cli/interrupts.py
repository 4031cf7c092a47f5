"""Signals that end a command: Ctrl-C, also where a library swallows it, and SIGTERM and SIGHUP, so that it can clean up.

A compiler that is interrupted in one of its callbacks drops KeyboardInterrupt and fails with an error of its own later; so it
is noted that the signal came. Where Python itself drops the exception (in a weak reference's callback, in `__del__`), the
signal is sent again a moment later, until it arrives.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_AGAIN = 0.02
"""Seconds after which a signal whose exception was dropped is sent again."""

_received = threading.Event()
_ending = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def noted() -> Iterator[None]:
    """Within, note Ctrl-C, which raises KeyboardInterrupt as ever; SIGTERM and SIGHUP raise SystemExit with 128 + number.

    Handlers that others have set are left alone.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own: dict[int, tuple[Any, Any]] = {signal.SIGINT: (signal.default_int_handler, _note)}
    own |= {signal.Signals[name]: (signal.SIG_DFL, _end) for name in _ending}
    set_here = {number: old for number, (old, new) in own.items() if signal.getsignal(number) is old}
    for number in set_here:
        signal.signal(number, own[number][1])
    before = sys.unraisablehook
    timers: list[threading.Timer] = []

    def hook(dropped: Any) -> None:
        number = _number(dropped.exc_value)
        if number not in set_here:
            before(dropped)
            return
        timers.append(threading.Timer(_AGAIN, signal.raise_signal, [number]))
        timers[-1].daemon = True
        timers[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()
        for number, old in set_here.items():
            signal.signal(number, old)


def was_interrupted(error: BaseException | None = None) -> bool:
    """Whether Ctrl-C came, or is behind an error, which a library may have turned into one of its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return _received.is_set()


class Ended(SystemExit):
    """SIGTERM or SIGHUP came; `code` is the exit code, 128 and the signal's number."""


def _number(error: BaseException | None) -> int | None:
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    return int(error.code) - 128 if isinstance(error, Ended) and isinstance(error.code, int) else None


def _note(number: int, frame: FrameType | None) -> None:
    _received.set()
    signal.default_int_handler(number, frame)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(128 + number)
