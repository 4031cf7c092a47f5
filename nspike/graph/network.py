"""A network: an ordered graph of layer descriptions."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeVar, cast

from nspike.errors import ModelError
from nspike.graph import geometry
from nspike.graph.layer import ALWAYS_WRITTEN, IMAGE, KINDS, Activation, Constant, Conv, Driver, Layer
from nspike.graph.mode import MODES, OutputMode
from nspike.graph.values import not_spiking

_Kind = TypeVar("_Kind", bound=Layer)


@dataclass(frozen=True)
class Network:
    """An ordered graph: each layer reads layers before it, or the image.

    Parameters
    ----------
    name : the architecture, such as "dncnn".
    channels : of the image that goes in and of the output, 1 or 3.
    layers : in an order in which they can be run.
    output : the name of the last layer; its value is the network's output.
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
        if not self.layers or self.layers[-1].name != self.output:
            raise self._error(f"the output {self.output!r} must be the last layer")
        self._check_layers()
        if self.widths[self.output] != self.channels:
            raise self._error(f"{self.widths[self.output]} channels come out, {self.channels} go in")
        if self.mode not in MODES:
            raise self._error(f"unknown output mode {self.mode!r}")
        scale = self.scales[self.output]
        if scale is None or scale.denominator != 1 or (self.mode != "image" and scale != 1):
            raise self._error(f"the output is {scale} times as high as the image, which mode {self.mode!r} cannot use")

    def _error(self, fault: str) -> ModelError:
        return ModelError(f"network {self.name}: {fault}")

    def _check_layers(self) -> None:
        """Each layer by itself, and against what it reads."""
        width = {IMAGE: self.channels}
        for layer in self.layers:
            kind = geometry.geometry(layer)
            read = [width[source] for source in layer.sources]
            expected = kind.expects(layer, len(read))
            if expected is not None and read != list(expected):
                raise self._error(
                    f"layer {layer.name!r} expects {_numbers(expected)} channels and reads {_numbers(read)}"
                )
            if fault := kind.fault(layer, read):
                raise self._error(fault)
            width[layer.name] = kind.channels(layer, read)
        for layer in self.layers:
            self._check_sizes(layer)
        for conv in self.convs:
            if conv.tied is not None:
                self._check_tied(conv)

    def _check_sizes(self, layer: Layer) -> None:
        read = {source: self.scales[source] for source in layer.sources}
        if len(set(read.values()) - ({None} if geometry.geometry(layer).broadcasts else set())) > 1:
            listed = ", ".join(f"{source!r} {scale or 'one value'}" for source, scale in read.items())
            raise self._error(f"layer {layer.name!r} reads layers of different sizes, relative to the image: {listed}")

    def _check_tied(self, conv: Conv) -> None:
        owner = next((other for other in self.convs if other.name == conv.tied), None)
        if (
            owner is None
            or owner.tied is not None
            or owner.batch_norm_eps is not None
            or conv.batch_norm_eps is not None
        ):
            raise self._error(
                f"layer {conv.name!r} uses the weights of {conv.tied!r}, which has none of its own to share"
            )
        if (owner.kernel_shape, owner.bias) != (conv.kernel_shape, conv.bias):
            raise self._error(f"layers {conv.name!r} and {conv.tied!r} share weights of different shapes")

    def layer(self, name: str) -> Layer:
        """The layer called `name`. Raises ModelError if there is none."""
        if name not in self._by_name:
            raise self._error(f"there is no layer {name!r}")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def of_kind(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """The layers of one kind, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, kind))

    @cached_property
    def convs(self) -> tuple[Conv, ...]:
        """The convolutions, in order."""
        return self.of_kind(Conv)

    @cached_property
    def activations(self) -> tuple[Activation, ...]:
        """The activations, in order: the layers of neurons."""
        return self.of_kind(Activation)

    @cached_property
    def widths(self) -> dict[str, int]:
        """The channels of every layer, and of the image."""
        return geometry.widths(self.layers, self.channels)

    @cached_property
    def scales(self) -> dict[str, Fraction | None]:
        """The height of every layer over the image's; None for one value over the whole image."""
        return geometry.scales(self.layers)

    @property
    def scale(self) -> int:
        """How many times as high and wide as the image the output is."""
        return int(self.scales[self.output] or 1)

    @cached_property
    def size_multiple(self) -> int:
        """Heights and widths that it runs on are multiples of this; other images are padded."""
        return geometry.size_multiple(self.layers)

    @cached_property
    def is_spiking(self) -> bool:
        """Whether it can run as spikes as it is, see `nspike.graph.values`."""
        return not not_spiking(self.layers, self.output)

    @property
    def drivers(self) -> tuple[Driver, ...]:
        """The layers that make currents of spikes or of the image, in order."""
        return cast(tuple[Driver, ...], tuple(layer for layer in self.layers if self._role(layer) == "current"))

    def _role(self, layer: Layer) -> geometry.Role:
        return geometry.geometry(layer).role

    def activations_into(self, name: str) -> tuple[Activation, ...]:
        """The activations whose spikes layer `name` reads, through what moves them too, in the order read; none for the image."""
        read: list[Activation] = []
        for source in self.layer(name).sources:
            if source == IMAGE:
                continue
            layer = self.layer(source)
            role = self._role(layer)
            if role == "arrange":
                read.extend(self.activations_into(source))
            elif role == "neurons":
                read.append(cast(Activation, layer))
        return tuple(read)

    def consumers(self, name: str) -> tuple[Driver, ...]:
        """The convolutions and gates that read activation `name`, directly or through what moves its spikes."""
        return tuple(layer for layer in self.drivers if any(a.name == name for a in self.activations_into(layer.name)))

    def halos(self) -> dict[str, int]:
        """For each layer and the image: how many pixels around a tile are needed of it."""
        return geometry.halos(self.layers)

    @cached_property
    def radius(self) -> int:
        """The receptive radius in pixels: how far from a pixel the input can change its output."""
        return self.halos()[IMAGE]

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-accumulates of all layers per pixel of the image, the border ignored, rounded down."""
        return self.macs_paper(self.size_multiple, self.size_multiple) // self.size_multiple**2

    def macs_paper(self, height: int, width: int) -> int:
        """Multiply-accumulates of all layers on one image, the border ignored."""
        shapes = self.shapes(height, width)
        return sum(geometry.macs_paper(layer, *shapes[layer.name][1:]) for layer in self.layers)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates of all layers on one image, products with the zero padding not counted."""
        shapes = self.shapes(height, width)
        return sum(geometry.macs(layer, *shapes[layer.sources[0]][1:]) for layer in self.layers)

    def shapes(self, height: int, width: int) -> dict[str, geometry.Shape]:
        """(C, H, W) of every layer, and of the image, for an image of multiples of the size multiple."""
        return geometry.shapes(self.scales, self.widths, height, width)

    @property
    def weights(self) -> int:
        """The number of weights in all kernels, biases not counted; those that layers share once for each."""
        return sum(geometry.weights(layer) for layer in self.layers)

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained: all parameters but batch norm's statistics."""
        return geometry.parameter_count(self.layers)

    def changed(self, kind: type[_Kind], change: Callable[[_Kind], Layer]) -> "Network":
        """The same network with every layer of one kind changed."""
        layers = tuple(change(layer) if isinstance(layer, kind) else layer for layer in self.layers)
        return dataclasses.replace(self, layers=layers)

    @property
    def takes_noise_level(self) -> bool:
        """Whether it is told the noise level of the image: it has a constant that means it."""
        return any(layer.meaning == "sigma" for layer in self.of_kind(Constant))

    def at_noise(self, sigma: float) -> "Network":
        """The same network, told that the noise level of the image is sigma, in units of 1/255."""
        level = (sigma / 255,)

        def told(layer: Constant) -> Constant:
            return dataclasses.replace(layer, values=level * len(layer.values)) if layer.meaning == "sigma" else layer

        return self.changed(Constant, told)

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
    """A layer as plain values; what has its default is left out, so that files stay as they were before the field came."""
    kind = next(name for name, cls in KINDS.items() if cls is type(layer))
    defaults = {field.name: field.default for field in dataclasses.fields(layer)}
    values = dataclasses.asdict(layer).items()
    return {"kind": kind} | {k: v for k, v in values if k in ALWAYS_WRITTEN or v != defaults[k]}


def _numbers(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))
