"""What the commands share: the options that several have, and the output of reports."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from nspike.cli.text import printable

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """The option `--json FILE`, handed to the command as `json_file`."""
    return click.option(
        "--json", "json_file", metavar="FILE", help="Write the report as JSON; - for standard output, instead of text."
    )(function)


def plugin_option(kinds: str) -> Callable[[F], F]:
    """The option `--plugin NAME`, repeatable, handed to the command as `plugins`; `kinds` says of which kinds."""
    return click.option(
        "--plugin",
        "plugins",
        metavar="NAME",
        multiple=True,
        help=f"Use this plugin ({kinds}): NAME, KIND:NAME or path/to/file.py. May be repeated.",
    )


def emit(text: str, report: Mapping[str, Any], json_file: str | None) -> None:
    """Print `text`, and write `report` as JSON where asked; with `-`, the JSON is all that is printed.

    Raises OutputError if the file cannot be written.
    """
    if json_file == "-":
        click.echo(to_json(report), nl=False)
        return
    if json_file is not None:
        from nspike.atomic import write_bytes

        write_bytes(json_file, to_json(report).encode())
    click.echo(printable(text))


def to_json(report: Mapping[str, Any]) -> str:
    """`report` as JSON; a number that is not finite becomes null, paths become text."""
    return json.dumps(_plain(report), indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
