"""Progress through networks that say themselves how far they are, over one picture or many."""

from collections.abc import Callable
from types import TracebackType

from nspike.cli.progress import Progress

_PARTS = 100


class Meter:
    """Percent of all pictures on stderr: `with Meter(len(jobs)) as meter: restore(..., progress=meter.picture(i))`."""

    def __init__(self, pictures: int) -> None:
        self._pictures, self._done = pictures, 0
        self._line = Progress(_PARTS, "percent" if pictures == 1 else f"percent of {pictures} pictures")

    def __enter__(self) -> "Meter":
        self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.__exit__(kind, error, trace)

    def clear(self) -> None:
        """Take the line away, so that something else can be printed; it comes again with the next progress."""
        self._line.__exit__(None, None, None)

    def picture(self, index: int) -> Callable[[int, int], None]:
        """What picture `index` is to report (done, total) to."""

        def report(done: int, total: int) -> None:
            share = (index + done / max(total, 1)) / self._pictures
            whole = int(_PARTS * share)
            if whole > self._done:
                self._line.advance(whole - self._done)
                self._done = whole

        return report
