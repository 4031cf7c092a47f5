"""What reaches the user's streams: everything, or, with --quiet, errors and what was asked for (JSON, an image's bytes)."""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import click

_VERBOSE = "nspike.verbose"


class _Hushed:
    """A stream whose text is dropped; bytes that are written to its `buffer` pass."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, heard: Any) -> None:
        self.heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self.heard, name)

    def write(self, text: str) -> int:
        """Drop it. Raises TypeError for bytes, as every text stream does."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        return len(text)

    def isatty(self) -> bool:
        """No: nobody looks at it."""
        return False


class _Printed:
    json = False


@contextmanager
def kept() -> Iterator[None]:
    """Within, --quiet may hold; after it the streams are what they were."""
    streams, _Printed.json = (sys.stdout, sys.stderr), False
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def print_asked(text: str) -> None:
    """Print to standard output what was asked for, --quiet or not."""
    click.echo(text, nl=False, file=_heard(sys.stdout))


def print_json(text: str) -> None:
    """Print the JSON that `--json -` asks for."""
    _Printed.json = True
    print_asked(text)


def printed_json() -> bool:
    """Whether `print_json` was called since `kept`."""
    return _Printed.json


def print_error(text: str) -> None:
    """Print an error that does not end the command to standard error, --quiet or not."""
    click.echo(text, file=_heard(sys.stderr))


def verbose() -> bool:
    """Whether --verbose was given to the command that runs."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_VERBOSE))


def words_options(taken: Collection[str] = ()) -> list[click.Option]:
    """-q and -v, which the group and every command have; without the names that are `taken` by others."""
    quiet, verbose_ = (
        [name for name in names if name not in taken] for names in (("-q", "--quiet"), ("-v", "--verbose"))
    )
    options = []
    if quiet:
        help_ = "Print errors alone, and the JSON that --json - asks for."
        options.append(_flag(quiet, "hushed", _hush, help_, eager=True))
    if verbose_:
        options.append(_flag(verbose_, "verbose", _speak, "Print more, such as the energy of a run."))
    return options


def _flag(names: list[str], name: str, callback: Any, help_: str, eager: bool = False) -> click.Option:
    return click.Option([*names, name], is_flag=True, is_eager=eager, expose_value=False, callback=callback, help=help_)


def _hush(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing and not isinstance(sys.stdout, _Hushed):
        hushed: Any = (_Hushed(sys.stdout), _Hushed(sys.stderr))
        sys.stdout, sys.stderr = hushed


def _speak(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.meta[_VERBOSE] = True


def _heard(stream: Any) -> Any:
    return stream.heard if isinstance(stream, _Hushed) else stream
