"""The hooks that a plugin may implement. Each is handed a `register` callable and calls it once per object.

Hooks only register; the objects do the work, and no hook is called in a loop over layers, steps or pixels.
"""

from collections.abc import Callable

from nspike.contracts.architecture import Architecture
from nspike.contracts.converter import Converter
from nspike.contracts.energy import EnergyModel
from nspike.contracts.format import Format
from nspike.contracts.head import Head
from nspike.contracts.loss import Loss
from nspike.contracts.markers import hookspec
from nspike.contracts.method import Method
from nspike.contracts.neuron import Neuron


@hookspec
def register_neurons(register: Callable[[Neuron], None]) -> None:
    """Register neuron models: `register(Neuron(...))`."""


@hookspec
def register_converters(register: Callable[[Converter], None]) -> None:
    """Register ANN-to-SNN conversions: `register(Converter(...))`."""


@hookspec
def register_heads(register: Callable[[Head], None]) -> None:
    """Register heads, which read the output layer: `register(Head(...))`."""


@hookspec
def register_losses(register: Callable[[Loss], None]) -> None:
    """Register losses, which training makes small: `register(Loss(...))`."""


@hookspec
def register_energy_models(register: Callable[[EnergyModel], None]) -> None:
    """Register energy models, which price a ledger: `register(EnergyModel(...))`."""


@hookspec
def register_networks(register: Callable[[Architecture], None]) -> None:
    """Register network architectures with their checkpoint key maps: `register(Architecture(...))`."""


@hookspec
def register_formats(register: Callable[[Format], None]) -> None:
    """Register checkpoint file formats: `register(Format(...))`."""


@hookspec
def register_methods(register: Callable[[Method], None]) -> None:
    """Register methods, which are compared: `register(Method(...))`."""
