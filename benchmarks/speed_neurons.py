"""Other neurons against integrate-and-fire, at 10 % firing: from outside, declared or with a kernel, and with several planes.

The network is a chain of 64-channel 3×3 layers with random kernels; for each neuron every layer's biases are shifted until
that layer fires at the asked rate, so that all neurons have the same work to do. Runs of the neurons take turns, and a speed is
the median over the rounds of the built-in neuron's time over this one's: by the clock, and by the time of the processor,
which other programs disturb less. Per event is by the processor's time over the spikes that were fired: neurons with several
planes do not fire at exactly the asked rate.

    python benchmarks/speed_neurons.py [--rate 0.1] [--size 256] [--rounds 7] [--json FILE]
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import gray_plane, median, parser, report, say
from numpy.typing import NDArray

from nspike.authoring.conformance.networks import HEAD
from nspike.contracts.neuron import Neuron
from nspike.engine import run as engine
from nspike.engine.program import program_of
from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking
from nspike.registry.plugins import registry

OUTSIDE = Path(__file__).parents[1] / "tests" / "outside_plugin" / "nspike_outside"
TARGETS = {"declared": 0.95, "kernel": 0.60}
PLANES = ("signed", "burst", "ternary")
TARGET_PER_EVENT = 0.80


def same_step(v, current, state, params, phase, out):  # type: ignore[no-untyped-def]
    """Integrate-and-fire as a kernel of its own: what the interface costs."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            u = v[p, c] + current[p, c]
            fires = u >= params[0, c]
            out[p, c, 0] = fires
            v[p, c] = u - params[0, c] if fires else u


def theta_on_grid(parameters: Any, theta: NDArray[np.float64], exponent: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.maximum(np.rint(np.ldexp(theta, exponent)), 1)[None].astype(np.int32)


def neurons() -> dict[str, Neuron]:
    found = {"if": registry().neurons["if"]}
    for name in ("falling", "adaptive"):
        found[name] = registry().resolve(f"{OUTSIDE / name}.py", ["neuron"])[1]
    found["if as a kernel"] = Neuron("if_kernel", "", "", step=same_step, step_parameters=theta_on_grid)
    found["lif"] = registry().neurons["lif"]
    found |= {name: registry().neurons[name] for name in PLANES}
    return found


def network(depth: int, width: int) -> Network:
    layers: list[Conv | Activation] = []
    source, read = IMAGE, 1
    for i in range(1, depth + 1):
        layers += [Conv(f"conv{i}", source, read, width, 3), Activation(f"layer{i}", f"conv{i}", width)]
        source, read = f"layer{i}", width
    layers.append(Conv("last", source, width, 1, 3))
    return Network("chain", 1, tuple(layers), "last", "image")


def random_model(depth: int, width: int, timesteps: int) -> Model:
    draw = np.random.default_rng(0)
    made = network(depth, width)
    parameters: dict[str, NDArray[np.float32]] = {}
    for conv in made.convs:
        shape = (conv.out_channels, conv.in_channels, 3, 3)
        spread = 1.2 / np.sqrt(9 * conv.in_channels)
        parameters[f"{conv.name}.weight"] = draw.normal(0, spread, shape).astype(np.float32)
        parameters[f"{conv.name}.bias"] = draw.normal(0, 0.05, conv.out_channels).astype(np.float32)
    ones = {a.name: np.ones(a.channels) for a in made.activations} | {OUTPUT: np.ones(1)}
    return Model(Info("chain", "denoise", "gray"), made, parameters, Spiking("any", HEAD.name, timesteps, ones, ones))


def balanced(model: Model, neuron: Neuron, plane: NDArray[np.int32], rate: float) -> Model:
    """Each layer's biases shifted, from the first on, until it fires at `rate`; its thresholds where spikes have both signs."""
    if min(neuron.planes) < 0:
        return balanced_by_thresholds(model, neuron, plane, rate)
    parameters = dict(model.parameters)
    for i, conv in enumerate(model.network.convs[:-1]):
        start = parameters[f"{conv.name}.bias"]
        low, high = -2.0, 2.0
        for _ in range(9):
            parameters[f"{conv.name}.bias"] = start + np.float32((low + high) / 2)
            found = rates(replace(model, parameters=parameters), neuron, plane)[i]
            low, high = ((low + high) / 2, high) if found < rate else (low, (low + high) / 2)
    return replace(model, parameters=parameters)


def balanced_by_thresholds(model: Model, neuron: Neuron, plane: NDArray[np.int32], rate: float) -> Model:
    """Biases cannot do it: they drive neurons to fire with one sign or the other."""
    spiking = model.spiking
    assert spiking is not None
    thresholds = {name: theta.copy() for name, theta in spiking.thresholds.items()}
    for i, name in enumerate(activation.name for activation in model.network.activations):
        low, high = -4.0, 6.0
        for _ in range(11):
            thresholds[name][:] = 2.0 ** ((low + high) / 2)
            tried = model.with_spiking(replace(spiking, thresholds=thresholds))
            found = rates(tried, neuron, plane)[i]
            low, high = (low, (low + high) / 2) if found < rate else ((low + high) / 2, high)
    return model.with_spiking(replace(spiking, thresholds=thresholds))


def rates(model: Model, neuron: Neuron, plane: NDArray[np.int32]) -> list[float]:
    """Spikes per neuron and step, layer by layer."""
    ledger = run(model, neuron, plane)
    return [float(layer.events.sum() / layer.neuron_updates.sum()) for layer in ledger.layers]


def run(model: Model, neuron: Neuron, plane: NDArray[np.int32], threads: int | None = None) -> Any:
    return engine.run(program_of(model, neuron, HEAD), plane, sink=lambda _: None, threads=threads)


def speed(built_in: list[float], mine: list[float]) -> float:
    return median([a / b for a, b in zip(built_in, mine, strict=True)])


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rate", type=float, default=0.1, help="spikes per neuron and step")
    options.add_argument("--size", type=int, default=256, help="side of the image")
    options.add_argument("--depth", type=int, default=5, help="layers of neurons")
    options.add_argument("--rounds", type=int, default=7, help="how often each neuron runs")
    options.add_argument("--only", help="neurons to compare, separated by commas; all by default")
    options.add_argument("--threads", type=int, help="by default one per processor")
    args = options.parse_args()
    plane, small = gray_plane(args.size, args.size), gray_plane(64, 64)
    chosen, models = neurons(), {}
    if args.only:
        chosen = {name: neuron for name, neuron in chosen.items() if name in ("if", *args.only.split(","))}
    for name, neuron in chosen.items():
        say(f"balancing {name}")
        models[name] = balanced(random_model(args.depth, 64, 10), neuron, small, args.rate)
        run(models[name], neuron, plane, args.threads)
    clock: dict[str, list[float]] = {name: [] for name in chosen}
    processor: dict[str, list[float]] = {name: [] for name in chosen}
    for i in range(args.rounds):
        say(f"round {i + 1} of {args.rounds}")
        for name, neuron in chosen.items():
            start, used = time.perf_counter(), time.process_time()
            run(models[name], neuron, plane, args.threads)
            clock[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    events = {name: run(models[name], neuron, plane, args.threads).spikes for name, neuron in chosen.items()}
    rows = []
    for name, neuron in chosen.items():
        kind = "declared" if neuron.step is None else "kernel"
        rows.append(
            {
                "neuron": name,
                "form": kind,
                "firing rate": float(np.mean(rates(models[name], neuron, plane))),
                "ms (median)": 1000 * median(clock[name]),
                "speed, clock": speed(clock["if"], clock[name]),
                "speed, processor": speed(processor["if"], processor[name]),
                "speed per event": speed(processor["if"], processor[name]) * events[name] / events["if"],
                "target": None if name == "if" else TARGET_PER_EVENT if name in PLANES else TARGETS[kind],
            }
        )
    report(args, f"{args.depth} layers of 64 channels, {args.size}×{args.size}, T = 10", rows)


if __name__ == "__main__":
    sys.exit(main())
