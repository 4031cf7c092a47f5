"""A network: an ordered graph of layer descriptions, and what follows from it alone.

The output of a network is an image ("image"), or a residual that is subtracted from the image ("subtract", DnCNN's
noise) or added to it ("add", VDSR's detail).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from nspike.errors import ModelError
from nspike.graph.layer import IMAGE, Activation, Concat, Conv, Gate, Layer

OutputMode = Literal["image", "subtract", "add"]

_KINDS: dict[str, type[Layer]] = {"conv": Conv, "activation": Activation, "concat": Concat, "gate": Gate}


@dataclass(frozen=True)
class Network:
    """An ordered graph: each layer reads layers before it, or the image.

    Parameters
    ----------
    name : the architecture, such as "dncnn".
    channels : of the image that goes in and of the output, 1 or 3.
    layers : in an order in which they can be run.
    output : the name of the last layer, a `Conv` or a `Gate`; its value is the network's output.
    mode : how the output becomes an image.
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
        width = {IMAGE: self.channels}
        for layer in self.layers:
            if layer.name in width:
                raise ModelError(f"network {self.name}: two layers are called {layer.name!r}")
            for source in layer.sources:
                if source not in width:
                    raise ModelError(
                        f"network {self.name}: layer {layer.name!r} reads {source!r}, which is not before it"
                    )
            width[layer.name] = self._width(layer, width)
        if self.output not in width or not isinstance(self.layer(self.output), Conv | Gate):
            raise ModelError(f"network {self.name}: the output {self.output!r} must be a convolution or a gate")
        if self.layers[-1].name != self.output:
            raise ModelError(f"network {self.name}: the output {self.output!r} must be the last layer")
        if width[self.output] != self.channels:
            raise ModelError(f"network {self.name}: {width[self.output]} channels come out, {self.channels} go in")
        if self.mode not in ("image", "subtract", "add"):
            raise ModelError(f"network {self.name}: unknown output mode {self.mode!r}")
        for layer in self.layers:
            for source in layer.sources:
                self._check_edge(layer, source)
            if isinstance(layer, Activation):
                self._check_ceiling(layer)

    def _width(self, layer: Layer, width: dict[str, int]) -> int:
        read = sum(width[source] for source in layer.sources)
        if isinstance(layer, Concat):
            return read
        expected = layer.in_channels if isinstance(layer, Conv) else layer.channels
        if read != expected:
            raise ModelError(f"network {self.name}: layer {layer.name!r} expects {expected} channels and reads {read}")
        if isinstance(layer, Conv):
            if layer.kernel < 1 or layer.kernel % 2 == 0:
                raise ModelError(
                    f"network {self.name}: layer {layer.name!r} has kernel {layer.kernel}, expected an odd one"
                )
            return layer.out_channels
        return expected

    def _check_edge(self, layer: Layer, source: str) -> None:
        reads = None if source == IMAGE else self.layer(source)
        ok = {
            Conv: reads is None or isinstance(reads, Activation | Concat),
            Activation: isinstance(reads, Conv),
            Concat: isinstance(reads, Activation),
            Gate: isinstance(reads, Activation),
        }[type(layer)]
        if not ok:
            raise ModelError(
                f"network {self.name}: layer {layer.name!r} ({type(layer).__name__.lower()}) cannot read {source!r}; "
                "a convolution reads the image, activations or a concatenation; an activation reads a convolution; "
                "a concatenation and a gate read activations"
            )

    def _check_ceiling(self, layer: Activation) -> None:
        ceiling, levels = layer.ceiling, layer.levels
        numbers = ceiling or ()
        if ceiling is not None and not (
            len(ceiling) in (1, layer.channels)
            and all(isinstance(n, int | float) and math.isfinite(n) and n > 0 for n in numbers)
        ):
            raise ModelError(
                f"network {self.name}: the ceiling of {layer.name!r} must be 1 or {layer.channels} positive numbers"
            )
        if levels is not None and (ceiling is None or type(levels) is not int or levels < 1):
            raise ModelError(f"network {self.name}: {layer.name!r} has {levels!r} levels; they need a ceiling")

    def layer(self, name: str) -> Layer:
        """The layer called `name`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ModelError(f"network {self.name}: there is no layer {name!r}")

    @property
    def convs(self) -> tuple[Conv, ...]:
        """The convolutions, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Conv))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activations, in order: the layers of neurons."""
        return tuple(layer for layer in self.layers if isinstance(layer, Activation))

    def activations_into(self, name: str) -> tuple[Activation, ...]:
        """The activations that layer `name` reads, through a concatenation too, in channel order; none for the image."""
        found: list[Activation] = []
        for source in self.layer(name).sources:
            if source == IMAGE:
                continue
            reads = self.layer(source)
            found.extend(self.activations_into(source) if isinstance(reads, Concat) else [reads])  # type: ignore[list-item]
        return tuple(found)

    def consumers(self, name: str) -> tuple[Conv | Gate, ...]:
        """The convolutions and gates that read activation `name`, directly or through a concatenation."""
        return tuple(
            layer
            for layer in self.layers
            if isinstance(layer, Conv | Gate) and any(a.name == name for a in self.activations_into(layer.name))
        )

    def halos(self) -> dict[str, int]:
        """For each layer and the image: how many pixels around a tile are needed of it."""
        need = {IMAGE: 0} | {layer.name: 0 for layer in self.layers}
        for layer in reversed(self.layers):
            reach = need[layer.name] + (layer.radius if isinstance(layer, Conv) else 0)
            for source in layer.sources:
                need[source] = max(need[source], reach)
        return need

    @property
    def radius(self) -> int:
        """The receptive radius in pixels."""
        return self.halos()[IMAGE]

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-accumulates of all convolutions per pixel, the border ignored."""
        return sum(conv.macs for conv in self.convs)

    def rectified(self) -> "Network":
        """The same network with plain ReLUs."""
        plain = (
            dataclasses.replace(layer, ceiling=None, levels=None) if isinstance(layer, Activation) else layer
            for layer in self.layers
        )
        return dataclasses.replace(self, layers=tuple(plain))

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
                kind: Any = _KINDS[entry["kind"]]
                layers.append(kind(**fields))
            return cls(**{**values, "layers": tuple(layers)})
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"the network's description is damaged or of a newer nspike: {error!r}") from error


def _layer_values(layer: Layer) -> dict[str, Any]:
    """A layer as plain values; what a plain ReLU does not have is left out."""
    kind = next(name for name, cls in _KINDS.items() if cls is type(layer))
    values = {"kind": kind, **dataclasses.asdict(layer)}
    return {key: value for key, value in values.items() if value is not None or key not in ("ceiling", "levels")}
