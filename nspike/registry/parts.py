"""A model's replaceable parts: its neuron, its head and its number of steps, looked up, checked and swapped.

A swap keeps the weights, scales and thresholds. The new part's own parameters are the model's where it stores them for a
part of that name, else the part's defaults; the integers follow from these in memory, so nothing is rounded twice.
"""

from collections.abc import Mapping
from dataclasses import replace

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.errors import ModelError, UsageError
from nspike.integer.grid import MOST_STEPS
from nspike.model.model import Model
from nspike.model.model import spiking_of as spiking_of
from nspike.registry.plugins import registry


def neuron_of(model: Model) -> Neuron:
    """The neuron of a spiking model. Raises PluginError if no plugin has it."""
    return registry().neurons[spiking_of(model).neuron]


def head_of(model: Model) -> Head:
    """The head of a spiking model. Raises PluginError if no plugin has it."""
    return registry().heads[spiking_of(model).head]


def swap(
    model: Model, *, neuron: str | None = None, head: str | None = None, timesteps: int | None = None
) -> tuple[Model, list[str]]:
    """The same model with another neuron, head or number of steps.

    Parameters
    ----------
    model : with a spiking form.
    neuron, head : names of registered parts; None keeps the model's.
    timesteps : T; None keeps the model's.

    Returns
    -------
    model : the same object where nothing differs.
    changes : for each part that is not as shipped, a line that says what it is now and what it was.

    Raises
    ------
    ModelError
        the model is a plain ANN.
    PluginError
        an unknown or broken part.
    UsageError
        T below 1, more steps than an int32 membrane is safe for, or a stored parameter outside the part's range.
    """
    shipped = spiking_of(model)
    changes: list[str] = []
    spiking = shipped
    if neuron is not None and neuron != shipped.neuron:
        origin = _origin(shipped.neuron_parameters, neuron, bool(registry().neurons[neuron].parameters))
        changes.append(f"neuron {neuron} instead of {shipped.neuron} ({origin})")
        spiking = replace(spiking, neuron=neuron)
    if head is not None and head != shipped.head:
        has_own = bool(registry().heads[head].initial(model.network.channels))
        origin = _origin(shipped.head_parameters, head, has_own)
        changes.append(f"head {head} instead of {shipped.head} ({origin})")
        spiking = replace(spiking, head=head)
    if timesteps is not None and timesteps != shipped.timesteps:
        changes.append(f"T = {timesteps} instead of {shipped.timesteps}")
        spiking = replace(spiking, timesteps=timesteps)
    changed = model.with_spiking(spiking) if changes else model
    check(changed)
    return changed, changes


def _origin(stored: Mapping[str, object], name: str, has_parameters: bool) -> str:
    """In words: where the parameters of the part `name` come from."""
    if not has_parameters:
        return "weights and thresholds kept"
    return f"weights and thresholds kept, its own parameters {'the model’s' if name in stored else 'its defaults'}"


def check(model: Model) -> None:
    """Check that the parts of a spiking model exist and fit it.

    Raises
    ------
    ModelError, PluginError, UsageError
        as `swap` does.
    """
    spiking, neuron = spiking_of(model), neuron_of(model)
    if spiking.timesteps < 1:
        raise UsageError(f"T = {spiking.timesteps}: a spiking network needs at least 1 step")
    if spiking.timesteps + neuron.post_steps > MOST_STEPS:
        raise UsageError(
            f"T = {spiking.timesteps} is too long: with the {neuron.post_steps} post steps of neuron {neuron.name}, at "
            f"most T = {MOST_STEPS - neuron.post_steps} is safe for a 32-bit membrane"
        )
    for layer, given in spiking.neuron_parameters.get(neuron.name, {}).items():
        try:
            neuron.values(given)
        except UsageError as error:
            raise ModelError(f"model {model.info.name}, layer {layer}: {error}") from error
    expected = head_of(model).initial(model.network.channels)
    stored = spiking.head_parameters.get(spiking.head, {})
    for name, array in stored.items():
        if name not in expected or expected[name].shape != array.shape:
            known = ", ".join(f"{key} {value.shape}" for key, value in expected.items()) or "none"
            raise ModelError(
                f"model {model.info.name}: head {spiking.head} has no parameter {name!r} of shape {array.shape}; "
                f"it has: {known}"
            )
