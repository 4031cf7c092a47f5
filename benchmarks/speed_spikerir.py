"""`spikerir_lite`, T = 4, on 481×321 RGB: nspike against PyTorch, SpikingJelly and DnCNN; and 12 megapixels by itself.

    python benchmarks/speed_spikerir.py [--neuron lif_hard] [--rounds 5] [--threads 2] [--large] [--json FILE]

Random kernels, thresholds such that each layer of neurons fires at a rate between 10 and 25 %. Everybody runs in turns; the
peers compute in float32, with the same kernels. The image is padded to multiples of 8 by nspike and the peers alike. With
--large an image of 4000×3000 runs in a process of its own, whose peak memory is that of all of it.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _common import WEIGHTS, gray_plane, hazy_plane, median, parser, report, say, timed
from _models import shipped
from _peers import DenseAnn
from _speed import run_engine
from _spikerir import firing, random_model, shared_rates, spikerir_lite
from numpy.typing import NDArray
from torch import Tensor

from nspike.ann import run as ann
from nspike.engine import run as engine
from nspike.engine.program import compiled
from nspike.graph.layer import IMAGE, Activation, Add, ChannelShuffle, Conv, PixelShuffle, PixelUnshuffle
from nspike.images.plane import UNIT
from nspike.integer import rounding
from nspike.model.model import Model
from nspike.registry.parts import head_of, neuron_of
from nspike.registry.plugins import registry

LAYERS: dict[type, Callable[[Any, list[Tensor]], Tensor]] = {
    Add: lambda layer, read: read[0] + read[1],
    PixelShuffle: lambda layer, read: F.pixel_shuffle(read[0], layer.factor),
    PixelUnshuffle: lambda layer, read: F.pixel_unshuffle(read[0], layer.factor),
    ChannelShuffle: lambda layer, read: F.channel_shuffle(read[0], layer.groups),
}


class Neurons:
    """Neurons as modules write them, the same as nspike's: τ = 2, the input decays and hard reset, or IF with soft reset."""

    def __init__(self, theta: float, leaky: bool) -> None:
        self.theta, self.leaky, self.v = theta, leaky, 0.0

    def reset(self) -> None:
        self.v = 0.0 if self.leaky else self.theta / 2

    def __call__(self, current: Tensor) -> Tensor:
        v = self.v + (current - self.v) / 2 if self.leaky else self.v + current
        fired = v >= self.theta
        self.v = v.masked_fill(fired, 0.0) if self.leaky else v - self.theta * fired
        return fired.to(current.dtype)


class SpikingJelly:
    """SpikingJelly's neurons."""

    def __init__(self, theta: float, leaky: bool) -> None:
        from spikingjelly.activation_based import neuron

        kind = neuron.LIFNode(2.0, True, theta, 0.0) if leaky else neuron.IFNode(theta, None)
        self.node, self.start = kind.eval(), 0.0 if leaky else theta / 2

    def reset(self) -> None:
        self.node.reset()
        self.node.v = self.start

    def __call__(self, current: Tensor) -> Tensor:
        return self.node(current)


Node = Callable[[float, bool], Any]


class Peer:
    """The network in PyTorch: plain with ReLU, or as spikes with nodes of one's own choice, a step at a time."""

    def __init__(self, model: Model, plane: NDArray[np.int32], node: Node | None) -> None:
        self.network, self.spiking = model.network, model.spiking
        self.steps = 1 if node is None else model.spiking.timesteps  # type: ignore[union-attr]
        self.image = torch.from_numpy((plane / UNIT).astype(np.float32))
        self.kernels = {name: torch.from_numpy(array) for name, array in model.parameters.items()}
        self.nodes: dict[str, Any] = {}
        for layer in self.network.of_kind(Activation):
            theta = float(self.spiking.thresholds[layer.name][0])  # type: ignore[union-attr]
            self.nodes[layer.name] = F.relu if node is None else node(theta, is_leaky(model))

    def run(self) -> Tensor:
        """The mean of the output over the steps."""
        with torch.inference_mode():
            for node in self.nodes.values():
                if hasattr(node, "reset"):
                    node.reset()
            return torch.stack([self._step() for _ in range(self.steps)]).mean(dim=0)

    def _step(self) -> Tensor:
        values = {IMAGE: self.image}
        for layer in self.network.layers:
            values[layer.name] = self.layer(layer, [values[name] for name in layer.sources])
        return values[self.network.output]

    def layer(self, layer: Any, read: list[Tensor]) -> Tensor:
        """What a layer makes of what it reads."""
        if isinstance(layer, Conv):
            weight, bias = (self.kernels[f"{layer.name}.{part}"] for part in ("weight", "bias"))
            return F.conv2d(read[0], weight, bias, padding=layer.pads[0], groups=layer.groups)
        return self.nodes[layer.name](read[0]) if isinstance(layer, Activation) else LAYERS[type(layer)](layer, read)


def is_leaky(model: Model) -> bool:
    return model.spiking.neuron.startswith("lif")  # type: ignore[union-attr]


def balanced(model: Model, plane: NDArray[np.int32], rates: Mapping[str, float]) -> Model:
    """The same with the threshold of each layer, from the first on, such that it fires at its rate on `plane`.

    In one pass, with float32: each layer's currents of all steps are known once those before it fire as they should.
    """
    assert model.spiking is not None
    thetas, peer, steps = dict(model.spiking.thresholds), Peer(model, plane, None), model.spiking.timesteps
    values = {IMAGE: [peer.image] * steps}
    for layer in model.network.layers:
        read = [values[name] for name in layer.sources]
        if not isinstance(layer, Activation):
            values[layer.name] = [peer.layer(layer, [each[t] for each in read]) for t in range(steps)]
            continue
        low, high = 0.01, 8.0
        for _ in range(12):
            node = Neurons(float(np.sqrt(low * high)), is_leaky(model))
            node.reset()
            values[layer.name] = [node(current) for current in read[0]]
            found = float(torch.stack(values[layer.name]).mean())
            low, high = (node.theta, high) if found > rates[layer.name] else (low, node.theta)
        thetas[layer.name] = np.full(thetas[layer.name].shape, node.theta)
    return model.with_spiking(replace(model.spiking, thresholds=thetas))


def noisy(height: int, width: int) -> NDArray[np.int32]:
    draw, plane = np.random.default_rng(0), hazy_plane(height, width)
    return np.ascontiguousarray(plane + draw.normal(0, 25 / 255 * UNIT, plane.shape), np.int32)


def model_at_rates(neuron: str) -> Model:
    model = random_model(spikerir_lite(), neuron)
    say("finding thresholds")
    return balanced(model, np.ascontiguousarray(noisy(320, 480)[:, :, 96:160, 96:160]), shared_rates(model.network))


def alone(neuron: str, threads: int) -> None:
    """12 megapixels in this process: seconds, and its peak memory in MiB, as JSON."""
    model, plane = model_at_rates(neuron), noisy(3000, 4000)
    run_engine(model, np.ascontiguousarray(plane[..., :64, :64]), threads)
    seconds = timed(lambda: run_engine(model, plane, threads))[0]
    print(json.dumps({"seconds": seconds, "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--neuron", default="lif_hard", choices=["lif_hard", "if"])
    options.add_argument("--size", type=int, nargs=2, default=[481, 321], metavar=("WIDTH", "HEIGHT"))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--no-dncnn", action="store_true", help="leave DnCNN out")
    options.add_argument("--large", action="store_true", help="12 megapixels too")
    options.add_argument("--alone", action="store_true", help="only those, in this process")
    args = options.parse_args()
    if args.alone:
        alone(args.neuron, args.threads)
        return
    torch.set_num_threads(args.threads)
    plane = noisy(*(-(-side // 8) * 8 for side in args.size[::-1]))
    model = model_at_rates(args.neuron)
    head = head_of(model)
    rates = firing(model, registry().neurons[args.neuron], head, plane)
    general = compiled(rounding.build(model, neuron_of(model), head), fuse=False)
    pixels = (plane / UNIT).astype(np.float32)
    runs: dict[str, Callable[[], Any]] = {
        "nspike": lambda: run_engine(model, plane, args.threads),
        "nspike, without flows": lambda: engine.run(general, plane, sink=lambda _: None, threads=args.threads),
        "nspike, plain": lambda: ann.run(model.network, model.parameters, pixels, threads=args.threads),
        "PyTorch, plain": Peer(model, plane, None).run,
        "PyTorch, spiking": Peer(model, plane, Neurons).run,
    }
    try:
        runs["SpikingJelly"] = Peer(model, plane, SpikingJelly).run
    except ImportError:
        say("SpikingJelly is not installed")
    if not args.no_dncnn:
        dncnn, gray = shipped(WEIGHTS / "dncnn-s25.h5"), gray_plane(*args.size[::-1])
        values = (gray / UNIT).astype(np.float32)
        runs["nspike, DnCNN (T = 10, grey)"] = lambda: run_engine(dncnn, gray, args.threads)
        runs["nspike, DnCNN, plain"] = lambda: ann.run(dncnn.network, dncnn.parameters, values, threads=args.threads)
        runs["PyTorch, DnCNN, plain"] = DenseAnn(dncnn, gray).run
    for function in runs.values():  # compiled, and memory taken, before anything is measured
        function()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for i in range(args.rounds):
        say(f"round {i + 1} of {args.rounds}")
        for name, function in runs.items():
            times[name].append(timed(function)[:2])
    first = median([seconds for seconds, _ in times["nspike"]])
    rows = []
    for name, each in times.items():
        clock, processor = (median([value[i] for value in each]) for i in (0, 1))
        rows.append(
            {
                "what": name,
                "median s": clock,
                "least s": min(each)[0],
                "processor s": processor,
                "over nspike": clock / first,
            }
        )
    more: dict[str, Any] = {
        "firing rate": float(np.mean(list(rates.values()))),
        "image": f"{args.size[0]}×{args.size[1]}",
    }
    if args.large:
        say("12 megapixels")
        command = [sys.executable, __file__, "--alone", "--neuron", args.neuron, "--threads", str(args.threads)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        more["12 megapixels"] = json.loads(done.stdout) | {"with thresholds, s": time.perf_counter() - start}
    report(args, f"spikerir_lite, {args.neuron}, T = 4, {args.threads} threads", rows, **more)


if __name__ == "__main__":
    main()
