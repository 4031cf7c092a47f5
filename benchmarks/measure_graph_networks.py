"""From ONNX to spikes: what the networks of graph_networks.py lose by conversion without training, and what they cost.

    python benchmarks/measure_graph_networks.py ONNX_FOLDER --calibrate TRAIN_FOLDER --data SET12 [--limit N] [--only unet ...]

Each file is imported, converted by the defaults (mprn, membrane head), and evaluated beside its plain network; one Markdown row
each. The one that enlarges (edsr) is measured on luma, at twice the size.
"""

import argparse
import time
from pathlib import Path

import nspike


def row(path, arguments):
    """The row of one network."""
    enlarges = path.stem == "edsr"
    degradation = {"scales": [2]} if enlarges else {"sigma": 25.0}
    model = nspike.import_checkpoint(path, degradation=degradation, task="superres" if enlarges else "denoise")
    start = time.perf_counter()
    options = {"neuron": "mprn", "head": "membrane", "timesteps": arguments.timesteps, "crops": arguments.crops}
    model, _ = nspike.convert(model, arguments.calibrate, **options)
    converted = time.perf_counter() - start
    result = nspike.evaluate(model, arguments.data, limit=arguments.limit)
    seconds = sum(image.seconds for image in result.images) / len(result.images)
    energy = result.mean_energy[0]
    psnr = [result.mean(of).psnr for of in ("input", "ann", "quality")]
    cells = [f"`{path.stem}`", f"{model.network.macs_per_pixel:,}", *(f"{value:.2f}" for value in psnr)]
    cells += [f"{100 * psnr[2] / psnr[1]:.1f} %", f"{energy.ratio:.2f}", f"{seconds:.2f}", f"{converted:.0f}"]
    return f"| {' | '.join(cells)} |"


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--crops", type=int, default=32)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    print("| network | MAC a pixel | input dB | ANN dB | SNN dB | rate | energy ratio | s an image | s to convert |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in sorted(arguments.onnx.glob("*.onnx")):
        if not arguments.only or path.stem in arguments.only:
            print(row(path, arguments), flush=True)


if __name__ == "__main__":
    main()
