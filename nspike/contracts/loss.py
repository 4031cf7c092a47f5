"""The contract of a loss plugin: what training makes small."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nspike.autograd.tensor import Tensor


@dataclass(frozen=True)
class Loss:
    """A loss.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, the paper it comes from.
    compute : (restored, target, rates) -> a tensor of one number. restored and target (N, C, H, W), not clipped, black 0 and
        white 1; rates: the firing rate of each layer of neurons by name, a number each, (1/T)·Σ s averaged over neurons.
    of_spikes : whether it prices spikes and not pixels; then it is weighted by λ(e), which grows in the course of training.
    """

    name: str
    summary: str
    source: str
    compute: Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
    of_spikes: bool = False
