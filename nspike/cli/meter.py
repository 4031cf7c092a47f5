"""Progress through networks that say themselves how far they are, over one image or many."""

from collections.abc import Callable
from types import TracebackType

from nspike.cli.progress import Progress

_PARTS = 100


class Meter:
    """Percent of all images on stderr: `with Meter(len(jobs)) as meter: restore(..., progress=meter.image(i))`."""

    def __init__(self, images: int) -> None:
        self._images, self._done = images, 0
        self._line = Progress(_PARTS, "percent" if images == 1 else f"percent of {images} images")

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

    def image(self, index: int) -> Callable[[int, int], None]:
        """What image `index` is to report (done, total) to."""

        def report(done: int, total: int) -> None:
            share = (index + done / max(total, 1)) / self._images
            whole = int(_PARTS * share)
            self._line.advance(max(whole - self._done, 0))
            self._done = max(whole, self._done)

        return report
