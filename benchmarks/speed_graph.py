"""Kinds of convolutions against DnCNN's: the time of a network over that of as many operations in DnCNN.

All networks are five layers of 64 channels between two dense ones, with random kernels, every layer's biases shifted until it
fires at the asked rate. Operations are accumulations that spikes cause and updates of neurons; what one of each takes in DnCNN is
known from DnCNN at that rate and silent. Runs take turns, and a time is the least of the rounds: by the clock, and by the
time of the processor, which other programs disturb less.

    python benchmarks/speed_graph.py [--rate 0.1] [--size 256] [--rounds 7] [--json FILE]
"""

from typing import Any

import numpy as np
from _common import gray_plane, parser, report, say, timed
from numpy.typing import NDArray
from speed_neurons import balanced, rates, run

from nspike.authoring.conformance.networks import HEAD
from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking
from nspike.registry.plugins import registry

WIDTH = 64
KINDS: dict[str, list[dict[str, int]]] = {
    "DnCNN": [{}],
    "dilated": [{"dilation": 2}],
    "even kernel": [{"kernel": 4}],
    "groups of 16": [{"groups": 4}],
    "groups of 4": [{"groups": 16}],
    "depthwise": [{"groups": WIDTH}],
    "depthwise + grouped": [{"groups": WIDTH}, {"groups": 4}],
}
"""The convolutions of a network, in turns: what is not DnCNN's of each."""


SILENT = "DnCNN, silent"


def network(kind: str, depth: int) -> Network:
    layers: list[Conv | Activation] = [Conv("first", IMAGE, 1, WIDTH, 3), Activation("layer0", "first", WIDTH)]
    for i in range(1, depth + 1):
        own: dict[str, Any] = {"kernel": 3} | KINDS[kind][(i - 1) % len(KINDS[kind])]
        conv = Conv(f"conv{i}", f"layer{i - 1}", WIDTH, WIDTH, **own)
        layers += [conv, Activation(f"layer{i}", conv.name, WIDTH)]
    layers.append(Conv("last", f"layer{depth}", WIDTH, 1, 3))
    return Network(kind, 1, tuple(layers), "last", "image")


def random_model(kind: str, depth: int, timesteps: int) -> Model:
    draw, made = np.random.default_rng(0), network(kind, depth)
    parameters: dict[str, NDArray[np.float32]] = {}
    for conv in made.convs:
        spread = 1.2 / np.sqrt(np.prod(conv.kernel_shape[1:]))
        parameters[f"{conv.name}.weight"] = draw.normal(0, spread, conv.kernel_shape).astype(np.float32)
        parameters[f"{conv.name}.bias"] = draw.normal(0, 0.05, conv.out_channels).astype(np.float32)
    ones = {a.name: np.ones(a.channels) for a in made.activations} | {OUTPUT: np.ones(1)}
    return Model(Info(kind, "denoise", "gray"), made, parameters, Spiking("any", HEAD.name, timesteps, ones, ones))


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rate", type=float, default=0.1, help="spikes per neuron and step")
    options.add_argument("--size", type=int, default=256, help="side of the image")
    options.add_argument("--depth", type=int, default=5, help="layers between the first and the last")
    options.add_argument("--steps", type=int, default=10, help="T")
    options.add_argument("--rounds", type=int, default=7, help="how often each network runs")
    options.add_argument("--threads", type=int, help="by default one per processor")
    args = options.parse_args()
    plane, small, neuron = gray_plane(args.size, args.size), gray_plane(64, 64), registry().neurons["if"]
    models, work = {}, {}
    for kind in (*KINDS, SILENT):
        say(f"balancing {kind}")
        silent = kind == SILENT
        random = random_model("DnCNN" if silent else kind, args.depth, args.steps)
        models[kind] = balanced(random, neuron, small, 0.0 if silent else args.rate)
        ledger = run(models[kind], neuron, plane, args.threads)
        work[kind] = np.array([ledger.synops, ledger.neuron_updates])
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in models}
    for i in range(args.rounds):
        say(f"round {i + 1} of {args.rounds}")
        for kind, model in models.items():
            times[kind].append(timed(lambda model=model: run(model, neuron, plane, args.threads))[:2])
    least = {kind: np.min(each, axis=0) for kind, each in times.items()}
    both = np.stack([work["DnCNN"], work[SILENT]]).astype(np.float64)
    costs = [np.linalg.solve(both, np.array([least["DnCNN"][i], least[SILENT][i]])) for i in (0, 1)]
    rows = []
    for kind, model in models.items():
        row = {
            "network": kind,
            "firing rate": float(np.mean(rates(model, neuron, plane))),
            "G synops": work[kind][0] / 1e9,
            "G updates": work[kind][1] / 1e9,
            "ms": 1000 * float(least[kind][0]),
        }
        for i, name in enumerate(("clock", "processor")):
            row[f"over DnCNN's, {name}"] = float(least[kind][i] / (work[kind] @ costs[i]))
        rows.append(row)
    report(args, f"Convolutions of other kinds, {WIDTH} channels, T = {args.steps}, {args.size}×{args.size}", rows)


if __name__ == "__main__":
    main()
