"""The arguments of Python's callers, checked for what they are, so that an error names the argument.

None stands for an argument that is not given, and passes.
"""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from nspike.errors import UsageError


def whole(least: int | None = None, /, **arguments: Any) -> None:
    """Raise UsageError for an argument that is no whole number, or below `least`."""
    for name, value in arguments.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise UsageError(f"{name} = {value!r}; expected a whole number")
        if value is not None and least is not None and value < least:
            raise UsageError(f"{name} = {value} is out of range; expected at least {least}")


def numbers(**arguments: Any) -> None:
    """Raise UsageError for an argument that is no number."""
    for name, value in arguments.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise UsageError(f"{name} = {value!r}; expected a number")


def mappings(**arguments: Any) -> None:
    """Raise UsageError for an argument that is no mapping, such as a dictionary."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Mapping):
            raise UsageError(f"{name} = {value!r}; expected names and values, as in a dictionary")


def names(**arguments: Any) -> None:
    """Raise UsageError for an argument that is no sequence of names, such as one name alone."""
    for name, value in arguments.items():
        if value is not None and not (
            isinstance(value, list | tuple | set | frozenset) and all(isinstance(each, str) for each in value)
        ):
            raise UsageError(f"{name} = {value!r}; expected a list of names")
