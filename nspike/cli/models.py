"""`nspike models`."""

from typing import Any

import click

from nspike.cli.common import emit, json_option
from nspike.cli.text import size, table


@click.command()
@json_option
def command(json_file: str | None) -> None:
    """List the models that come with nspike.

    \b
    Example:
      nspike models
    """
    from nspike.models import DEFAULT, shipped
    from nspike.weights import read_info

    rows, report = [], []
    for name, path in shipped():
        file = read_info(path)
        info = file.info
        rows.append(
            (
                f"{name} *" if name == DEFAULT else name,
                info.task,
                in_words(info.degradation),
                file.network.name,
                file.neuron or "(ANN)",
                file.head or "",
                file.timesteps or "",
                in_words(info.quality),
                size(file.size),
            )
        )
        report.append(
            {
                "name": name,
                "default": name == DEFAULT,
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
    header = ("name", "task", "for", "network", "neuron", "head", "T", "quality", "size")
    text = table(header, rows) + "\n\n* the default. `nspike info NAME` shows all of one." if rows else "none"
    emit(text, {"models": report}, json_file)


def in_words(values: dict[str, Any]) -> str:
    """Plain values in a line: "sigma 25", "scales 2 3 4"."""
    parts = []
    for name, value in values.items():
        if isinstance(value, dict):
            parts.append(f"{name} ({in_words(value)})")
        elif isinstance(value, list):
            parts.append(f"{name} {' '.join(map(_number, value))}")
        else:
            parts.append(f"{name} {_number(value)}")
    return ", ".join(parts)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
