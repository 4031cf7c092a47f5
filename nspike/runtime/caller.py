"""Who called: a command, whose options errors then name, or Python, whose arguments they name.

An error that says what to do about it asks `way` or `either` how to say so. The command line tells which options its command has.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_options: frozenset[str] | None = None
"""The options of the command that runs; None where none does."""
_lacking: frozenset[str] = frozenset()
"""The arguments that the Python function lacks that runs."""


def way(option: str, argument: str, otherwise: str = "") -> str:
    """How to say something: `option`, such as "--memory 64M", to a command that has it; else `otherwise`.

    From Python `argument`, such as 'memory="64M"', unless the function that runs is `without` it.
    """
    if _options is None:
        return otherwise if argument.partition("=")[0] in _lacking else argument
    return option if option.split()[0] in _options else otherwise


def either(shell: str, python: str) -> str:
    """`shell` if a command runs, any one; from Python `python`."""
    return python if _options is None else shell


@contextmanager
def command_line() -> Iterator[None]:
    """Within, the command line calls."""
    global _options
    before, _options = _options, frozenset()
    try:
        yield
    finally:
        _options = before


@contextmanager
def without(*arguments: str) -> Iterator[None]:
    """Within, a Python function runs that lacks these arguments, which those that it calls have."""
    global _lacking
    before, _lacking = _lacking, _lacking | set(arguments)
    try:
        yield
    finally:
        _lacking = before


def offer(options: Iterable[str]) -> None:
    """Say which options the command has that is about to run."""
    global _options
    if _options is not None:
        _options = frozenset(options)
