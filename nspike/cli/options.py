"""The options that several commands have. A group of options reaches its command as one value."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from nspike.cli.guard import taken
from nspike.cli.values import BYTES, COUNT, numbers
from nspike.contracts.tasks import TASKS, Task

F = TypeVar("F", bound=Callable[..., Any])


def take_file(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Of an option that names a file to write: keep other runs from it. A device may be written by several."""
    usual = value is not None and value != "-" and (os.path.isfile(value) or not os.path.lexists(value))
    if value is not None and usual and not context.resilient_parsing:
        context.with_resource(taken(value))
    return value


json_option = click.option(
    "--json",
    "json_file",
    metavar="FILE",
    callback=take_file,
    help="Write the report as JSON; - for standard output, instead of text.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
model_option = click.option("--model", metavar="NAME|FILE", help="A bundled model's name, or a model file.")
timesteps_option = click.option(
    "-T", "--timesteps", type=int, metavar="N", help="The number of time steps, if not the model's."
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="How many threads to use. [all processors]"
)
memory_option = click.option(
    "--memory",
    type=BYTES,
    default="192M",
    show_default=True,
    metavar="SIZE",
    help="How much memory to work with: 64M, 1G; a number alone is in MiB.",
)


inexact_option = click.option(
    "--inexact", is_flag=True, help="Run a neuron that computes with floats, too; no certificate."
)
set_option = click.option(
    "--set",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set a parameter of the neuron, in every layer, or of the head. May be repeated.",
)


def plugin_option(kinds: str) -> Callable[[F], F]:
    """The option `--plugin NAME`, repeatable, handed to the command as `plugins`; `kinds` says of which kinds."""
    return click.option(
        "--plugin",
        "plugins",
        metavar="NAME",
        multiple=True,
        help=f"Use this plugin ({kinds}): NAME, KIND:NAME or path/to/file.py. May be repeated.",
    )


def task_option(text: str) -> Callable[[F], F]:
    """The option `--task`, one of all the tasks there are."""
    return click.option("--task", type=click.Choice(TASKS), help=text)


def undone_options(sigma: str, scale: str) -> Callable[[F], F]:
    """The options `--sigma` and `--scale` of what a network undoes, with these helps: `sigmas` and `scales`, for `undone`."""

    def decorate(function: F) -> F:
        for option in (
            click.option("--scale", "scales", type=click.IntRange(2, 16), metavar="N", multiple=True, help=scale),
            click.option("--sigma", "sigmas", type=click.FloatRange(0, 255), metavar="S", multiple=True, help=sigma),
        ):
            function = option(function)
        return function

    return decorate


def undone(sigmas: tuple[float, ...], scales: tuple[int, ...]) -> dict[str, Any]:
    """The number `sigma` or `scales` of a degradation; empty where neither was given. Raises UsageError."""
    from nspike.errors import UsageError

    if any(math.isnan(sigma) for sigma in sigmas) or len(sigmas) > 2 or (len(sigmas) == 2 and sigmas[0] >= sigmas[1]):
        given = ", ".join(f"{sigma:g}" for sigma in sigmas)
        raise UsageError(f"--sigma is a number from 0 to 255, or given twice a range, the lower one first; not {given}")
    if sigmas and scales:
        raise UsageError("--sigma is for denoising and --scale for super-resolution: give one of them")
    numbers: dict[str, Any] = {"sigma": sigmas[0] if len(sigmas) == 1 else list(sigmas)} if sigmas else {}
    return numbers | ({"scales": sorted(set(scales))} if scales else {})


@dataclass(frozen=True)
class Machine:
    """How a command may use the machine; none of it changes a result."""

    threads: int | None
    tile: int | None
    memory: int
    max_pixels: int

    def arguments(self) -> dict[str, Any]:
        """Threads, tile and memory, as `nspike.restore` and its like take them."""
        return {"threads": self.threads, "tile": self.tile, "memory": self.memory}


@dataclass(frozen=True)
class Wanted:
    """The model that a user asks for, and the parts to replace; None where nothing was said."""

    task: Task | None
    sigma: float | None
    scale: int | None
    model: str | None
    plugins: tuple[str, ...]
    timesteps: int | None
    pairs: tuple[str, ...] = ()

    def request(self) -> dict[str, Any]:
        """What `nspike.restoration.choice.Request` takes, but for neuron and head."""
        given = {name: getattr(self, name) for name in ("model", "task", "sigma", "scale", "timesteps")}
        return given | {"parameters": numbers(self.pairs)}

    def given(self) -> dict[str, Any]:
        """Option -> value, None or empty where it was not given."""
        return {
            "--task": self.task,
            "--sigma": self.sigma,
            "--scale": self.scale,
            "--model": self.model,
            "--plugin": self.plugins,
            "-T": self.timesteps,
            "--set": self.pairs,
        }


def machine_options(function: F) -> F:
    """The options that change no result; the command gets `machine`, a `Machine`."""
    return _grouped(
        "machine",
        Machine,
        threads_option,
        click.option(
            "--tile", type=click.IntRange(min=1), metavar="N", help="Side of a tile, a multiple of 64. [by --memory]"
        ),
        memory_option,
        click.option(
            "--max-pixels",
            type=COUNT,
            default="256M",
            show_default=True,
            metavar="N",
            help="Refuse images of more pixels.",
        ),
    )(function)


def choice_options(kinds: str = "neuron or head") -> Callable[[F], F]:
    """The options that choose a model and replace its parts; the command gets `wanted`, a `Wanted`."""
    return _grouped(
        "wanted",
        Wanted,
        task_option("Choose the model by its task."),
        click.option("--sigma", type=float, metavar="S", help="The noise, of 255; estimated if not given (denoise)."),
        click.option("--scale", type=int, metavar="N", help="How many times larger (superres)."),
        model_option,
        plugin_option(f"{kinds}; replaces the model's part"),
        timesteps_option,
        set_option,
    )


def _grouped(name: str, kind: type, *options: Callable[[Any], Any]) -> Callable[[F], F]:
    """A decorator for commands: adds `options`, in this order in --help, and hands their values on as one, `name`."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def grouped(**values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in dataclasses.fields(kind)}
            return function(**values, **{name: kind(**own)})

        command: Any = grouped
        for option in reversed(options):
            command = option(command)
        return command  # type: ignore[no-any-return]

    return decorate
