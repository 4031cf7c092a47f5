"""What the commands share: the options that several have, and the output of reports."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from nspike.cli.sizes import BYTES, COUNT
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


def choice_options(function: F, kinds: str = "neuron, head or energy model") -> F:
    """The options that choose a model and replace its parts: task, sigma, scale, model, plugins, timesteps."""
    options = (
        click.option(
            "--task", type=click.Choice(["denoise", "dehaze", "superres"]), help="Choose the model by its task."
        ),
        click.option("--sigma", type=float, metavar="S", help="The noise, of 255; estimated if not given (denoise)."),
        click.option("--scale", type=int, metavar="N", help="How many times larger (superres)."),
        click.option("--model", metavar="NAME|FILE", help="A bundled model's name, or a model file."),
        plugin_option(f"{kinds}; replaces the model's part"),
        click.option("-T", "--timesteps", type=int, metavar="N", help="Steps, if not the model's."),
    )
    return _stacked(function, options)


def spiking_options(function: F) -> F:
    """As `choice_options`, for commands that print no energy."""
    return choice_options(function, "neuron or head")


def overwrite_option(function: F) -> F:
    """The option `--overwrite`; `check_free` heeds it."""
    return click.option("--overwrite", is_flag=True, help="Replace what is there already.")(function)


def check_free(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Raise ExistsError where something is there that may not be replaced."""
    if os.path.lexists(path) and not overwrite:
        from nspike.restoration.batch import ExistsError

        raise ExistsError(f"{path}: it exists already; --overwrite replaces it")


def machine_options(function: F) -> F:
    """The options that change no result: threads, tile, memory, max_pixels."""
    options = (
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[all]"),
        click.option(
            "--tile", type=click.IntRange(min=1), metavar="N", help="Side of a tile, a multiple of 64. [by --memory]"
        ),
        click.option("--memory", type=BYTES, default="256M", show_default=True, metavar="SIZE", help="Working memory."),
        click.option(
            "--max-pixels", type=COUNT, default="256M", show_default=True, metavar="N", help="Refuse larger ones."
        ),
    )
    return _stacked(function, options)


def inexact_option(function: F) -> F:
    """The option `--inexact`, for neurons that compute with floats."""
    return click.option("--inexact", is_flag=True, help="Run a neuron that computes with floats, too; no certificate.")(
        function
    )


def _stacked(function: F, options: Sequence[Callable[[F], F]]) -> F:
    """`function` with options in the order in which `--help` shall list them."""
    for option in reversed(options):
        function = option(function)
    return function


def keep_apart(option: str, written: str | None, read: Iterable[str | os.PathLike[str] | None]) -> None:
    """Raise UsageError if `option` names a file to write that is one of those to read (None: not given)."""
    if written in (None, "-"):
        return
    names = {os.path.realpath(path) for path in read if path is not None}
    if os.path.realpath(str(written)) in names:
        from nspike.errors import UsageError

        raise UsageError(f"{option} {written} would replace an input; give another name")


def emit(text: str, report: Mapping[str, Any], json_file: str | None) -> None:
    """Print `text`, and write `report` as JSON where asked; with `-`, the JSON is all that is printed.

    Raises OutputError if the file cannot be written.
    """
    if json_file == "-":
        click.echo(to_json(report), nl=False)
        return
    if json_file is not None:
        from nspike.files.atomic import write_bytes

        write_bytes(json_file, to_json(report).encode())
    click.echo(printable(text))


def to_json(report: Mapping[str, Any]) -> str:
    """`report` as JSON; a number that is not finite becomes null, paths become text."""
    text = json.dumps(_plain(report), indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace").decode()  # names that are not UTF-8


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
