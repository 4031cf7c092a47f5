"""Progress on stderr, with the time that is left: on a terminal, or every step where NSPIKE_PROGRESS=1 asks for it, else a line
every 30 s.

The time left is measured from the first step's end on: the first loads and compiles what the others find ready.
"""

import os
import sys
import time
from types import TracebackType

import click

EVERY = 30.0
"""Seconds between two lines where no terminal shows them."""

_MEASURED = 1.0
"""Seconds of work after the first step from which the time left is told."""


class Progress:
    """A line that is written over again: `with Progress(total, "images") as progress: progress.advance()`.

    done : how many were done before, which cost no time now. `note` stands behind the count.
    """

    def __init__(self, total: int, label: str, *, done: int = 0) -> None:
        self._total, self._label = total, label
        self._done = self._first = done
        self.note = ""
        self._begun: float | None = None  # when the first step was done, after which `_first` were
        self._last = -1.0
        self._shown = sys.stderr.isatty() or os.environ.get("NSPIKE_PROGRESS", "") not in ("", "0")
        self._line = time.monotonic()

    def __enter__(self) -> "Progress":
        self._show(time.monotonic())
        return self

    def advance(self, count: int = 1) -> None:
        """Note that `count` more are done."""
        self._done += count
        now = time.monotonic()
        if self._begun is None and count > 0:
            self._begun, self._first = now, self._done
        if self._shown and (now - self._last >= 0.1 or self._done >= self._total):
            self._show(now)
        elif not self._shown and now - self._line >= EVERY and self._done < self._total:
            self._line = now
            self._write(now)

    def reach(self, done: int, total: int) -> None:
        """Note that `done` of `total` are done."""
        self._total = total
        self.advance(done - self._done)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K" if sys.stderr.isatty() else "\n")
            sys.stderr.flush()

    def _show(self, now: float) -> None:
        if not self._shown:
            return
        self._last = now
        self._write(now)

    def _write(self, now: float) -> None:
        left = ""
        if self._begun is not None and self._first < self._done < self._total and now - self._begun >= _MEASURED:
            pace = (now - self._begun) / (self._done - self._first)
            left = f", {duration(pace * (self._total - self._done))} left"
        line = f"{self._label}: {self._done}/{self._total}{self.note}{left}"
        sys.stderr.write(f"\r\033[K{line}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Seconds for people."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def about(seconds: float) -> str:
    """Seconds for people, of an estimate."""
    if seconds < 90:
        return f"{10 * max(round(seconds / 10), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def announce_compilation() -> None:
    """Say, if so, that the kernels are compiled now, once."""
    from nspike.kernels import compile_notice

    if notice := compile_notice():
        click.echo(notice, err=True)
