"""`nspike compare`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from nspike.cli.guard import check_report, take_folder
from nspike.cli.options import inexact_option, json_option, memory_option, plugin_option, threads_option
from nspike.cli.output import emit, to_json
from nspike.cli.parts import energy_models, resolve
from nspike.cli.progress import Progress, announce_compilation
from nspike.cli.streams import print_error
from nspike.cli.text import one_line, table
from nspike.cli.values import pairs
from nspike.runtime.words import counted

if TYPE_CHECKING:
    from nspike.comparing.comparison import Comparison


@click.command()
@click.option(
    "--network",
    metavar="NAME|FILE",
    help="The plain network that methods are applied to: a bundled model's, or a file's.",
)
@click.option("--methods", metavar="NAMES", help="The methods, separated by commas; `nspike plugins --kind method`.")
@click.option(
    "--timesteps",
    multiple=True,
    metavar="[LABEL=]NUMBERS",
    help="T, separated by commas: of all, or of one method or model. May be repeated. [each method's own]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="LABEL=FILE",
    help="A model that is there already: of a method, or under a label of its own. May be repeated.",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="METHOD=FILE",
    help="The recipe that trains a method. May be repeated.",
)
@click.option("--data", required=True, metavar="FOLDER", help="The images: clean ones, or hazy/ and GT/ for rgb.")
@click.option(
    "--protocol", metavar="NAME", help="The protocol: gray, y-crop or rgb. [by the network: grey, luma or RGB]"
)
@click.option(
    "--sigma", type=float, metavar="S", help="The noise, of 255 (gray, rgb). [what the network was trained for]"
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed of the noise and the crops."
)
@click.option("--scale", type=int, metavar="N", help="How many times larger (y-crop). [the network's smallest]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Measure only the first N images.")
@click.option(
    "--calibrate",
    "calibration",
    metavar="FOLDER",
    help="Images to calibrate conversions on. [those that come with nspike]",
)
@click.option("--crops", type=int, default=64, show_default=True, metavar="N", help="How many crops of them.")
@click.option("--crop-size", type=int, default=64, show_default=True, metavar="N", help="The side of a crop in pixels.")
@click.option("--lpips", metavar="FILE", help="AlexNet's weights: measure LPIPS too, with nspike[lpips].")
@plugin_option("method or energy model")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder of the table, where it is resumed.")
@inexact_option
@threads_option
@memory_option
@json_option
def command(
    network: str | None,
    methods: str | None,
    timesteps: tuple[str, ...],
    models: tuple[str, ...],
    recipes: tuple[str, ...],
    data: str,
    protocol: str | None,
    sigma: float | None,
    seed: int,
    scale: int | None,
    limit: int | None,
    calibration: str | None,
    crops: int,
    crop_size: int,
    lpips: str | None,
    plugins: tuple[str, ...],
    output: str,
    inexact: bool,
    threads: int | None,
    memory: int,
    json_file: str | None,
) -> None:
    """Measure methods side by side under one protocol.

    Each method is applied to the plain network and measured at each T. A method that is trained takes a model, --model, or a
    recipe, --recipe. Rows are kept in DIR as they are finished: the same command goes on where it was stopped, and methods and
    T can be added. DIR holds the table as table.json, .csv, .md and, with nspike[report], one page, .html.

    \b
    Examples:
      nspike compare --network aodnet --methods rueckauer,burst --timesteps 5,10,20 --data SOTS -o table
      nspike compare --network dncnn-s25 --methods rueckauer,ternary --model ternary=t.h5 --data Set12 -o table
    """
    import nspike
    from nspike.comparing.tables import caption, cells, markdown, to_csv
    from nspike.files.atomic import write_bytes

    energy, chosen = list[str](), _names(methods)
    for kind, plugin in resolve(plugins, ("method", "energy")):
        names = energy if kind == "energy" else chosen
        if plugin.name not in names:
            names.append(plugin.name)
    files = [*pairs(models).values(), *pairs(recipes).values()]
    check_report("--json", json_file, (network, lpips, *files, *plugins), [output])
    take_folder(output)
    steps, own = _steps(timesteps)
    announce_compilation()
    with _Lines() as lines, _told(output):
        comparison = nspike.compare(
            network,
            data,
            output,
            methods=chosen,
            timesteps=steps,
            timesteps_of=own,
            models=pairs(models),
            recipes=pairs(recipes),
            protocol=protocol,
            sigma=sigma,
            seed=seed,
            scale=scale,
            limit=limit,
            calibration=calibration,
            crops=crops,
            crop_size=crop_size,
            energy=energy or [model.name for model in energy_models()],
            lpips=lpips,
            inexact=inexact,
            threads=threads,
            memory=memory,
            progress=lines.report,
        )
    texts = {
        "table.json": to_json(comparison.to_dict()),
        "table.csv": to_csv(comparison),
        "table.md": markdown(comparison),
    }
    if (page := _page(comparison)) is not None:
        texts["table.html"] = page
    for name, text in texts.items():
        write_bytes(comparison.folder / name, text.encode(errors="backslashreplace"))
    header, rows = cells(comparison)
    written = ", ".join(one_line(comparison.folder / name) for name in texts)
    emit(f"{caption(comparison)}\n\n{table(header, rows)}\n\n{written}", comparison.to_dict(), json_file)


@contextlib.contextmanager
def _told(output: str) -> Iterator[None]:
    """On Ctrl-C, say that what is finished is kept."""
    try:
        yield
    except KeyboardInterrupt:
        count = len(list(Path(output, "rows").glob("*.json")))
        print_error(f"{counted(count, 'row')} finished; the same command goes on from there")
        raise


def _page(comparison: "Comparison") -> str | None:
    """The page, or None with a word about what it needs."""
    from nspike.comparing.page import check_extra, render
    from nspike.errors import UsageError

    try:
        check_extra()
    except UsageError as error:
        print_error(f"no table.html: {error}")
        return None
    return render(comparison)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _steps(texts: tuple[str, ...]) -> tuple[list[int] | None, dict[str, list[int]]]:
    """The numbers of --timesteps: for all, and by label. Raises UsageError."""
    from nspike.errors import UsageError

    found: dict[str, list[int]] = {}
    for text in texts:
        label, _, numbers = text.rpartition("=")
        try:
            steps = [int(word) for word in _names(numbers)]
        except ValueError:
            steps = []
        if not steps:
            expected = "whole numbers separated by commas, such as 5,10,20 or METHOD=5,10"
            raise UsageError(f"--timesteps {text}: expected {expected}")
        found.setdefault(label.strip(), []).extend(steps)
    return found.pop("", None), found


class _Lines:
    """Progress of conversions, trainings and measurements, a line at a time."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._line: Progress | None = None

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            self._line.__exit__(kind, error, trace)

    def report(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` of something is done: of all rows in percent, of anything else on a line of its own."""
        from nspike.comparing.comparison import MEASURING

        rows = what.startswith(MEASURING)
        done, total = (100 * done // max(total, 1), 100) if rows else (done, total)
        name = MEASURING if rows else what
        if name != self._name:
            self.__exit__(None, None, None)
            self._name, self._line = name, Progress(total, "percent" if rows else what, done=done)
            self._line.__enter__()
        assert self._line is not None
        self._line.note = f", {what}" if rows else ""
        self._line.reach(done, total)
