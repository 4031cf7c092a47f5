"""`nspike models`."""

from typing import Any

import click

from nspike.cli.guard import check_report
from nspike.cli.options import json_option
from nspike.cli.output import emit
from nspike.cli.text import in_words, size, table

_HEADER = ("name", "task", "for", "network", "neuron", "head", "T", "size", "quality")


@click.command()
@json_option
def command(json_file: str | None) -> None:
    """List the models that come with nspike.

    \b
    Example:
      nspike models
    """
    from nspike.model.file import read_info
    from nspike.model.shipped import DEFAULT, IN_STEPS, shipped

    check_report("--json", json_file)

    default = DEFAULT if DEFAULT in dict(shipped()) else IN_STEPS
    rows: list[tuple[object, ...]] = []
    report = []
    for name, path in shipped():
        file = read_info(path)
        info = file.info
        first, *others = _measured(info.quality)
        rows.append(
            (
                f"{name} *" if name == default else name,
                info.task,
                in_words(info.degradation),
                file.network.name,
                file.neuron or "(ANN)",
                file.head or "",
                file.timesteps or "",
                size(file.size),
                first,
            )
        )
        rows += [("",) * (len(_HEADER) - 1) + (more,) for more in others]
        report.append(
            {
                "name": name,
                "default": name == default,
                "task": info.task,
                "degradation": info.degradation,
                "colour": info.colour,
                "network": file.network.name,
                "neuron": file.neuron,
                "head": file.head,
                "timesteps": file.timesteps,
                "quality": info.quality,
                "licence": info.licence,
                "bytes": file.size,
                "digest": file.digest,
            }
        )
    text = table(_HEADER, rows) + "\n\n* the default. `nspike info NAME` shows all of one." if rows else "none"
    emit(text, {"models": report}, json_file)


def _measured(quality: dict[str, Any]) -> list[str]:
    """The PSNR of each validation set: "Set12 28.12 dB (input 20.37, ANN 29.94)"; else all there is, in one line."""
    measured = []
    for where, figures in quality.items():
        if isinstance(figures, dict) and "psnr" in figures:
            beside = [
                f"{who} {figures[f'psnr_{who.lower()}']:.2f}"
                for who in ("input", "ANN")
                if f"psnr_{who.lower()}" in figures
            ]
            measured.append(f"{where} {figures['psnr']:.2f} dB" + (f" ({', '.join(beside)})" if beside else ""))
    return measured or [in_words(quality)]
