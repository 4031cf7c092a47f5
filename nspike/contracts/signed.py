"""The neurons of a signed activation: those that also fire negative spikes."""

from dataclasses import replace

from nspike.contracts.neuron import Neuron
from nspike.errors import PluginError


def signed_form(neuron: Neuron) -> Neuron:
    """The neuron that stands in for `neuron` where a feature may be negative: the same with planes of negative gains too.

    A neuron with a negative plane is its own. Raises PluginError for another with a kernel of its own.
    """
    if any(gain < 0 for gain in neuron.planes):
        return neuron
    if neuron.step is not None:
        raise PluginError(
            f"neuron {neuron.name} has no signed form, which a layer of this network needs: its features may be negative; "
            "take a declared neuron, or one with a plane of gain -1"
        )
    return _signed(neuron)


def _signed(neuron: Neuron) -> Neuron:
    if neuron not in _made:
        _made[neuron] = replace(neuron, planes=(*neuron.planes, *(-gain for gain in neuron.planes)))
    return _made[neuron]


_made: dict[Neuron, Neuron] = {}
"""The same object for the same neuron, as what is prepared for a model is kept by its neuron."""
