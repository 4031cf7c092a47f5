"""Kinds of convolutions against DnCNN's: the time of a network over that of as many operations in DnCNN.

All networks are five layers of 64 channels between two dense ones, with random kernels, every layer's biases shifted until it
fires at the asked rate. An operation is an accumulation that a spike causes, or an update of a neuron. Runs take turns, and
a ratio is the median over the rounds: by the clock, and by the time of the processor, which other programs disturb less.

    python benchmarks/speed_graph.py [--rate 0.1] [--size 256] [--rounds 7] [--json FILE]
"""

import time
from typing import Any

import numpy as np
from _common import gray_plane, median, parser, report, say
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
    models, operations = {}, {}
    for kind in KINDS:
        say(f"balancing {kind}")
        models[kind] = balanced(random_model(kind, args.depth, args.steps), neuron, small, args.rate)
        ledger = run(models[kind], neuron, plane, args.threads)
        operations[kind] = ledger.synops + ledger.neuron_updates
    clock: dict[str, list[float]] = {kind: [] for kind in KINDS}
    processor: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for i in range(args.rounds):
        say(f"round {i + 1} of {args.rounds}")
        for kind, model in models.items():
            start, used = time.perf_counter(), time.process_time()
            run(model, neuron, plane, args.threads)
            clock[kind].append(time.perf_counter() - start)
            processor[kind].append(time.process_time() - used)
    rows = []
    for kind, model in models.items():
        share = operations[kind] / operations["DnCNN"]
        row = {
            "network": kind,
            "firing rate": float(np.mean(rates(model, neuron, plane))),
            "G operations": operations[kind] / 1e9,
            "ms (median)": 1000 * median(clock[kind]),
        }
        for name, times in (("clock", clock), ("processor", processor)):
            ratios = [own / (share * dense) for own, dense in zip(times[kind], times["DnCNN"], strict=True)]
            row[f"time over DnCNN's, {name}"] = median(ratios)
        rows.append(row)
    report(args, f"Convolutions of other kinds, {WIDTH} channels, T = {args.steps}, {args.size}×{args.size}", rows)


if __name__ == "__main__":
    main()
