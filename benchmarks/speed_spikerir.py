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
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _common import WEIGHTS, gray_plane, hazy_plane, median, parser, report, say, timed
from _models import shipped
from _peers import DenseAnn
from _speed import run_engine
from _spikerir import balanced, firing, random_model, shared_rates, spikerir_lite
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


class Peer:
    """The network in PyTorch: plain with ReLU, or as spikes with nodes of one's own choice, a step at a time."""

    def __init__(self, model: Model, plane: NDArray[np.int32], node: Callable[[float], Any] | None) -> None:
        self.network, self.steps = model.network, 1 if node is None else model.spiking.timesteps  # type: ignore[union-attr]
        self.image = torch.from_numpy((plane / UNIT).astype(np.float32))
        self.kernels = {name: torch.from_numpy(array) for name, array in model.parameters.items()}
        names = [layer.name for layer in model.network.layers if isinstance(layer, Activation)]
        thetas = {name: float(model.spiking.thresholds[name][0]) for name in names}  # type: ignore[union-attr]
        self.nodes = {name: F.relu if node is None else node(thetas[name]) for name in names}

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
            read = [values[name] for name in layer.sources]
            if isinstance(layer, Conv):
                weight, bias = (self.kernels[f"{layer.name}.{part}"] for part in ("weight", "bias"))
                values[layer.name] = F.conv2d(read[0], weight, bias, padding=layer.pads[0], groups=layer.groups)
            elif isinstance(layer, Activation):
                values[layer.name] = self.nodes[layer.name](read[0])
            else:
                values[layer.name] = LAYERS[type(layer)](layer, read)
        return values[self.network.output]


class Lif:
    """τ = 2, the input decays, hard reset."""

    def __init__(self, theta: float) -> None:
        self.theta, self.v = theta, 0.0

    def reset(self) -> None:
        self.v = 0.0

    def __call__(self, current: Tensor) -> Tensor:
        v = self.v + (current - self.v) / 2
        fired = v >= self.theta
        self.v = v.masked_fill(fired, 0.0)
        return fired.to(current.dtype)


def spikingjelly(theta: float) -> Any:
    from spikingjelly.activation_based import neuron

    return neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=theta, v_reset=0.0).eval()


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
        "PyTorch, spiking": Peer(model, plane, Lif).run,
    }
    try:
        runs["SpikingJelly"] = Peer(model, plane, spikingjelly).run
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
