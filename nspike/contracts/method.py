"""The contract of a method plugin: a published way from a plain network to a spiking one, made of other plugins' parts.

A method names a converter, a neuron and a head with their settings; it runs nothing itself. `nspike compare` measures methods
by their names, and a plugin that brings a neuron or a converter registers the method that it belongs to beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from nspike.errors import PluginError

TrainedBy = Literal["none", "train", "finetune"]


@dataclass(frozen=True)
class Method:
    """A method.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, the paper it comes from.
    converter, options : how scales and thresholds are found, by name, and the converter's options.
    neuron, neuron_parameters : by name, and its parameters, the same for every layer.
    head : what reads the output layer, by name.
    timesteps : T where nobody says another: the paper's own.
    trained_by : what trains its networks: "train", the plain network, with the activations that its spiking form needs, before
        it is converted; "finetune", the spiking network, after; "none", nothing.
    needs_training : whether it is of no use without that; else training only betters it.
    recipe : the keys of that training's recipe that belong to the method, without model, data and steps.
    """

    name: str
    summary: str
    source: str
    converter: str = "rueckauer"
    options: Mapping[str, Any] = field(default_factory=dict)
    neuron: str = "if"
    neuron_parameters: Mapping[str, float] = field(default_factory=dict)
    head: str = "membrane"
    timesteps: int = 10
    trained_by: TrainedBy = "none"
    needs_training: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.trained_by not in get_args(TrainedBy):
            known = ", ".join(map(repr, get_args(TrainedBy)))
            raise PluginError(f"method {self.name}: trained_by is {self.trained_by!r}; expected one of {known}")
        if self.trained_by == "none" and (self.needs_training or self.recipe):
            raise PluginError(
                f"method {self.name}: it has {'needs_training' if self.needs_training else 'a recipe'}; say by `trained_by` "
                "whether nspike train or nspike finetune does it"
            )
        if not isinstance(self.timesteps, int) or self.timesteps < 1:
            raise PluginError(f"method {self.name}: timesteps is {self.timesteps!r}; expected a whole number from 1")

    def conversion(self, timesteps: int | None = None) -> dict[str, Any]:
        """What `nspike.convert` takes by name for this method at T = `timesteps`, by default its own; nothing is fitted."""
        return {**self._parts(timesteps), "options": dict(self.options), "fast": True}

    def training(self, timesteps: int | None = None) -> dict[str, Any]:
        """The keys of the recipe that trains it; add model or network, data and steps.

        For `nspike.train` where `trained_by` is "train", for `nspike.finetune`, which also converts, where it is "finetune";
        empty where it is "none".
        """
        if self.trained_by != "finetune":
            return dict(self.recipe)
        return {**self._parts(timesteps), "converter_options": dict(self.options), **self.recipe}

    def _parts(self, timesteps: int | None) -> dict[str, Any]:
        return {
            "converter": self.converter,
            "neuron": self.neuron,
            "neuron_parameters": dict(self.neuron_parameters),
            "head": self.head,
            "timesteps": self.timesteps if timesteps is None else timesteps,
        }
