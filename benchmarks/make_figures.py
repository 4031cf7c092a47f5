"""Make the figures of docs/explanation from real runs: one neuron, a bundled image after each step, energy by firing rate.

python benchmarks/make_figures.py [FOLDER]
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

import nspike
from nspike.images.file import read
from nspike.registry.plugins import registry

CURRENT, T = 0.28, 10
"""What arrives at the one neuron at each step, in thresholds."""
MODEL = "dncnn-s25"
ROWS = (("mprn", "cpm", "as shipped: mprn, cpm"), ("if", "cpm", "if, cpm"), ("mprn", "rate", "mprn, rate"))
ENERGY = ("horowitz45", "memory45", "quantised45")
SIZE = (7.0, 3.2)


def membrane(name: str) -> tuple[list[float], list[int]]:
    """The membrane of a declared neuron before each spike and after, in thresholds, and the steps at which it fires."""
    neuron = registry().neurons[name]
    v, track, fired = 0.0, [0.0], []
    for step in range(1, T + neuron.post_steps + 1):
        v += CURRENT if step <= T else 0.0
        track.append(v)
        if v >= neuron.fire(neuron.values(), step, T) - 1e-12:
            v -= neuron.amplitude(neuron.values(), step, T)
            fired.append(step)
        track.append(v)
    return track, fired


def release(axes: Any) -> None:
    """One neuron with and without the release step."""
    for name, style in (
        ("mprn", {"color": "#2b6cb0", "linewidth": 2.5}),
        ("if", {"linestyle": "--", "color": "#f08040"}),
    ):
        track, fired = membrane(name)
        steps = [0, *(step for at in range(1, len(track) // 2 + 1) for step in (at, at))]
        axes.plot(steps, track, label=f"{name}: {len(fired)} spikes, {track[-1]:+.1f} θ left", **style)
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.axvspan(T + 0.5, T + 1.5, color="0.93")
    axes.text(T + 1, 1.1, "release", ha="center")
    axes.set(xlabel="step", ylabel="membrane in θ", ylim=(-0.4, 1.35), xlim=(0, T + 1.5), xticks=range(0, T + 2))
    axes.legend(loc="lower left", frameon=False, ncols=2)


def steps(axes: Any) -> None:
    """How good the image is after each step, for several neurons and heads in one model."""
    folder = Path(nspike.__file__).parent / "images" / "bundled"
    noisy, clean = (read(folder / f"{name}.png").pixels for name in ("camera_noisy25", "camera"))
    for (neuron, head, label), style in zip(ROWS, ("-", "--", "-"), strict=True):
        model, _ = nspike.swap(nspike.load(MODEL), neuron=neuron, head=head)
        found = nspike.curve(model, noisy, reference=clean).steps
        axes.plot([s.step for s in found], [s.psnr for s in found], style, marker="o", markersize=3, label=label)
        print(f"{label}: {found[-1].psnr:.2f} dB, {found[-1].synops:,} synops")
    axes.set(xlabel="step", ylabel="PSNR in dB", xticks=range(1, T + 2))
    axes.legend(loc="lower right", frameon=False)


def energy(axes: Any) -> None:
    """The energy of the spiking network over that of the plain one, if all layers fired in proportion."""
    folder = Path(nspike.__file__).parent / "images" / "bundled"
    ledger = nspike.load(MODEL).run(read(folder / "camera_noisy25.png").pixels).ledger
    for name in ENERGY:
        model = registry().energy_models[name]
        measured, silent = (model.estimate(each)[0] for each in (ledger, ledger.silenced()))
        growth = (measured.snn - silent.snn) / ledger.firing_rate
        rates = [0.0, 0.6]
        (line,) = axes.plot(
            [100 * r for r in rates],
            [(silent.snn + growth * r) / measured.ann for r in rates],
            label=f"{name}: {measured.name}",
        )
        axes.plot(100 * ledger.firing_rate, measured.ratio, "o", color=line.get_color())
        print(f"{name}: {measured.ratio:.2f} of the ANN at {100 * ledger.firing_rate:.1f} %")
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.set(xlabel="firing rate in %", ylabel="energy, SNN / ANN", xlim=(0, 60), ylim=(0, None))
    axes.legend(loc="upper left", frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "docs" / "explanation"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    folder = parser.parse_args().folder
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "nspike", "font.size": 10})
    for draw in (release, steps, energy):
        figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
