"""A model: a network, its ANN parameters, and, once converted, its spiking form. What a model file holds."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.architecture import Colour, Task
from nspike.errors import ModelError, UsageError
from nspike.graph.network import Network
from nspike.model.result import Result
from nspike.runtime.caller import either
from nspike.runtime.words import counted

ImageLike: TypeAlias = str | os.PathLike[str] | NDArray[Any]
Images: TypeAlias = list[ImageLike] | list[NDArray[Any]] | list[str] | tuple[ImageLike, ...]

Trained = Literal["plain", "spiking"]

OUTPUT = "output"
"""The name of the output layer among scales, thresholds and ledgers."""


@dataclass(frozen=True)
class Info:
    """What a model is for and where it comes from; plain values, all of them kept in the model file.

    degradation: what it was trained to undo, such as {"sigma": 25.0} or {"scales": [2, 3, 4]}; provenance: such as
    training data, recipe, checkpoint digest, converter and its options; quality: measured figures. trained: "spiking" if its
    spiking form alone was trained, so that the plain network, with ReLUs for its neurons, computes nothing of use.
    """

    name: str
    task: Task
    colour: Colour
    degradation: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    trained: Trained = "plain"


@dataclass(frozen=True)
class Spiking:
    """The spiking form of a network, in floats; `nspike.integer.rounding` rounds it.

    Layer l is normalised: W·λ_in/λ_l and b/λ_l, so that its threshold θ is about 1 and a spike is worth λ_l of the ANN's
    activation.

    neuron : of all layers but the output.
    neuron_parameters : neuron name -> activation name -> parameter name -> value; of other neurons than `neuron` too, so
        that one may be swapped for the other.
    head, head_parameters : likewise, head name -> array name -> array.
    timesteps : T.
    scales : activation name, and `OUTPUT` -> λ, float64 (C,), in units of the ANN's activation.
    thresholds : the same names -> θ, float64 (C,), in units of λ.
    weights, biases : normalised kernels (float32 (C_out, C_in, k, k)) and biases (float32 (C_out,)) of the convolutions
        that training has changed; those of the others follow from the ANN's and the scales.
    """

    neuron: str
    head: str
    timesteps: int
    scales: Mapping[str, NDArray[np.float64]]
    thresholds: Mapping[str, NDArray[np.float64]]
    neuron_parameters: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    head_parameters: Mapping[str, Mapping[str, NDArray[np.float64]]] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    biases: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Spiking {self.neuron}, {self.head}, T = {self.timesteps}, {counted(len(self.scales) - 1, 'layer')} of neurons>"


@dataclass(frozen=True)
class Model:
    """A network with the ANN's parameters (see `nspike.contracts.architecture.Arrays`), and its spiking form or none yet."""

    info: Info
    network: Network
    parameters: Mapping[str, NDArray[np.float32]]
    spiking: Spiking | None = None

    def with_spiking(self, spiking: Spiking) -> "Model":
        """The same network with another spiking form."""
        return replace(self, spiking=spiking)

    def at_noise(self, sigma: float) -> "Model":
        """The same model, told that the noise level of the image is sigma, in units of 1/255; itself if it is not told any."""
        if not self.network.takes_noise_level:
            return self
        return replace(self, network=self.network.at_noise(sigma))

    def with_provenance(self, **values: Any) -> "Model":
        """The same model with these entries added to its provenance; entries of the same name are replaced."""
        return replace(self, info=replace(self.info, provenance={**self.info.provenance, **values}))

    def __repr__(self) -> str:
        info, spiking = self.info, self.spiking
        form = "plain ANN" if spiking is None else f"{spiking.neuron}, {spiking.head}, T = {spiking.timesteps}"
        return f"<Model {info.name}: {info.task}, {info.colour}, network {self.network.name}, {form}>"

    if TYPE_CHECKING:  # added by `nspike.restoration.method`: what runs a model lies above it

        @overload
        def run(self, image: ImageLike, **options: Any) -> Result: ...
        @overload
        def run(self, image: Images, **options: Any) -> list[Result]: ...
        def run(self, image: ImageLike | Images, **options: Any) -> Result | list[Result]:
            """Restore an image, or several."""


def expect_model(model: object) -> None:
    """Raise UsageError if `model` is none: a model's name or file, say, which `nspike.load` reads."""
    if isinstance(model, Model):
        return
    named = isinstance(model, str | os.PathLike)
    given, name = (repr(str(model)),) * 2 if named else (type(model).__name__, "NAME")
    raise UsageError(f"model = {given}; expected a Model: nspike.load({name}) gives one")


def check_plain(model: Model, instead: str | None = None) -> None:
    """Raise UsageError if the plain network of `model` computes nothing of use, saying what to do: `instead`, or what suits."""
    if model.info.trained == "spiking":
        usual = (
            "convert it with `nspike convert --converter direct`"
            if model.spiking is None
            else f"leave out {either('--ann', 'ann=True')}, or name a model that has one"
        )
        raise UsageError(
            f"model {model.info.name} was trained as a spiking network: its plain network, with ReLUs for its neurons, was "
            f"never trained; {instead or usual}"
        )


def spiking_of(model: Model) -> Spiking:
    """The spiking form of `model`. Raises ModelError if it has none, saying what to do."""
    if model.spiking is None:
        raise ModelError(
            f"model {model.info.name}: it is a plain ANN and has no spiking form yet; "
            + either(
                "convert it with `nspike convert`, or run the ANN itself with `nspike run --ann`",
                "convert it with nspike.convert, or run the ANN itself with nspike.restore and ann=True",
            )
        )
    return model.spiking
