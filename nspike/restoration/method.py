"""`Model.run`: a model is data and knows nothing of what runs it, so the method is added to it here.

Every function that hands a model to users takes `Model` from this module.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from nspike.model.model import Model
from nspike.model.result import Result
from nspike.registry.parts import swap
from nspike.restoration.image import restore

__all__ = ["Model"]


def run(
    self: Model,
    array: NDArray[Any],
    *,
    neuron: str | None = None,
    head: str | None = None,
    timesteps: int | None = None,
    parameters: Mapping[str, float] | None = None,
    **options: Any,
) -> Result:
    """Restore an image: uint8, uint16, or floats with black 0 and white 1; (H, W) grey or (H, W, 3) RGB.

    Parameters
    ----------
    neuron, head, timesteps, parameters : other parts than the model's, or other parameters of them; see `nspike.swap`. Its
        weights and thresholds stay.
    options : `scale`, `tile`, `memory`, `threads`, `ann`, `digest`, `progress`, as `nspike.restore` takes them.

    Returns
    -------
    Result
        with `image` like `array`, `ledger` and `seconds`.

    Raises
    ------
    UsageError, BadInputError, ModelError, PluginError
        see `nspike.restore`.
    """
    model = self
    if parameters or (neuron, head, timesteps) != (None, None, None):
        model, _ = swap(self, neuron=neuron, head=head, timesteps=timesteps, parameters=parameters)
    return restore(model, array, **options)


Model.run = run  # type: ignore[method-assign]
