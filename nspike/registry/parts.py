"""A model's replaceable parts: its neuron, its head, its number of steps and their parameters, looked up and swapped.

A swap keeps the weights, scales and thresholds. What a new part shares with the old one is kept too: `v_init`, and every
parameter of the same name and range. The integers follow from these in memory, so nothing is rounded twice.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron, Parameter
from nspike.errors import ModelError, UsageError, nearest
from nspike.integer.grid import MOST_STEPS
from nspike.model.model import Model, expect_model
from nspike.model.model import spiking_of as spiking_of
from nspike.registry.plugins import registry
from nspike.runtime.arguments import mappings, whole


def neuron_of(model: Model) -> Neuron:
    """The neuron of a spiking model. Raises PluginError if no plugin has it."""
    return registry().neurons[spiking_of(model).neuron]


def head_of(model: Model) -> Head:
    """The head of a spiking model. Raises PluginError if no plugin has it."""
    return registry().heads[spiking_of(model).head]


def swap(
    model: Model,
    *,
    neuron: str | None = None,
    head: str | None = None,
    timesteps: int | None = None,
    parameters: Mapping[str, float] | None = None,
) -> tuple[Model, list[str]]:
    """The same model with another neuron, head or number of steps, or other parameters of these.

    Parameters
    ----------
    model : with a spiking form.
    neuron, head : names of registered parts; None keeps the model's. A new part has the parameters that the model stores for
        it, else those of the old part (`v_init`, and what has the same name and range), else its defaults.
    timesteps : T; None keeps the model's.
    parameters : values by name, of the neuron (in every layer) or of the head (all numbers of the array).

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
        T below 1, more steps than an int32 membrane is safe for, an unknown parameter, or one outside its range.
    """
    expect_model(model)
    whole(timesteps=timesteps)
    mappings(parameters=parameters)
    spiking = shipped = spiking_of(model)
    changes: list[str] = []
    if neuron is not None and neuron != shipped.neuron:
        own, origin = _neuron_parameters(model, registry().neurons[neuron])
        changes.append(f"neuron {neuron} instead of {shipped.neuron} ({origin})")
        stored = {**shipped.neuron_parameters, neuron: own}
        spiking = replace(spiking, neuron=neuron, neuron_parameters=stored)
    if head is not None and head != shipped.head:
        arrays, origin = _head_parameters(model, registry().heads[head])
        changes.append(f"head {head} instead of {shipped.head} ({origin})")
        spiking = replace(spiking, head=head, head_parameters={**shipped.head_parameters, head: arrays})
    if timesteps is not None and timesteps != shipped.timesteps:
        changes.append(f"T = {timesteps} instead of {shipped.timesteps}")
        spiking = replace(spiking, timesteps=timesteps)
    changed = model.with_spiking(spiking) if changes else model
    check(changed)
    for name, value in (parameters or {}).items():
        changed, change = _set(changed, name, value)
        changes += change
    return changed, changes


def parameter_names(model: Model) -> tuple[list[str], list[str]]:
    """The names of the parameters of a model's neuron, and of its head."""
    return [p.name for p in neuron_of(model).parameters], list(head_of(model).arrays(model.network.channels))


def _values(model: Model) -> dict[str, dict[str, float]]:
    """The parameters of the model's neuron in each layer, defaults included. Raises ModelError for stored ones out of range."""
    neuron = neuron_of(model)
    _check_neuron_parameters(model, neuron)
    stored = spiking_of(model).neuron_parameters.get(neuron.name, {})
    return {a.name: neuron.values(stored.get(a.name)) for a in model.network.activations}


def _neuron_parameters(model: Model, new: Neuron) -> tuple[dict[str, dict[str, float]], str]:
    """What a new neuron's parameters are in each layer, and in words where they come from."""
    name, neurons = spiking_of(model).neuron, registry().neurons
    shared = neurons[name].parameters if name in neurons else ()
    stored = spiking_of(model).neuron_parameters.get(new.name, {})
    kept = {p.name for p in new.parameters if any(_same(p, other) for other in shared)}
    before = _values(model) if shared else {}
    own: dict[str, dict[str, float]] = {}
    origins: dict[str, set[str]] = {}
    for activation in model.network.activations:
        own[activation.name] = values = dict(stored.get(activation.name, {}))
        origins.setdefault("the model’s own", set()).update(values)
        for p in new.parameters:
            if p.name in values:
                continue
            value = before[activation.name][p.name] if p.name in kept else p.default
            fits = p.name in kept and p.low <= value <= p.high and not (p.open_low and value == p.low)
            values[p.name] = value if fits else p.default
            origins.setdefault("kept" if fits else "its default", set()).add(p.name)
    words = _in_words(origins)
    if "v_init" not in {p.name for p in new.parameters} and any(v.get("v_init") for v in before.values()):
        words += f"; v(0) is its own, not that of {name}: it has no v_init"
    return own, words


def _same(new: Parameter, old: Parameter) -> bool:
    """Whether two parameters are taken for one: `v_init` means the same in every neuron."""
    if new.name != old.name:
        return False
    return new.name == "v_init" or (new.low, new.high, new.open_low) == (old.low, old.high, old.open_low)


def _head_parameters(model: Model, new: Head) -> tuple[dict[str, Any], str]:
    """What a new head's arrays are, and in words where they come from."""
    spiking = spiking_of(model)
    stored, before = spiking.head_parameters.get(new.name, {}), spiking.head_parameters.get(spiking.head, {})
    arrays, origins = dict(stored), {"the model’s own": set(stored)}
    for name, default in new.arrays(model.network.channels).items():
        if name in arrays:
            continue
        fits = name in before and before[name].shape == default.shape
        if fits:
            arrays[name] = before[name]
        origins.setdefault("kept" if fits else "its default", set()).add(name)
    return arrays, _in_words(origins)


def _in_words(origins: Mapping[str, set[str]]) -> str:
    """Where parameters come from: "weights and thresholds kept, v_init too; tau its default"."""
    kept = sorted(origins.get("kept", ()))
    words = "weights and thresholds kept" + (f", {', '.join(kept)} too" if kept else "")
    rest = [f"{', '.join(sorted(names))} {where}" for where, names in origins.items() if names and where != "kept"]
    return "; ".join([words, *rest])


def _set(model: Model, name: str, value: float) -> tuple[Model, list[str]]:
    """The model with one parameter of its neuron or head set, and the change in words; none where it is as before."""
    spiking, neuron, head = spiking_of(model), neuron_of(model), head_of(model)
    of_neuron, of_head = parameter_names(model)
    if name in of_neuron and name in of_head:
        raise UsageError(f"{name}: neuron {neuron.name} and head {head.name} both have it, so it cannot be set")
    if name in of_neuron:
        before = _values(model)
        own = {layer: neuron.values(values | {name: value}) for layer, values in before.items()}
        if own == before:
            return model, []
        was = _span([values[name] for values in before.values()])
        stored = {**spiking.neuron_parameters, neuron.name: own}
        return model.with_spiking(replace(spiking, neuron_parameters=stored)), [f"{name} = {value:g} instead of {was}"]
    if name in of_head:
        if not np.isfinite(value):
            raise UsageError(f"head {head.name}: {name} = {value:g} is out of range; expected a finite number")
        arrays = {**head.arrays(model.network.channels), **spiking.head_parameters.get(head.name, {})}
        new = np.full_like(arrays[name], value)
        if np.array_equal(new, arrays[name]):
            return model, []
        was = _span(arrays[name].ravel().tolist())
        stored_arrays = {**spiking.head_parameters, head.name: arrays | {name: new}}
        return model.with_spiking(replace(spiking, head_parameters=stored_arrays)), [
            f"{name} = {value:g} instead of {was}"
        ]
    known = [*of_neuron, *of_head]
    raise UsageError(
        f"there is no parameter {name!r}.{nearest(name, known)} Neuron {neuron.name} has: {', '.join(of_neuron) or 'none'}; "
        f"head {head.name} has: {', '.join(of_head) or 'none'}"
    )


def _span(values: list[float]) -> str:
    """The values' range in words."""
    low, high = min(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


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
    _check_neuron_parameters(model, neuron)
    expected = head_of(model).arrays(model.network.channels)
    stored = spiking.head_parameters.get(spiking.head, {})
    for name, array in stored.items():
        if name not in expected or expected[name].shape != array.shape:
            known = ", ".join(f"{key} {value.shape}" for key, value in expected.items()) or "none"
            raise ModelError(
                f"model {model.info.name}: head {spiking.head} has no parameter {name!r} of shape {array.shape}; "
                f"it has: {known}"
            )


def _check_neuron_parameters(model: Model, neuron: Neuron) -> None:
    """Raise ModelError where the model stores parameters for a neuron that it does not have or that are out of range."""
    for layer, given in spiking_of(model).neuron_parameters.get(neuron.name, {}).items():
        try:
            neuron.values(given)
        except UsageError as error:
            raise ModelError(f"model {model.info.name}, layer {layer}: {error}") from error
