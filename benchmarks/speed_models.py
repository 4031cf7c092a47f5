"""Models of one network as they are in their files, against PyTorch's plain network, in turns.

    python benchmarks/speed_models.py dncnn-s25-few dncnn-s25 [--size 481 321] [--rounds 5] [--threads 2]

Each model runs with its own neuron, head and T on a noisy grey image; the plain network is that of the first model.
"""

import numpy as np
import torch
from _common import gray_plane, median, parser, report, say, timed
from _peers import DenseAnn
from _speed import run_engine

import nspike


def main() -> None:
    args = parser(__doc__)
    args.add_argument("models", nargs="+", help="shipped models, or files")
    args.add_argument("--size", type=int, nargs=2, default=[481, 321], metavar=("WIDTH", "HEIGHT"))
    args.add_argument("--sigma", type=float, default=25.0)
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    plane = np.ascontiguousarray(gray_plane(args.size[1], args.size[0], args.sigma))
    models = {name: nspike.load(name) for name in args.models}
    dense = DenseAnn(next(iter(models.values())), plane)
    dense.run()
    ledgers = {name: run_engine(model, plane, args.threads) for name, model in models.items()}  # compiled before
    times: dict[str, list[tuple[float, float]]] = {}
    for number in range(args.rounds):
        say(f"round {number + 1} of {args.rounds}")
        for name, model in models.items():
            times.setdefault(name, []).append(timed(lambda model=model: run_engine(model, plane, args.threads))[:2])
        times.setdefault("PyTorch ANN", []).append(timed(dense.run)[:2])
    plain = median([seconds for seconds, _ in times["PyTorch ANN"]])
    rows = []
    for name, values in times.items():
        seconds = [value[0] for value in values]
        row = {
            "what": name,
            "median s": median(seconds),
            "from": min(seconds),
            "to": max(seconds),
            "processor s": median([value[1] for value in values]),
            "× PyTorch ANN": median(seconds) / plain,
        }
        if name in ledgers:
            ledger, spiking = ledgers[name], models[name].spiking
            neurons = sum(int(np.prod(layer.shape)) for layer in ledger.layers)
            row |= {"neuron": spiking.neuron, "T": spiking.timesteps, "spikes a neuron": ledger.spikes / neurons}
        rows.append(row)
    report(args, f"{args.size[0]}×{args.size[1]}, {args.threads} threads, {args.rounds} rounds", rows)


if __name__ == "__main__":
    main()
