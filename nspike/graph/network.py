"""A network: an ordered graph of layer descriptions."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from nspike.errors import ModelError
from nspike.graph import geometry
from nspike.graph.layer import IMAGE, KINDS, Activation, Conv, Driver, Layer
from nspike.graph.mode import MODES, OutputMode

_Kind = TypeVar("_Kind", bound=Layer)


@dataclass(frozen=True)
class Network:
    """An ordered graph: each layer reads layers before it, or the image.

    Parameters
    ----------
    name : the architecture, such as "dncnn".
    channels : of the image that goes in and of the output, 1 or 3.
    layers : in an order in which they can be run.
    output : the name of the last layer, a `Conv` or a `Gate`; its value is the network's output.
    mode : how the output becomes an image, see `nspike.graph.mode`.
    rectify : whether the ANN ends in a ReLU, after `output`.

    Raises ModelError if the graph is inconsistent.
    """

    name: str
    channels: int
    layers: tuple[Layer, ...]
    output: str
    mode: OutputMode
    rectify: bool = False

    def __post_init__(self) -> None:
        known: dict[str, Layer | None] = {IMAGE: None}
        for layer in self.layers:
            if layer.name in known:
                raise self._error(f"two layers are called {layer.name!r}")
            for source in layer.sources:
                if source not in known:
                    raise self._error(f"layer {layer.name!r} reads {source!r}, which is not before it")
            known[layer.name] = layer
        width = self._widths()
        output = known.get(self.output)
        if output is None or geometry.geometry(output).role != "current":
            raise self._error(f"the output {self.output!r} must be a convolution or a gate")
        if self.layers[-1].name != self.output:
            raise self._error(f"the output {self.output!r} must be the last layer")
        if width[self.output] != self.channels:
            raise self._error(f"{width[self.output]} channels come out, {self.channels} go in")
        if self.mode not in MODES:
            raise self._error(f"unknown output mode {self.mode!r}")
        for layer in self.layers:
            for source in layer.sources:
                self._check_edge(layer, source, known[source])

    def _error(self, fault: str) -> ModelError:
        return ModelError(f"network {self.name}: {fault}")

    def _widths(self) -> dict[str, int]:
        """The channels of every layer, each layer checked by itself and against what it reads."""
        width = {IMAGE: self.channels}
        for layer in self.layers:
            kind = geometry.geometry(layer)
            read, expected = sum(width[source] for source in layer.sources), kind.channels(layer)
            if expected is not None and read != expected:
                raise self._error(f"layer {layer.name!r} expects {expected} channels and reads {read}")
            if fault := kind.fault(layer):
                raise self._error(fault)
            width[layer.name] = kind.shape(layer, (read, 1, 1))[0]
        return width

    def _check_edge(self, layer: Layer, source: str, reads: Layer | None) -> None:
        if (None if reads is None else type(reads)) not in geometry.geometry(layer).reads:
            raise self._error(
                f"layer {layer.name!r} ({type(layer).__name__.lower()}) cannot read {source!r}; "
                "a convolution reads the image, activations or a concatenation; an activation reads a convolution; "
                "a concatenation and a gate read activations"
            )

    def layer(self, name: str) -> Layer:
        """The layer called `name`. Raises ModelError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise self._error(f"there is no layer {name!r}")

    def of_kind(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """The layers of one kind, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, kind))

    @property
    def convs(self) -> tuple[Conv, ...]:
        """The convolutions, in order."""
        return self.of_kind(Conv)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activations, in order: the layers of neurons."""
        return self.of_kind(Activation)

    @property
    def drivers(self) -> tuple[Driver, ...]:
        """The layers that give currents, in order: each drives one activation or is the output."""
        return cast(tuple[Driver, ...], tuple(layer for layer in self.layers if self._role(layer) == "current"))

    def _role(self, layer: Layer) -> geometry.Role:
        return geometry.geometry(layer).role

    def activations_into(self, name: str) -> tuple[Activation, ...]:
        """The activations that layer `name` reads, through a concatenation too, in channel order; none for the image."""
        read: list[Activation] = []
        for source in self.layer(name).sources:
            if source == IMAGE:
                continue
            layer = self.layer(source)
            read.extend(self.activations_into(source) if self._role(layer) == "spikes" else [cast(Activation, layer)])
        return tuple(read)

    def consumers(self, name: str) -> tuple[Driver, ...]:
        """The convolutions and gates that read activation `name`, directly or through a concatenation."""
        return tuple(layer for layer in self.drivers if any(a.name == name for a in self.activations_into(layer.name)))

    def halos(self) -> dict[str, int]:
        """For each layer and the image: how many pixels around a tile are needed of it."""
        return geometry.halos(self.layers)

    @property
    def radius(self) -> int:
        """The receptive radius in pixels: how far from a pixel the input can change its output."""
        return self.halos()[IMAGE]

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-accumulates of all convolutions per pixel, the border ignored."""
        return sum(geometry.macs_paper(layer, 1, 1) for layer in self.layers)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates of all convolutions on one image, products with the zero padding not counted."""
        return sum(geometry.macs(layer, height, width) for layer in self.layers)

    @property
    def weights(self) -> int:
        """The number of weights in all kernels, biases not counted."""
        return sum(geometry.weights(layer) for layer in self.layers)

    def changed(self, kind: type[_Kind], change: Callable[[_Kind], Layer]) -> "Network":
        """The same network with every layer of one kind changed."""
        layers = tuple(change(layer) if isinstance(layer, kind) else layer for layer in self.layers)
        return dataclasses.replace(self, layers=layers)

    def rectified(self) -> "Network":
        """The same network with plain ReLUs."""
        return self.changed(Activation, lambda layer: dataclasses.replace(layer, ceiling=None, levels=None))

    def to_dict(self) -> dict[str, Any]:
        """The network as plain values, for a model file; `from_dict` reads it back."""
        layers = [_layer_values(layer) for layer in self.layers]
        return {**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "layers": layers}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Network":
        """The network that `to_dict` described. Raises ModelError on anything unknown or missing."""
        try:
            layers: list[Any] = []
            for entry in values["layers"]:
                fields = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k != "kind"}
                kind: Any = KINDS[entry["kind"]]
                layers.append(kind(**fields))
            return cls(**{**values, "layers": tuple(layers)})
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"the network's description is damaged or of a newer nspike: {error!r}") from error


def _layer_values(layer: Layer) -> dict[str, Any]:
    """A layer as plain values; what a plain ReLU does not have is left out."""
    kind = next(name for name, cls in KINDS.items() if cls is type(layer))
    values = {"kind": kind, **dataclasses.asdict(layer)}
    return {key: value for key, value in values.items() if value is not None or key not in ("ceiling", "levels")}
