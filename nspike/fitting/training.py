"""Training a plain network, with the activations that its spiking form is to have.

`relu` is the baseline. `qcfs` (Bu et al. 2022) rounds every activation to L levels below a ceiling λ that is trained, as the
spikes of L steps do; `clipped` has the ceiling alone. A step of these costs a small part of one through time, and does most
of the work: train so, convert with the converter `qcfs`, then fine-tune. A run otherwise: `nspike.fitting.run`.

A spike cannot be taken back: with Q(t) for the charge up to step t in units of θ, an integrate-and-fire neuron gives

    n = ⌊v(0) + max over t of Q(t)⌋        and QCFS expects ⌊v(0) + Q(T)⌋

as long as it never has to fire more than once a step. Where the input fluctuates n is larger, most often by a first spike
that should not have been. For a random walk of drift m the mean of max Q - Q(T) falls as 1/m; so it does in a 17-layer
DnCNN, for which 0.45/(1 + 2·Q(T)) was chosen by eye. The first layer, whose input is constant, has none. A network that has
not met it loses 0.8 dB at conversion. So `overshoot` (ours): in training the layers after the first get a random excess of
that mean at 0, falling likewise, before they are rounded. Such a network is no good as an ANN: do not validate it.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nspike.autograd.tensor import Tensor
from nspike.contracts.loss import LossInput
from nspike.degradations.batches import Batch, Levels, untold
from nspike.errors import UsageError, nearest
from nspike.fitting.distilling import Distillation
from nspike.fitting.options import Options
from nspike.fitting.run import TrainingRun
from nspike.model.model import Model
from nspike.trainable.plain import DifferentiableAnn, initial_ceilings

KINDS = ("relu", "clipped", "qcfs")


@dataclass(frozen=True)
class TrainingOptions(Options):
    """How to train a plain network: beside `nspike.fitting.options.Options`,

    Parameters
    ----------
    activation : "relu", "clipped" or "qcfs". levels : of qcfs.
    per : "layer" or "channel", of ceilings. percentile : of the activations of the first batch, where ceilings start.
    ceiling_rate : the learning rate of ceilings.
    overshoot : the mean, in levels, of a random excess before qcfs rounds, at 0; 0.45 fits DnCNN.
    """

    rate: float = 1e-3
    activation: Literal["relu", "clipped", "qcfs"] = "relu"
    levels: int = 8
    per: Literal["layer", "channel"] = "layer"
    percentile: float = 99.9
    ceiling_rate: float = 1e-3
    overshoot: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in KINDS:
            raise UsageError(
                f"there is no activation {self.activation!r}.{nearest(self.activation, KINDS)} Known: {', '.join(KINDS)}"
            )
        if self.per not in ("layer", "channel"):
            raise UsageError(f"ceilings are trained per layer or channel, not per {self.per!r}")
        if self.levels < 1 or not 50 <= self.percentile <= 100 or self.ceiling_rate < 0:
            raise UsageError("a recipe needs levels of 1 or more, a percentile from 50 to 100, a ceiling_rate from 0")
        if not 0 <= self.overshoot < math.inf or (self.overshoot and self.activation != "qcfs"):
            raise UsageError("overshoot is a number of levels from 0, of the activation qcfs alone")


class Training(TrainingRun):
    """A run.

    Parameters
    ----------
    model : what training starts from.
    options : how.
    batches : number from 0 -> (degraded, clean), float32 (N, C, H, W); a function of the number alone.
    state : the file to go on from, if it is there, and to save to; None to keep nothing.
    settings : plain values on which the batches depend. distillation : a teacher.
    sigmas : number from 0 -> the noise level of each image of the batch, of 255, (N,), for a network that is told it; None
        for what the network says.

    Raises BadInputError for a state that is damaged, UsageError for one of another model or recipe.
    """

    def __init__(
        self,
        model: Model,
        options: TrainingOptions,
        batches: Callable[[int], Batch],
        *,
        state: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        distillation: Distillation | None = None,
        sigmas: Callable[[int], Levels] = untold,
    ) -> None:
        self.batches, self.sigmas = batches, sigmas
        ceilings = None
        if options.activation != "relu":
            ceilings = initial_ceilings(
                model, batches(0)[0], percentile=options.percentile, per=options.per, sigmas=sigmas(0)
            )
        self.network = DifferentiableAnn(
            model, kind=options.activation, levels=options.levels, ceilings=ceilings, overshoot=options.overshoot
        )
        parameters = self.network.parameters()
        limits = {name for name in parameters if name.endswith(".ceiling")}
        super().__init__(
            model,
            options,
            parameters,
            state=state,
            settings=settings,
            distillation=distillation,
            rates=dict.fromkeys(limits, options.ceiling_rate / options.rate),
            decays={name for name in parameters if name.endswith(".weight")},
        )

    @property
    def model(self) -> Model:
        """The model with the current parameters."""
        return self.network.to_model()

    def forward(self, number: int) -> LossInput:
        """The plain network on batch `number`."""
        degraded, clean = self.batches(number)
        levels = self.sigmas(number)
        features = dict.fromkeys(self.taps, Tensor(degraded))
        restored = self.network.run(degraded, seed=number, sigmas=levels, features=features)
        seen = LossInput(restored, Tensor(clean), Tensor(degraded), features=features)
        return self.with_teacher(seen, degraded, clean, levels)

    def constrain(self) -> None:
        """Keep the ceilings above 0."""
        self.network.constrain()
