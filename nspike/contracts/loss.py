"""The contract of a loss plugin: what training makes small, and what a loss is given to compute it from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nspike.autograd.tensor import Tensor
from nspike.contracts.converter import Option, check_options, option_values
from nspike.contracts.plugin_code import called, check_functions
from nspike.errors import PluginError, nearest

NEEDS = ("steps", "teacher")
"""The fields of `LossInput` that are there only for losses that name them in `needs`."""


@dataclass(frozen=True)
class LossInput:
    """What a step of training hands to a loss. Images are not clipped, black 0 and white 1.

    Parameters
    ----------
    output, target : the restored and the clean images, (N, C, H, W).
    input : the degraded images, (N, C, H, W), or smaller by the network's scale; None where a caller leaves it out.
    steps : what each step t alone would restore, O(t), (T, N, C, H, W); their mean is `output`, but for what post
        steps add. None for a plain network, and unless a loss needs "steps".
    rates : the firing rate of each layer of neurons by name, a number each, (1/T)·Σ s averaged over neurons.
    features, teacher : by the name of a layer that the recipe taps, the student's values, averaged over T, and the
        teacher's, matched to one shape (N, c, h, w); empty without a teacher.
    options : the loss's own options by name.
    """

    output: Tensor
    target: Tensor
    input: Tensor | None = None
    steps: Tensor | None = None
    rates: Mapping[str, Tensor] = field(default_factory=dict)
    features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher: Mapping[str, Tensor] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """A loss.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, the paper it comes from.
    compute : `LossInput` -> a tensor of one number.
    of_spikes : whether it prices spikes and not pixels; then it is weighted by λ(e), which grows in the course of training.
    options : its options, which a recipe gives beside its weight.
    needs : what it cannot do without, of `NEEDS`. A recipe that has no teacher, or a network whose head gives no image at each
        step, is then refused before training starts.

    Raises PluginError for an unknown need, or a field of the wrong type.
    """

    name: str
    summary: str
    source: str
    compute: Callable[[LossInput], Tensor]
    of_spikes: bool = False
    options: tuple[Option, ...] = ()
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_functions(f"loss {self.name}", compute=self.compute)
        check_options(f"loss {self.name}", self.options)
        for need in self.needs:
            if need not in NEEDS:
                raise PluginError(
                    f"loss {self.name}: needs {need!r}, which there is not.{nearest(need, NEEDS)} Known: {', '.join(NEEDS)}"
                )

    def of(self, seen: LossInput) -> Tensor:
        """What `compute` gives. Raises PluginError where it fails, or gives no tensor of one number."""
        answer = called(f"loss {self.name}", self.compute, seen)
        if not isinstance(answer, Tensor) or answer.size != 1:
            shown = f"shape {answer.shape}" if isinstance(answer, Tensor) else type(answer).__name__
            raise PluginError(f"loss {self.name}: gives {shown}; expected a nspike.Tensor of one number")
        return answer

    def values(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The options: the defaults, replaced by `given`. Raises UsageError for an unknown name or a bad value."""
        return option_values(f"loss {self.name}", self.options, given)
