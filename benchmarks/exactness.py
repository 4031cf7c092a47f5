"""Spikes of a whole image: nspike's engine against a float64 simulation in PyTorch, counting those that differ.

    python benchmarks/exactness.py [--models weights/dncnn-s25.h5 weights/aodnet.h5] [--threads 2]

The simulation knows only the integers that a model file holds (`nspike.integer.rounding.as_arrays`) and the network's graph: each
number is w_int·2^-k, an ordinary float64, and every sum of them is exact. The exit status is 1 if a spike differs.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _common import WEIGHTS, gray_plane, hazy_plane, parser, report, say
from _models import integers, shipped
from numpy.typing import NDArray
from torch import Tensor

from nspike.engine import run as engine
from nspike.engine.program import program_of
from nspike.engine.tile import LayerSpikes
from nspike.engine.window import Part
from nspike.graph.layer import Conv
from nspike.integer.rounding import as_arrays
from nspike.model.model import OUTPUT, Model
from nspike.registry.parts import head_of, neuron_of

NEVER = 2**31 - 1


class Simulation:
    """One model on one image, layer by layer, all steps."""

    def __init__(self, model: Model, plane: NDArray[np.int32]) -> None:
        network = integers(model)
        self.numbers = as_arrays(network)
        self.sources = {stage.name: stage.sources for stage in network.stages}
        self.radius = {s.name: s.layer.kernel // 2 for s in network.stages if isinstance(s.layer, Conv)}
        self.timesteps, self.steps = network.timesteps, network.steps
        self.plane = torch.from_numpy(plane.astype(np.float64))
        self.trains: dict[str, Tensor] = {}
        self.charge: Tensor | None = None

    def run(self, name: str) -> Tensor:
        """The spikes of a layer, bool (steps, C, H, W)."""
        numbers = self.numbers[name]
        grid = torch.from_numpy(np.ldexp(1.0, -numbers["exponent"]))[:, None, None]

        def floats(key: str) -> Tensor:
            return torch.from_numpy(numbers[key].astype(np.float64)) * grid[:, 0, 0]

        bias, threshold, reset = floats("bias")[:, None, None], floats("threshold"), floats("reset")
        v = floats("v0")[:, None, None]
        constant = self._constant(name, grid) if not self.sources[name] else None
        spikes, charge = [], None
        for t in range(self.steps):
            late = t >= self.timesteps
            current = self._current(name, t, grid, constant)
            if not late:
                current = current + bias
            charge = current if charge is None else charge + current
            v = v + current
            silent = torch.from_numpy(numbers["threshold"][t] == NEVER)
            fired = (v >= threshold[t][:, None, None]) & ~silent[:, None, None]
            v = v - fired * reset[t][:, None, None]
            spikes.append(fired)
        self.charge = charge
        self.trains[name] = torch.stack(spikes)
        return self.trains[name]

    def _constant(self, name: str, grid: Tensor) -> Tensor:
        """The image's current: exact in float64 as integers, divided and rounded once."""
        weights = torch.from_numpy(self.numbers[name]["weights"][0].astype(np.float64))
        total = F.conv2d(self.plane, weights, padding=self.radius[name])[0]
        return torch.round(total / 65535.0) * grid

    def _current(self, name: str, t: int, grid: Tensor, constant: Tensor | None) -> Tensor:
        late = t >= self.timesteps
        if constant is not None:
            return torch.zeros_like(constant) if late else constant
        read = torch.cat([self.trains[s][t] for s in self.sources[name]]).double()
        if name not in self.radius:
            gate = self.numbers[name]["gate"]
            weight = (self.plane[0] / 65535.0 - 1.0) * torch.from_numpy(gate)[:, None, None]
            return read * (torch.round(weight / grid) * grid)
        kernels = self.numbers[name]["weights"]
        kernel = torch.from_numpy(kernels[-1 if late else 0].astype(np.float64)) * grid[..., None]
        return F.conv2d(read[None], kernel, padding=self.radius[name])[0]

    def forget(self, done: str) -> None:
        """Drop what no later layer reads."""
        names = list(self.numbers)
        later = names[names.index(done) + 1 :]
        for name in [n for n in self.trains if all(n not in self.sources[other] for other in later)]:
            del self.trains[name]


def compare(model: Model, plane: NDArray[np.int32], threads: int) -> dict[str, Any]:
    """Run both, layer by layer, in turns."""
    simulation = Simulation(model, plane)
    total = {"spikes": 0, "differing": 0, "layers": 0}
    outputs: dict[str, NDArray[np.float64]] = {}
    taken = 0.0

    def observe(seen: LayerSpikes) -> None:
        nonlocal taken
        layer, spikes = seen.layer, seen.dense()
        start = time.perf_counter()
        expected = simulation.run(layer).numpy()
        if spikes.shape != expected.shape:
            raise SystemExit("the image does not fit one tile; give a smaller one")
        total["layers"] += 1
        total["spikes"] += int(expected.sum())
        total["differing"] += int(np.count_nonzero(spikes != expected))
        simulation.forget(layer)
        taken += time.perf_counter() - start

    def keep(part: Part) -> None:
        outputs["engine"] = part.output

    start = time.perf_counter()
    engine.run(
        program_of(model, neuron_of(model), head_of(model)),
        plane,
        sink=keep,
        threads=threads,
        memory=4 << 30,
        observer=observe,
    )
    assert model.spiking is not None
    assert simulation.charge is not None
    row = {
        "model": model.info.name,
        "neuron": model.spiking.neuron,
        "head": model.spiking.head,
        "layers": total["layers"],
        "spikes": total["spikes"],
        "differing": total["differing"],
    }
    if not head_of(model).fires:
        scale = model.spiking.scales[OUTPUT][:, None, None]
        expected = simulation.charge.numpy() / simulation.timesteps * scale
        row["outputs differing"] = int(np.count_nonzero(outputs["engine"] != expected))
    row["float64 s"], row["engine s"] = taken, time.perf_counter() - start - taken
    return row


def main() -> None:
    args = parser(__doc__)
    args.add_argument("--models", nargs="+", default=[str(WEIGHTS / "dncnn-s25.h5"), str(WEIGHTS / "aodnet.h5")])
    args.add_argument("--width", type=int, default=481)
    args.add_argument("--height", type=int, default=321)
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for path in args.models:
        for neuron in ("if", "mprn"):
            say(f"{Path(path).name}, {neuron}")
            model = shipped(path, neuron)
            size = (args.height, args.width)
            plane = gray_plane(*size) if model.network.channels == 1 else hazy_plane(*size)
            rows.append(compare(model, np.ascontiguousarray(plane), args.threads))
    report(args, f"Spikes against float64, {args.width}×{args.height}", rows)
    sys.exit(any(row["differing"] or row.get("outputs differing") for row in rows))


if __name__ == "__main__":
    main()
