"""The comparison that `speed_dncnn.py` and `speed_aodnet.py` share: everybody in one run, in turns."""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _common import median, say, timed
from _peers import DenseAnn, SnnTorch, SpikingJelly, peer
from numpy.typing import NDArray

from nspike.ann import run as ann
from nspike.contracts.ledger import Ledger
from nspike.engine import run as engine
from nspike.engine.program import program_of
from nspike.images.plane import UNIT
from nspike.model.model import Model
from nspike.registry.parts import head_of, neuron_of, swap

CROP = (slice(None), slice(None), slice(0, 64), slice(0, 96))
"""Where the peers' spikes are compared with the engine's."""


@dataclass
class Case:
    """A model to be measured, with integrate-and-fire neurons."""

    name: str
    model: Model


def run_engine(model: Model, plane: NDArray[np.int32], threads: int) -> Ledger:
    return engine.run(program_of(model, neuron_of(model), head_of(model)), plane, sink=lambda _: None, threads=threads)


def check(case: Case, plane: NDArray[np.int32], threads: int) -> dict[str, Any]:
    """Spikes per layer, the engine's against the peers', on a crop."""
    crop = np.ascontiguousarray(plane[CROP])
    found: dict[str, Any] = {"case": case.name}
    for neuron in ("if", "mprn"):
        model = swap(case.model, neuron=neuron)[0]
        ledger = run_engine(model, crop, threads)
        ours = {layer.name: int(layer.events.sum()) for layer in ledger.layers}
        peers = {f"SpikingJelly {neuron}": SpikingJelly(peer(model, crop, True), multi_step=False)}
        if neuron == "if":
            peers["SpikingJelly if, multi-step"] = SpikingJelly(peer(model, crop, False), multi_step=True)
            peers["snnTorch if (fires above θ)"] = SnnTorch(peer(model, crop, True))
        found[f"nspike {neuron}"] = sum(ours.values())
        for name, other in peers.items():
            other.run(count=True)
            differing = [n for n, events in ours.items() if other.network.counts[n] != events]
            same = "the same in every layer" if not differing else f"{len(differing)} of {len(ours)} layers differ"
            found[name] = f"{sum(other.network.counts.values())}, {same}"
    return found


def best_setting(model: Model, plane: NDArray[np.int32]) -> tuple[str, bool, bool, dict[str, float]]:
    """SpikingJelly's fastest: (name, channels last, multi-step), and the seconds of each on the whole image."""
    seconds = {}
    for multi_step in (False, True):
        for channels_last in (True, False):
            name = f"{'multi' if multi_step else 'single'}-step, {'channels-last' if channels_last else 'contiguous'}"
            SpikingJelly(peer(model, np.ascontiguousarray(plane[CROP]), channels_last), multi_step).run()
            network = SpikingJelly(peer(model, plane, channels_last), multi_step)
            seconds[name] = timed(network.run)[0]
            say(f"SpikingJelly, {name}: {seconds[name]:.2f} s")
            del network
    best = min(seconds, key=lambda name: seconds[name])
    return best, "channels-last" in best, "multi" in best, seconds


def compare(cases: list[Case], plane: NDArray[np.int32], args: argparse.Namespace) -> dict[str, Any]:
    """Time everybody `args.rounds` times in turns. The peers' work does not depend on the firing rate: a round takes one
    of the cases for them, another each round."""
    torch.set_num_threads(args.threads)
    height, width = plane.shape[2:]
    say("comparing spikes on a crop")
    agreement = [check(case, plane, args.threads) for case in cases]
    say("choosing SpikingJelly's setting")
    setting, channels_last, multi_step, tried = best_setting(cases[0].model, plane)
    models = {(case.name, n): swap(case.model, neuron=n)[0] for case in cases for n in ("if", "mprn")}
    times: dict[str, list[tuple[float, float]]] = {}
    ledgers: dict[tuple[str, str], Ledger] = {}

    def measure(name: str, function: Any) -> Any:
        seconds, used, value = timed(function)
        times.setdefault(name, []).append((seconds, used))
        return value

    for (name, neuron), model in models.items():  # compiled before anything is measured
        ledgers[name, neuron] = run_engine(model, plane, args.threads)
    passes = models[cases[0].name, "if"].spiking.timesteps
    dense = DenseAnn(cases[0].model, plane)
    dense.run()
    pixels = (plane / UNIT).astype(np.float32)
    first = cases[0].model
    ann.run(first.network, first.parameters, pixels, threads=args.threads)
    for number in range(args.rounds):
        case = cases[number % len(cases)]
        say(f"round {number + 1} of {args.rounds}; the peers run {case.name}")
        for (name, neuron), model in models.items():
            for _ in range(args.repeats):
                measure(f"nspike {neuron}, {name}", lambda model=model: run_engine(model, plane, args.threads))
        for _ in range(args.repeats):
            measure("nspike ANN", lambda: ann.run(first.network, first.parameters, pixels, threads=args.threads))
            measure("PyTorch ANN", dense.run)
        if not number:
            measure("PyTorch ANN, T passes", lambda: [dense.run() for _ in range(passes)])
        for neuron in ("if", "mprn"):
            if neuron == "mprn" and number:
                continue
            network = SpikingJelly(peer(models[case.name, neuron], plane, channels_last), multi_step)
            measure(f"SpikingJelly {neuron}", network.run)
            del network
        if not args.no_snntorch:
            snntorch = SnnTorch(peer(models[case.name, "if"], plane, True))
            measure("snnTorch if", snntorch.run)
            del snntorch
    rows = [_row(name, values, times, ledgers) for name, values in times.items()]
    return {
        "rows": rows,
        "SpikingJelly's setting": setting,
        "settings tried, seconds": {k: round(v, 3) for k, v in tried.items()},
        "spikes on a crop of 96×64": agreement,
        "image": f"{width}×{height}, {args.threads} threads, {args.rounds} rounds",
    }


def _row(
    name: str,
    values: list[tuple[float, float]],
    times: dict[str, list[tuple[float, float]]],
    ledgers: dict[tuple[str, str], Ledger],
) -> dict[str, Any]:
    clock, processor = (median([value[i] for value in values]) for i in (0, 1))
    row: dict[str, Any] = {
        "what": name,
        "median s": clock,
        "least s": min(value[0] for value in values),
        "processor s": processor,
        "runs": len(values),
    }
    ours = {f"nspike {neuron}, {case}": ledger for (case, neuron), ledger in ledgers.items()}
    if name in ours:
        ledger = ours[name]
        row["firing %"] = 100 * ledger.firing_rate
        row["G synops/s"] = ledger.synops / clock / 1e9
        for peer_name in ("SpikingJelly if", "snnTorch if", "PyTorch ANN, T passes", "PyTorch ANN"):
            if peer_name in times:
                row[f"× {peer_name}"] = median([value[0] for value in times[peer_name]]) / clock
        if "SpikingJelly if" in times:
            used = median([value[1] for value in times["SpikingJelly if"]])
            row["× SpikingJelly, processor time"] = used / processor
    return row
