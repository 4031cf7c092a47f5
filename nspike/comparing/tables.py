"""A comparison as a table: for the terminal, CSV and Markdown."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nspike.comparing.comparison import Comparison
from nspike.comparing.plan import PLAIN
from nspike.runtime.words import counted

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: its header, a row's value (None where it has none), and how that is written for people."""

    header: str
    value: Callable[[Row], Any]
    form: str = ""

    def text(self, row: Row) -> str:
        """The value for people; a dash where there is none."""
        value = self.value(row)
        return "-" if value is None else format(value, self.form)


def columns(comparison: Comparison) -> list[Column]:
    """The columns for people: of each energy model its first figure, in millijoules for one image."""
    listed = [
        Column("method", name_of),
        Column("T", lambda row: row["T"]),
        _mean("PSNR dB", "psnr", ".2f"),
        _mean("SSIM uniform7", "ssim_uniform7", ".4f"),
        _mean("SSIM gauss11", "ssim_gauss11", ".4f"),
        _mean("MAE", "mae", ".4f"),
    ]
    if comparison.settings["lpips"] is not None:
        listed.append(_mean("LPIPS", "lpips", ".4f"))
    listed += [
        Column("of plain %", lambda row: row["conversion_rate"], ".2f"),
        _mean("spikes", "spikes", ".4g"),
        _mean("synops", "synops", ".4g"),
    ]
    listed += [_energy(name) for name in comparison.settings["energy"]]
    return [*listed, _mean("wall s", "wall", ".3g"), _mean("CPU s", "processor", ".3g")]


def name_of(row: Row) -> str:
    """A row's method or model."""
    return "plain network" if row["label"] == PLAIN else str(row["label"])


def _mean(header: str, key: str, form: str) -> Column:
    return Column(header, lambda row: row["mean"].get(key), form)


def _energy(name: str) -> Column:
    def first(row: Row) -> float:
        figures = next(iter(row["mean"]["energy"][name].values()))
        return 1e3 * float(figures.get("snn", figures["ann"]))

    return Column(f"{name} mJ", first, ".4g")


def cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The header and the rows for people."""
    listed = columns(comparison)
    return [column.header for column in listed], [[column.text(row) for column in listed] for row in comparison.rows]


def caption(comparison: Comparison) -> str:
    """What was measured, in a line."""
    settings, before = comparison.settings, comparison.input
    numbers = [f"{name} {settings[name]:g}" for name in ("sigma", "scale") if settings[name] is not None]
    if settings["sigma"] is not None:
        numbers.append(f"seed {settings['seed']}")
    count = len(settings["images"])
    first = f" (the first {count} of the folder)" if settings["limit"] == count else ""
    network = "" if settings["network"] is None else f"network {settings['network']['name']}, "
    shares = "PSNR" if settings["sigma"] is not None else "mean of PSNR and SSIM"
    share = f"; of plain %: {shares} as a share of the plain network's, at most 100" if network else ""
    return (
        f"{network}protocol {', '.join([settings['protocol'], *numbers])}, {counted(count, 'image')}{first}; "
        f"the input has {before['psnr']:.2f} dB. Means of an image{share}; energy is modelled, not measured; seconds are of "
        "this machine"
    )


def markdown(comparison: Comparison) -> str:
    """The table in Markdown, and below it the command line and the digests of each row."""
    header, rows = cells(comparison)
    lines = [caption(comparison) + ".", "", _line(header), _line(["---"] * len(header)), *map(_line, rows), ""]
    lines += ["| row | model | results | command |", "|---|---|---|---|"]
    for row in comparison.rows:
        values = [row["key"], row["model"]["digest"][:16], row["digest"][:16], f"`{row['command']}`"]
        lines.append(_line(values))
    return "\n".join(lines) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Every row with every figure: energies in joules, numbers in full."""
    names = ["psnr", "ssim_uniform7", "ssim_gauss11", "mae", "lpips", "spikes", "synops", "firing_rate"]
    fields: list[tuple[str, Callable[[Row], Any]]] = [("method", lambda row: row["label"]), ("T", lambda row: row["T"])]
    fields += [(name, _reader(name)) for name in names]
    fields.append(("conversion_rate", lambda row: row["conversion_rate"]))
    for model, figures in comparison.rows[0]["mean"]["energy"].items() if comparison.rows else ():
        for column in figures:
            for network in ("snn", "ann"):
                fields.append((f"{model} {column} {network} J", _price(model, column, network)))
    fields += [("wall s", _reader("wall")), ("processor s", _reader("processor"))]
    fields += [("model digest", lambda row: row["model"]["digest"]), ("result digest", lambda row: row["digest"])]
    fields.append(("command", lambda row: row["command"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for name, _ in fields])
    writer.writerows([[_plain(value(row)) for _, value in fields] for row in comparison.rows])
    return text.getvalue()


def _reader(name: str) -> Callable[[Row], Any]:
    return lambda row: row["mean"].get(name)


def _price(model: str, column: str, network: str) -> Callable[[Row], Any]:
    return lambda row: row["mean"]["energy"][model][column].get(network)


def _plain(value: Any) -> Any:
    return "" if value is None else value


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
