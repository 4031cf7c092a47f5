"""Colour models as they are in their files, and the same plain DRUNet in PyTorch (float32, channels last), in turns.

    python benchmarks/speed_colour.py drunet-color spikerir-denoise [--size 481 321] [--rounds 5] [--threads 2] [--json FILE]

A noisy RGB image is restored from and to 8-bit pixels, kernels compiled before. PyTorch computes on an image padded as nspike's.
"""

import numpy as np
import torch
from _common import hazy_plane, median, parser, report, say, timed
from train_drunet import DRUNet

import nspike
from nspike.images.plane import UNIT


def main() -> None:
    """Time all of them, and print the table."""
    args = parser(__doc__)
    args.add_argument("models", nargs="+", help="shipped models, or files")
    args.add_argument("--size", type=int, nargs=2, default=[481, 321], metavar=("WIDTH", "HEIGHT"))
    args.add_argument("--sigma", type=float, default=25.0)
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    width, height = args.size
    clean = hazy_plane(height, width)[0].transpose(1, 2, 0) * (255 / UNIT)
    noise = args.sigma * np.random.default_rng(0).standard_normal(clean.shape)
    pixels = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
    models = {name: nspike.load(name) for name in args.models}
    told = {name: m.at_noise(args.sigma) if m.network.takes_noise_level else m for name, m in models.items()}
    runs = {
        name: lambda model=model: nspike.restore(model, pixels, threads=args.threads) for name, model in told.items()
    }
    padded = torch.zeros((1, 4, -(-height // 8) * 8, -(-width // 8) * 8)).contiguous(memory_format=torch.channels_last)
    plain = DRUNet(16, 2).eval().to(memory_format=torch.channels_last)

    def dense() -> None:
        with torch.inference_mode():
            plain(padded)

    runs["PyTorch DRUNet, 16 channels"] = dense
    for run in runs.values():
        run()
    times: dict[str, list[tuple[float, float]]] = {}
    for number in range(args.rounds):
        say(f"round {number + 1} of {args.rounds}")
        for name, run in runs.items():
            times.setdefault(name, []).append(timed(run)[:2])
    rows = [
        {
            "what": name,
            "median s": median([seconds for seconds, _ in values]),
            "from": min(seconds for seconds, _ in values),
            "to": max(seconds for seconds, _ in values),
            "processor s": median([used for _, used in values]),
        }
        for name, values in times.items()
    ]
    report(args, f"{width}×{height} RGB, {args.threads} threads, {args.rounds} rounds", rows)


if __name__ == "__main__":
    main()
