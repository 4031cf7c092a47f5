"""The same spiking network in SpikingJelly and snnTorch, and the ANN in PyTorch: built from nspike's integers.

w_int·2^-k is an ordinary float32, and so is each sum of them, so the peers see the same numbers and have the same
thresholds. Where those differ between channels, snnTorch takes them as they are, as a tensor (1, C, 1, 1); SpikingJelly's
kernel takes one number, so kernels, biases and membranes are divided by θ, which is inexact: its spikes may then differ where a
sum is within rounding of θ. What does not change over time, the first layer's current, is computed once and not timed: in the
peers' favour.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from _models import integers
from numpy.typing import NDArray
from torch import Tensor, nn

from nspike.graph.layer import Conv, Gate
from nspike.images.plane import UNIT
from nspike.integer.rounding import Stage
from nspike.model.model import OUTPUT, Model


@dataclass
class Layer:
    """A convolution or gate with its neurons. `conv` is the kernel (its bias apart); `current` is the first layer's.

    threshold : up to T; release : in the post step, None without one.
    """

    name: str
    sources: tuple[str, ...]
    kernel: Tensor | None
    bias: Tensor
    gate: Tensor | None
    current: Tensor | None
    v0: Tensor
    padding: int
    threshold: float | Tensor
    release: float | Tensor | None


@dataclass
class Peer:
    """A network to be run by a peer: layers, T, whether there is a post step, and whether the output layer fires."""

    layers: list[Layer]
    timesteps: int
    release: bool
    output_fires: bool
    channels_last: bool
    counts: dict[str, int] = field(default_factory=dict)


def peer(model: Model, plane: NDArray[np.int32], channels_last: bool) -> Peer:
    """Read a model's integers for one image."""
    network = integers(model)
    fires = [stage.name != OUTPUT or network.head.fires for stage in network.stages]
    layers = [
        _layer(stage, plane, channels_last, *(_thresholds(stage, network.timesteps) if fired else (1.0, None)))
        for stage, fired in zip(network.stages, fires, strict=True)
    ]
    return Peer(layers, network.timesteps, bool(network.post_steps), network.head.fires, channels_last)


def _thresholds(stage: Stage, timesteps: int) -> tuple[float | Tensor, float | Tensor | None]:
    """The thresholds up to T and after it. Raises SystemExit where a peer has no such neuron."""
    one = np.ldexp(1.0, stage.integer.exponent)
    steps = stage.threshold / one
    theta = stage.integer.theta / one
    if not np.all(steps[:timesteps] == theta) or len(steps) > timesteps + 1:
        raise SystemExit(
            f"layer {stage.name}: the peers are run with integrate-and-fire neurons and at most one post step"
        )
    return _one_or_each(theta), _one_or_each(steps[timesteps]) if len(steps) > timesteps else None


def _one_or_each(values: NDArray[np.float64]) -> float | Tensor:
    """A number where all channels have it, else a tensor (1, C, 1, 1)."""
    if np.all(values == values[0]):
        return float(values[0])
    return torch.from_numpy(values).float()[None, :, None, None]


def _layer(
    stage: Stage,
    plane: NDArray[np.int32],
    channels_last: bool,
    threshold: float | Tensor,
    release: float | Tensor | None,
) -> Layer:
    exponent = stage.integer.exponent
    kernel = gate = current = None
    bias = np.ldexp(stage.integer.bias.astype(np.float64), -exponent)[None, :, None, None]
    padding = 0
    if isinstance(stage.layer, Conv):
        weights = np.ldexp(stage.integer.weights[0].astype(np.float64), -exponent[:, None, None, None])
        kernel, padding = torch.from_numpy(weights), stage.layer.radius
    if isinstance(stage.layer, Gate):
        pixels = (plane[0] / UNIT - 1.0) * stage.gate[:, None, None]
        scale = np.ldexp(1.0, exponent)[:, None, None]
        gate = torch.from_numpy(np.rint(pixels * scale) / scale)[None]
    elif not stage.sources:
        total = F.conv2d(
            torch.from_numpy(plane.astype(np.float64)),
            torch.from_numpy(stage.integer.weights[0].astype(np.float64)),
            padding=padding,
        )
        rounded = np.rint(total.numpy() / UNIT) * np.ldexp(1.0, -exponent)[:, None, None]
        current = torch.from_numpy(rounded + bias)
    v0 = np.ldexp(stage.v0.astype(np.float64), -exponent)[None, :, None, None]

    def laid(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        form = torch.channels_last if channels_last else torch.contiguous_format
        return tensor.float().contiguous(memory_format=form)

    biased = torch.from_numpy(bias).float()
    start = torch.from_numpy(v0).float()
    return Layer(
        stage.name,
        stage.sources,
        laid(kernel),
        biased,
        laid(gate),
        laid(current),
        start,
        padding,
        threshold,
        release,
    )


def _drive(layer: Layer, spikes: dict[str, Tensor], late: bool) -> Tensor:
    """The current of a layer from its sources' spikes; without the bias in a post step."""
    read = spikes[layer.sources[0]] if len(layer.sources) == 1 else torch.cat([spikes[s] for s in layer.sources], dim=1)
    if layer.gate is not None:
        return read * layer.gate if late else read * layer.gate + layer.bias
    return F.conv2d(read, layer.kernel, None if late else layer.bias.flatten(), padding=layer.padding)


def _start(layer: Layer, like: Tensor) -> Tensor:
    return torch.zeros_like(like) + layer.v0


def _shape(network: Peer) -> tuple[int, int]:
    first = next(layer.current for layer in network.layers if layer.current is not None)
    return first.shape[2], first.shape[3]


def _zeros(network: Peer, layer: Layer) -> Tensor:
    form = torch.channels_last if network.channels_last else torch.contiguous_format
    return torch.zeros((1, layer.v0.shape[1], *_shape(network))).contiguous(memory_format=form)


def single_step(network: Peer, nodes: dict[str, Callable[[Tensor], Tensor]], count: bool) -> Tensor:
    """Step by step through the whole network; the mean current of the output layer, or its spikes' mean."""
    total: Tensor | None = None
    network.counts = {layer.name: 0 for layer in network.layers}
    for t in range(network.timesteps + (1 if network.release else 0)):
        late = t >= network.timesteps
        spikes: dict[str, Tensor] = {}
        for layer in network.layers:
            if layer.current is not None:
                current = torch.zeros_like(layer.current) if late else layer.current
            else:
                current = _drive(layer, spikes, late)
            if layer.name == OUTPUT and (late or not network.output_fires):
                total = current if total is None else total + current
                continue
            spikes[layer.name] = nodes[layer.name](current, late)
            if count:
                network.counts[layer.name] += int(spikes[layer.name].sum())
        if network.output_fires and not late:
            total = spikes[OUTPUT] if total is None else total + spikes[OUTPUT]
    return total / network.timesteps


def _scaled(layer: Layer) -> Layer:
    """The layer in units of its thresholds, which become 1, and those of the release a number."""
    theta = layer.threshold
    if not isinstance(theta, Tensor):
        return layer

    def divided(tensor: Tensor | None, by: Tensor = theta) -> Tensor | None:
        return None if tensor is None else tensor / by

    release = None if layer.release is None else float((layer.release / theta).mean())
    return replace(
        layer,
        kernel=divided(layer.kernel, theta.reshape(-1, 1, 1, 1)),
        bias=divided(layer.bias),
        gate=divided(layer.gate),
        current=divided(layer.current),
        v0=divided(layer.v0),
        threshold=1.0,
        release=release,
    )


class SpikingJelly:
    """SpikingJelly's IFNode, soft reset, evaluation mode, torch's kernels (its others are for GPUs)."""

    def __init__(self, network: Peer, multi_step: bool) -> None:
        from spikingjelly.activation_based import functional, neuron

        network = replace(network, layers=[_scaled(layer) for layer in network.layers])
        self.network, self.multi_step, self.reset = network, multi_step, functional.reset_net
        mode = "m" if multi_step else "s"
        self.nodes = nn.ModuleDict(
            {
                layer.name: neuron.IFNode(v_threshold=1.0, v_reset=None, step_mode=mode).eval()
                for layer in network.layers
                if layer.name != OUTPUT or network.output_fires
            }
        )

    def run(self, count: bool = False) -> Tensor:
        with torch.inference_mode():
            self.reset(self.nodes)
            for layer in self.network.layers:
                if layer.name in self.nodes:
                    self.nodes[layer.name].v_threshold = layer.threshold
                    if bool(layer.v0.any()):
                        self.nodes[layer.name].v = _start(layer, _zeros(self.network, layer))
            if self.multi_step:
                return self._layer_by_layer(count)
            return single_step(self.network, {n: self._step(n) for n in self.nodes}, count)

    def _step(self, name: str) -> Callable[[Tensor, bool], Tensor]:
        node = self.nodes[name]
        release = next(layer.release for layer in self.network.layers if layer.name == name)

        def step(current: Tensor, late: bool) -> Tensor:
            if late:
                node.v_threshold = release
            return node(current)

        return step

    def _layer_by_layer(self, count: bool) -> Tensor:
        network = self.network
        steps = network.timesteps
        network.counts = {layer.name: 0 for layer in network.layers}
        trains: dict[str, Tensor] = {}
        for layer in network.layers:
            if layer.current is not None:
                early = layer.current.unsqueeze(0).expand(steps, -1, -1, -1, -1)
                late = torch.zeros_like(layer.current)[None]
            else:
                early = _drive(layer, {s: trains[s][:steps].flatten(0, 1) for s in layer.sources}, False).unsqueeze(1)
                if network.release:
                    late = _drive(layer, {s: trains[s][steps:].flatten(0, 1) for s in layer.sources}, True).unsqueeze(1)
            if layer.name == OUTPUT and not network.output_fires:
                total = early.sum(dim=0)
                return (total + late[0] if network.release else total) / steps
            fired = self.nodes[layer.name](early)
            if network.release and layer.name != OUTPUT:
                self.nodes[layer.name].v_threshold = layer.release
                fired = torch.cat([fired, self.nodes[layer.name](late)])
            if count:
                network.counts[layer.name] = int(fired.sum())
            trains[layer.name] = fired
            for name in [n for n in trains if not _read_later(network, layer.name, n)]:
                if name != OUTPUT:
                    del trains[name]
        return trains[OUTPUT].mean(dim=0)


def _read_later(network: Peer, now: str, name: str) -> bool:
    names = [layer.name for layer in network.layers]
    return any(name in layer.sources for layer in network.layers[names.index(now) + 1 :])


class SnnTorch:
    """snnTorch's Leaky with β = 1 and reset by subtraction: integrate-and-fire that fires above θ, not at it."""

    def __init__(self, network: Peer) -> None:
        import snntorch

        if network.release:
            raise SystemExit("snnTorch is run with integrate-and-fire neurons")
        self.network = network
        self.nodes = {
            layer.name: snntorch.Leaky(beta=1.0, threshold=layer.threshold, reset_mechanism="subtract").eval()
            for layer in network.layers
            if layer.name != OUTPUT or network.output_fires
        }

    def run(self, count: bool = False) -> Tensor:
        with torch.inference_mode():
            layers = {layer.name: layer for layer in self.network.layers}
            memories = {n: _start(layers[n], _zeros(self.network, layers[n])) for n in self.nodes}

            def stepping(name: str) -> Callable[[Tensor, bool], Tensor]:
                def step(current: Tensor, late: bool) -> Tensor:
                    spike, memories[name] = self.nodes[name](current, memories[name])
                    return spike

                return step

            return single_step(self.network, {n: stepping(n) for n in self.nodes}, count)


class DenseAnn:
    """The plain ANN in PyTorch, channels last."""

    def __init__(self, model: Model, plane: NDArray[np.int32]) -> None:
        self.network = model.network
        self.parameters = {
            k: torch.from_numpy(v).contiguous(memory_format=torch.channels_last)
            if v.ndim == 4
            else torch.from_numpy(np.array(v))
            for k, v in model.parameters.items()
        }
        image = torch.from_numpy((plane / UNIT).astype(np.float32))
        self.image = image.contiguous(memory_format=torch.channels_last)

    def run(self) -> Tensor:
        values = {"image": self.image}
        with torch.inference_mode():
            for layer in self.network.layers:
                read = [values[s] for s in layer.sources]
                if isinstance(layer, Conv):
                    weight, bias = (self.parameters.get(f"{layer.name}.{part}") for part in ("weight", "bias"))
                    values[layer.name] = F.conv2d(read[0], weight, bias, padding=layer.radius)
                elif isinstance(layer, Gate):
                    values[layer.name] = read[0] * (self.image - 1) + 1
                elif len(read) > 1:
                    values[layer.name] = torch.cat(read, dim=1)
                else:
                    values[layer.name] = F.relu(read[0])
            return values[self.network.output]
