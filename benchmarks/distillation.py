"""What distillation gives: the same network trained with and without a teacher, for as many steps, from several seeds.

    python benchmarks/distillation.py --data FOLDER --validation FOLDER [--steps 20000] [--json FILE]

SpikerIR states gains of 1 to 3 dB, from runs whose own spread is as large (its rows without distillation differ by that much).
Here both ways have one recipe but for `gamma`: the seeds, crops, noise and initial kernels of a pair are the same, and the
teacher runs in both, so that seconds compare too. The table has the mean over seeds, its spread (the standard deviation of
one run) and the gain of each pair. Runs are kept in --folder and go on from there.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import nspike

TAPS = {"dec3": "up3_block2", "dec2": "up2_block2", "dec1": "up1_block2"}
"""The decoder's last block at each size, by the start of its name; of the teacher `drunet-color`."""


def recipe(arguments, seed):
    """The keys of a run without a teacher, for all noise levels at once."""
    return {
        "spiking": True,
        "network": "spikerir_lite",
        "network_options": {"width": arguments.width, "blocks": arguments.blocks},
        "timesteps": arguments.timesteps,
        "data": arguments.data,
        "degradation": {"kind": "noise", "sigma": [0.0, 55.0]},
        "steps": arguments.steps,
        "batch": arguments.batch,
        "patch": arguments.patch,
        "rate": arguments.rate,
        "seed": seed,
        "threads": arguments.threads,
    }


def taught(arguments, seed, gamma):
    """The keys of one run."""
    layers = {f"{name}_block{arguments.blocks}": own for name, own in TAPS.items()}
    return {
        **recipe(arguments, seed),
        "validation": arguments.validation,
        "validation_sigma": arguments.sigma,
        "validation_limit": arguments.limit,
        "pixel": {"hkd": {"gamma": gamma}},
        "teacher": {"model": arguments.teacher, "taps": layers, "match": arguments.match},
    }


def measured(arguments, seed, gamma):
    """PSNR of the last step on the validation images, dB, and the seconds of a step."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    output = arguments.folder / f"gamma{gamma:g}-seed{seed}.h5"
    start = time.perf_counter()
    trained = nspike.train(taught(arguments, seed, gamma), output, overwrite=True)
    steps = max(1, trained.done - trained.before)
    return {
        "gamma": gamma,
        "seed": seed,
        "psnr": trained.validations[-1].psnr,
        "input": trained.validations[-1].input,
        "firing_rate": trained.validations[-1].firing_rate,
        "seconds_a_step": (time.perf_counter() - start) / steps,
    }


def table(runs, gammas):
    """Lines of Markdown: the runs, each way's mean and spread, and the gain over the way without."""
    lines = [
        "| gamma | PSNR by seed, dB | mean | spread | gain over 0, by seed | s a step |",
        "|---|---|---|---|---|---|",
    ]
    by = {gamma: [run for run in runs if run["gamma"] == gamma] for gamma in gammas}
    for gamma, own in by.items():
        values = [run["psnr"] for run in own]
        spread = f"{statistics.stdev(values):.2f}" if len(values) > 1 else ""
        gains = [run["psnr"] - other["psnr"] for run, other in zip(own, by[gammas[0]], strict=True)]
        shown = ["" if gamma == gammas[0] else " ".join(f"{gain:+.2f}" for gain in gains)]
        cells = [f"{gamma:g}", " ".join(f"{v:.2f}" for v in values), f"{statistics.mean(values):.2f}", spread, *shown]
        lines.append(f"| {' | '.join(cells)} | {statistics.mean(run['seconds_a_step'] for run in own):.2f} |")
    return lines


def network_options(parser):
    """The options of the network and its training, with their defaults."""
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--threads", type=int)


def main():
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--folder", type=Path, default=Path("distillation"))
    parser.add_argument("--teacher", default="drunet-color")
    parser.add_argument("--match", default="pool", choices=("pool", "adapter"))
    parser.add_argument("--gamma", type=float, default=0.12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--limit", type=int)
    network_options(parser)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    gammas = [0.0, arguments.gamma]
    runs = [measured(arguments, seed, gamma) for seed in arguments.seeds for gamma in gammas]
    print("\n".join(table(runs, gammas)))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
