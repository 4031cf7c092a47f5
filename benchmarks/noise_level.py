"""Whether a denoiser should be told the noise level: the same network with and without a plane that holds it.

    python benchmarks/noise_level.py --data FOLDER --validation FOLDER [--steps 20000] [--json FILE]

Both are trained by the recipe of `distillation.py` without its teacher, for sigma 0 to 55, with the same seeds, crops and noise;
the one that is told has 432 more parameters. The table has the PSNR of each run at some noise levels and the gain of each pair.
Runs are kept in --folder and go on from there.
"""

import argparse
import json
import statistics
from pathlib import Path

import distillation

import nspike


def measured(arguments, seed, told):
    """PSNR at each sigma, dB, of one run."""
    recipe = distillation.recipe(arguments, seed)
    recipe["network_options"] |= {"noise_level": int(told)}
    recipe["name"] = f"{'told' if told else 'blind'}-seed{seed}"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    trained = nspike.train(recipe, arguments.folder / f"{recipe['name']}.h5", overwrite=True)
    options = {"protocol": "rgb", "limit": arguments.limit, "threads": arguments.threads}
    rows = {}
    for sigma in arguments.sigmas:
        rows[sigma] = nspike.evaluate(trained.model, arguments.validation, sigma=sigma, **options).mean().psnr
    return {"told": told, "seed": seed, "psnr": rows}


def table(runs, sigmas):
    """Lines of Markdown."""
    lines = ["| sigma | blind, by seed, dB | told, by seed, dB | gain, by seed | mean |", "|---|---|---|---|---|"]
    for sigma in sigmas:
        blind, told = ([run["psnr"][sigma] for run in runs if run["told"] is which] for which in (False, True))
        gains = [b - a for a, b in zip(blind, told, strict=True)]
        cells = [" ".join(f"{value:.2f}" for value in values) for values in (blind, told)]
        cells += [" ".join(f"{gain:+.2f}" for gain in gains), f"{statistics.mean(gains):+.2f}"]
        lines.append(f"| {sigma:g} | {' | '.join(cells)} |")
    return lines


def main():
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--folder", type=Path, default=Path("noise_level"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sigmas", type=float, nargs="+", default=[5.0, 15.0, 25.0, 50.0])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    distillation.network_options(parser)
    arguments = parser.parse_args()
    runs = [measured(arguments, seed, told) for seed in arguments.seeds for told in (False, True)]
    print("\n".join(table(runs, arguments.sigmas)))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
