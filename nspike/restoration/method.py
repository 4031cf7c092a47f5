"""`Model.run` and `Ledger.energy`: both classes are data, and know nothing of what runs or prices them, so the methods are
added to them here.

Every function that hands a model to users takes `Model` from this module.
"""

from collections.abc import Mapping
from typing import Any

from nspike.contracts.energy import EnergyColumn, EnergyModel
from nspike.contracts.ledger import Ledger
from nspike.model.model import ImageLike, Images, Model
from nspike.model.result import Result
from nspike.registry.parts import swap
from nspike.registry.plugins import registry
from nspike.restoration.image import restore

__all__ = ["Ledger", "Model"]


def run(
    self: Model,
    image: ImageLike | Images,
    *,
    neuron: str | None = None,
    head: str | None = None,
    timesteps: int | None = None,
    parameters: Mapping[str, float] | None = None,
    **options: Any,
) -> Result | list[Result]:
    """Restore an image, by its file or as an array, or a list of images; see `nspike.restore`.

    Parameters
    ----------
    neuron, head, timesteps, parameters : other parts than the model's, or other parameters of them; see `nspike.swap`. Its
        weights and thresholds stay.
    options : `scale`, `tile`, `memory`, `threads`, `ann`, `digest`, `progress`, as `nspike.restore` takes them.

    Returns
    -------
    Result
        with `image` of the same form, `ledger` and `seconds`; of a list or tuple, a list of them.

    Raises
    ------
    UsageError, BadInputError, ModelError, PluginError
        see `nspike.restore`.
    """
    model = self
    if parameters or (neuron, head, timesteps) != (None, None, None):
        model, _ = swap(self, neuron=neuron, head=head, timesteps=timesteps, parameters=parameters)
    return restore(model, image, **options)


def energy(self: Ledger, model: str | EnergyModel = "horowitz45") -> tuple[EnergyColumn, ...]:
    """What the run cost in joules, modelled, not measured.

    Parameters
    ----------
    model : an energy model, or its name; `nspike plugins` lists them.

    Returns
    -------
    tuple of EnergyColumn
        one for each way of counting, with `name`, `snn`, `ann` and `ratio`.

    Raises
    ------
    PluginError
        an unknown model, or one that fails.
    """
    chosen = registry().energy_models[model] if isinstance(model, str) else model
    return chosen.price(self)


Model.run = run  # type: ignore[assignment,method-assign]
Ledger.energy = energy  # type: ignore[method-assign]
