"""A spiking network in the Neuromorphic Intermediate Representation (NIR), for one size of image.

Numbers are the integers that decide the spikes, over their grids' powers of two, so that float32 holds them exactly. NIR says
convolution, sums (several edges into a node) and neurons; it has no enlargement, so that a network of several sizes has no
place in it. For what it has no word for there is metadata, on each
layer of neurons: `fires` (">=": at the threshold), `reset` ("subtract" or "zero"), `v0` (C,) where membranes do not start
empty; on a convolution of the image `grid` (C,), the power of two to which its current is rounded; on the graph T, the
mode and what the output is multiplied by. What cannot be said so is refused by name.
"""

import io
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import Neuron
from nspike.errors import ModelError, UsageError
from nspike.files.atomic import write_bytes
from nspike.graph.geometry import Shape
from nspike.graph.layer import IMAGE, Activation, Add, Conv, Layer
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.rounding import IntegerNetwork, Stage, build, given_values
from nspike.model.model import OUTPUT, Model, spiking_of
from nspike.registry.parts import head_of, neuron_of
from nspike.runtime.words import counted

HEADS = ("membrane", "rate")


def export_nir(model: Model, path: str | os.PathLike[str], height: int, width: int) -> list[str]:
    """Write a spiking model as a NIR graph for images of this size; returns its nodes' names.

    Raises UsageError without the package `nir`, or for a size that the network does not divide; ModelError that lists what
    NIR cannot say.
    """
    try:
        import nir
    except ModuleNotFoundError as error:
        raise UsageError(
            'a NIR graph is written with the package nir, which is not installed; pip install "nspike[nir]"'
        ) from error
    multiple = model.network.size_multiple
    if height % multiple or width % multiple or min(height, width) < multiple:
        raise UsageError(f"the network takes sizes that {multiple} divides, not {height}×{width}")
    integers = build(model, neuron_of(model), head_of(model))
    if faults := _unsayable(model, integers):
        listed = "".join(f"\n  {fault}" for fault in faults)
        raise ModelError(f"model {model.info.name} cannot be said in NIR:{listed}")
    graph = _Graph(nir, model, integers, height, width)
    content = io.BytesIO()
    nir.write(content, graph.build())
    write_bytes(path, content.getvalue())
    return list(graph.nodes)


def _unsayable(model: Model, integers: IntegerNetwork) -> list[str]:
    """What NIR has no word for, a line each."""
    faults: list[str] = []
    stages = [stage for stage in integers.stages if stage.name != OUTPUT or integers.head.fires]
    for neuron in {stage.neuron.name: stage.neuron for stage in stages}.values():
        if why := _odd(neuron, [stage for stage in stages if stage.neuron.name == neuron.name]):
            faults.append(f"neuron {neuron.name}: {why}; --if exports the integrate-and-fire form instead")
    if integers.head.name not in HEADS:
        faults.append(
            f"head {integers.head.name}: NIR ends in a current or in spikes; --if exports the integrate-and-fire form, of head "
            "membrane, instead"
        )
    for layer in model.network.layers:
        if type(layer) not in _NODES:
            faults.append(f"layer {layer.name!r}: NIR has no {type(layer).__name__}")
    return faults


def _odd(neuron: Neuron, stages: list[Stage]) -> str:
    """Why a neuron is neither IF nor LIF; empty if it is."""
    if neuron.step is not None:
        return "it has a kernel of its own"
    if neuron.post_steps:
        return f"it fires in {counted(neuron.post_steps, 'more step')} after T"
    if neuron.planes != (1,):
        return f"it has spikes of several worths, {neuron.planes}"
    if any(np.any(s.threshold != s.integer.theta) or np.any(s.reset != s.integer.theta) for s in stages):
        return "its threshold, or what a spike is worth, changes from step to step"
    return "" if not any(np.any(s.threshold == NEVER_FIRES) for s in stages) else "it is silent at some steps"


class _Graph:
    """The nodes and edges while they are made."""

    def __init__(self, nir: Any, model: Model, integers: IntegerNetwork, height: int, width: int) -> None:
        self.nir, self.model, self.integers = nir, model, integers
        self.shapes = model.network.shapes(height, width)
        self.nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(self.shapes[IMAGE])})}
        self.edges: list[tuple[str, str]] = []
        self.reads: dict[str, tuple[str, ...]] = {IMAGE: ("input",)}
        self.exponents: dict[str, NDArray[np.int64]] = {}

    def build(self) -> Any:
        """The graph."""
        network, spiking = self.model.network, spiking_of(self.model)
        for layer in network.layers:
            _NODES[type(layer)](self, layer)
        ends, shape = self.reads[network.output], self.shapes[network.output]
        if self.integers.head.fires:
            self.nodes[OUTPUT + "_neurons"] = self._neurons(self.integers.stage(OUTPUT), shape)
            self._join(ends, OUTPUT + "_neurons")
            ends = (OUTPUT + "_neurons",)
        self.nodes["output"] = self.nir.Output({"output": np.array(shape)})
        self._join(ends, "output")
        metadata = {
            "timesteps": self.integers.timesteps,
            "mode": network.mode,
            "output_scale": np.asarray(spiking.scales[OUTPUT], np.float64),
            "model": self.model.info.name,
            "head": self.integers.head.name,
        }
        return self.nir.NIRGraph(self.nodes, self.edges, metadata=metadata)

    def _join(self, sources: tuple[str, ...], target: str) -> None:
        self.edges += [(source, target) for source in sources]

    def _read(self, layer: Layer) -> None:
        """The edges into a layer's node, and the node as its value."""
        for source in layer.sources:
            self._join(self.reads[source], layer.name)
        self.reads[layer.name] = (layer.name,)

    def conv(self, conv: Conv) -> None:
        """A convolution: the exact floats of its integers."""
        stage = next((s for s in self.integers.stages if s.fused and s.layer.name == conv.name), None)
        parts = self.integers.writer(conv.name) if stage is None else stage.integer
        exponent = np.asarray(parts.exponent)
        _, height, width = self.shapes[conv.source]
        if any((n + 2 * conv.pads[0] - conv.span - 1) // conv.stride + 1 != n // conv.stride for n in (height, width)):
            raise ModelError(
                f"model {self.model.info.name} cannot be said in NIR:\n  layer {conv.name!r}: it is padded by {conv.pads}, "
                "before and after unlike"
            )
        of_image = not (self.integers.writer(conv.name).sources if stage is None else stage.sources)
        self.nodes[conv.name] = self.nir.Conv2d(
            input_shape=(height, width),
            weight=np.ldexp(_dense(parts.weights[0], conv.groups), -exponent[:, None, None, None].astype(np.int32)),
            stride=conv.stride,
            padding=conv.pads[0],
            dilation=conv.dilation,
            groups=1,
            bias=np.ldexp(parts.bias.astype(np.float32), -exponent.astype(np.int32)),
            metadata={"grid": exponent} if of_image else {},
        )
        self._read(conv)

    def add(self, add: Add) -> None:
        """A sum has no node: what reads it is reached by all that is added."""
        self.reads[add.name] = tuple(node for source in add.sources for node in self.reads[source])

    def activation(self, activation: Activation) -> None:
        """A layer of neurons."""
        self.nodes[activation.name] = self._neurons(self.integers.stage(activation.name), self.shapes[activation.name])
        self._read(activation)

    def _neurons(self, stage: Stage, shape: Shape) -> Any:
        exponent = stage.integer.exponent.astype(np.int32)

        def each(values: Any) -> NDArray[np.float32]:
            return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32).reshape(-1, 1, 1), shape))

        metadata: dict[str, Any] = {"fires": ">=", "reset": stage.neuron.reset}
        if stage.v0.any():
            metadata["v0"] = np.ldexp(stage.v0.astype(np.float64), -exponent)
        theta = each(np.ldexp(stage.integer.theta.astype(np.float64), -exponent))
        values: Mapping[str, float] = {}
        if stage.name != OUTPUT:
            values = stage.neuron.values(given_values(spiking_of(self.model), stage.neuron, stage.name))
        keep = 1.0 if stage.neuron.keep is None else stage.neuron.keep(values)
        factor = 1.0 if stage.neuron.input_factor is None else stage.neuron.input_factor(values)
        if keep == 1.0:
            return self.nir.IF(r=each(factor), v_threshold=theta, metadata=metadata)
        tau = 1.0 / (1.0 - keep)
        leak = {"tau": each(tau), "r": each(factor * tau), "v_leak": each(0.0)}
        return self.nir.LIF(**leak, v_threshold=theta, metadata=metadata)


def _dense(weights: NDArray[np.int16], groups: int) -> NDArray[np.float32]:
    """A kernel of groups as one of a single group, with zeros between: the package's own checks know no groups."""
    outputs, inputs = weights.shape[0] // groups, weights.shape[1]
    full = np.zeros((weights.shape[0], inputs * groups, *weights.shape[2:]), np.float32)
    for g in range(groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        full[rows, g * inputs : (g + 1) * inputs] = weights[rows]
    return full


_NODES: dict[type[Layer], Callable[[_Graph, Any], None]] = {
    Conv: _Graph.conv,
    Add: _Graph.add,
    Activation: _Graph.activation,
}
"""How each kind of layer that NIR knows becomes nodes."""
