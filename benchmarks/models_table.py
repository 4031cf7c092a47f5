"""Prints the tables of weights/README.md from what the model files themselves hold: python benchmarks/models_table.py

PSNR rate: mean PSNR of the spiking network over the plain one's, as SpikingIR's tables give it beside its energy ratio.
"""

from collections.abc import Iterator
from typing import Any

from nspike.model import file as weights
from nspike.model.shipped import shipped

PAPER = {
    ("aodnet", "SOTS_indoor"): ("≥ 100 %", "0.81"),
    ("dncnn-s15", "Set12"): ("99.3 %", "0.50"),
    ("dncnn-s25", "Set12"): ("99.1 %", "0.51"),
    ("dncnn-s50", "Set12"): ("98.8 %", "0.55"),
    ("vdsr", "Set5 x2"): ("99.35 %", "0.172"),
    ("vdsr", "Set5 x4"): ("99.36 %", "0.153"),
}
"""PSNR rate and energy ratio of SpikingIR."""

AGAINST = "| file | measured on | T | input dB | ANN dB | SNN dB | PSNR rate | paper | energy ratio | paper |"

HEADER = (
    "| file | task | measured on | SNN SSIM | conversion rate | synaptic operations an image | firing rate | size |"
)


DIRECT = (
    "| file | measured on | T | input dB | SNN dB | SNN SSIM | synaptic operations an image | firing rate | "
    "energy ratio | size |"
)


def entries(trained: str = "plain") -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
    """(name, file, set, figures) of every shipped model that was trained so, and set."""
    for name, path in shipped():
        file = weights.read_info(path)
        for where, figures in file.info.quality.items():
            if isinstance(figures, dict) and file.info.trained == trained:
                yield name, file, where, figures


def against_the_paper() -> list[str]:
    lines = [AGAINST, "|" + "---|" * (AGAINST.count("|") - 1)]
    for name, file, where, q in entries():
        rate, energy = PAPER.get((name.removesuffix("-few"), where), ("", ""))
        figures = (
            f"`{name}.h5`",
            where,
            str(file.timesteps),
            *(f"{q[key]:.2f}" if key in q else "" for key in ("psnr_input", "psnr_ann", "psnr")),
            f"{100 * q['psnr'] / q['psnr_ann']:.1f} %" if "psnr_ann" in q else "",
            rate,
            f"{q['energy_ratio paper']:.3f}",
            energy,
        )
        lines.append("| " + " | ".join(figures) + " |")
    return lines


def rows() -> list[str]:
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    for name, file, where, q in entries():
        figures = (
            f"`{name}.h5`",
            file.info.task,
            where,
            f"{q['ssim']:.4f}",
            f"{q['conversion_rate']:.1f} %" if "conversion_rate" in q else "",
            f"{q['synops'] / 1e9:.2f} G",
            f"{100 * q['firing_rate']:.1f} %",
            f"{file.size / 2**20:.2f} MiB",
        )
        lines.append("| " + " | ".join(figures) + " |")
    return lines


def trained_as_spiking() -> list[str]:
    lines = [DIRECT, "|" + "---|" * (DIRECT.count("|") - 1)]
    for name, file, where, q in entries("spiking"):
        figures = (
            f"`{name}.h5`",
            where,
            str(file.timesteps),
            f"{q['psnr_input']:.2f}",
            f"{q['psnr']:.2f}",
            f"{q['ssim']:.4f}",
            f"{q['synops'] / 1e9:.2f} G",
            f"{100 * q['firing_rate']:.1f} %",
            f"{q['energy_ratio paper']:.3f}",
            f"{file.size / 2**20:.2f} MiB",
        )
        lines.append("| " + " | ".join(figures) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join([*against_the_paper(), "", *rows(), "", *trained_as_spiking()]))
