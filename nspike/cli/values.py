"""Values on the command line: numbers with a unit, such as `--memory 512M`, and NAME=VALUE."""

from collections.abc import Sequence
from typing import Any

import click

from nspike.runtime.amounts import amount


class Amount(click.ParamType):  # type: ignore[type-arg]  # not generic at run time in older click
    """A positive number with K, M or G for `base`, its square or cube; `plain` is what a number without one is times."""

    name = "amount"

    def __init__(self, base: int, plain: int = 1) -> None:
        self._base, self._plain = base, plain

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, whole."""
        if isinstance(value, int):
            return value
        number = amount(str(value), self._base, self._plain)
        if number is None:
            self.fail(f"{value!r} is not a positive number such as 512M", param, ctx)
        return number


BYTES = Amount(1024, plain=1024**2)
"""Bytes; a number without a unit is in MiB."""

COUNT = Amount(1000)
"""A count, such as of pixels."""


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE texts as a dictionary. Raises UsageError."""
    from nspike.errors import UsageError

    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"{text!r}: expected NAME=VALUE")
        values[name] = value
    return values


def numbers(texts: Sequence[str]) -> dict[str, float]:
    """NAME=NUMBER texts as a dictionary. Raises UsageError."""
    from nspike.errors import UsageError

    values = pairs(texts)
    try:
        return {name: float(value) for name, value in values.items()}
    except ValueError as error:
        raise UsageError(f"a parameter is a number: {error}") from error
