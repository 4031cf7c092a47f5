"""Fine-tuning a converted network: what SpikingIR (AAAI 2026) trains, on the engine's own integers.

    L = L_pixel + λ(e)·L_energy;   λ(e) = k·(1 - cos(πe/E))/2,  e = 0 .. E          (equations 17-19)

L_energy is the mean firing rate. The papers give neither optimiser, rates, batch nor k: those of `FineTuningOptions` are
ours. e grows with every step, so that E is the number of steps. The rest of a run: `nspike.fitting.run`.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nspike.autograd.tensor import Tensor
from nspike.contracts.loss import LossInput
from nspike.degradations.batches import Batch, Levels, untold
from nspike.errors import UsageError
from nspike.fitting.distilling import Distillation
from nspike.fitting.options import Options
from nspike.fitting.run import TrainingRun
from nspike.images.plane import to_plane
from nspike.model.model import Model
from nspike.registry.parts import head_of, neuron_of
from nspike.trainable.spiking import DifferentiableNetwork, check_gradient

KERNELS = (".weight", ".bias", ".norm_gain", ".norm_shift")
"""How the names of parameters end whose learning rate is `rate`."""


@dataclass(frozen=True)
class FineTuningOptions(Options):
    """How to fine-tune: beside `nspike.fitting.options.Options`,

    Parameters
    ----------
    neuron_rate : the learning rate of thresholds and what neurons train; `rate` is that of kernels, biases and the head.
    energy : the name of the loss that prices spikes. k : its weight at the end.
    surrogate : instead of the neuron's own. per : "layer" or "channel", of thresholds.
    follow_reset : whether gradients go through the reset. recompute : less memory for more time.
    batch_norm : batch norm over time and batch while training, see `nspike.trainable.time_norm`; the result has none.
    settle : the last share of the steps, in which batch norm runs on its frozen running means, as the result does.
    gradient : "time" or "rate", see `DifferentiableNetwork`; by default the neuron's kind decides. The three settings before
        are of "time".
    """

    neuron_rate: float = 1e-3
    energy: str = "energy"
    k: float = 0.0
    surrogate: str | None = None
    per: Literal["layer", "channel"] = "layer"
    follow_reset: bool = True
    recompute: bool = False
    batch_norm: bool = False
    settle: float = 0.2
    gradient: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per not in ("layer", "channel"):
            raise UsageError(f"thresholds are trained per layer or channel, not per {self.per!r}")
        if self.gradient is not None:
            check_gradient(self.gradient)
        if not 0 <= self.settle <= 1:
            raise UsageError(f"the recipe has settle = {self.settle}; expected a share of the steps, from 0 to 1")
        if min(self.neuron_rate, self.k) < 0:
            raise UsageError("a recipe needs steps, rate and clip above 0, and no negative numbers")


def energy_weight(step: int, steps: int, k: float) -> float:
    """λ(e) of equation 19 at step 0 .. `steps`."""
    return k * (1 - math.cos(math.pi * min(step, steps) / steps)) / 2


class FineTuning(TrainingRun):
    """A run.

    Parameters
    ----------
    model : converted.
    options : how.
    batches : number from 0 -> (degraded, clean), float32 (N, C, H, W); a function of the number alone.
    state : the file to go on from, if it is there, and to save to; None to keep nothing.
    settings : plain values on which the batches depend. distillation : a teacher.
    sigmas : number from 0 -> the noise level of each image of the batch, of 255, (N,), for a network that is told it; None
        for what the network says.
    normed, gain : where batch norm starts anew, and at which γ; see `DifferentiableNetwork`.

    Raises
    ------
    ModelError, PluginError
        the model cannot be trained.
    BadInputError
        the state is damaged.
    UsageError
        the state is of another model or recipe, which it says.
    """

    options: FineTuningOptions

    def __init__(
        self,
        model: Model,
        options: FineTuningOptions,
        batches: Callable[[int], Batch],
        *,
        state: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        distillation: Distillation | None = None,
        sigmas: Callable[[int], Levels] = untold,
        normed: Mapping[str, int] | None = None,
        gain: float = 1.0,
    ) -> None:
        self.batches, self.sigmas = batches, sigmas
        self.network = DifferentiableNetwork(
            model,
            neuron_of(model),
            head_of(model),
            per=options.per,
            surrogate=options.surrogate,
            follow_reset=options.follow_reset,
            recompute=options.recompute,
            gradient=options.gradient,
            batch_norm=to_plane(batches(0)[0]) if options.batch_norm else None,
            normed=normed,
            gain=gain,
            sigmas=sigmas(0) if options.batch_norm else None,
        )
        parameters = self.network.parameters()
        of_head = self.network.head_parameters
        slow = {name for name in parameters if name in of_head or name.endswith(KERNELS)}
        super().__init__(
            model,
            options,
            parameters,
            energy=options.energy,
            state=state,
            settings=settings,
            distillation=distillation,
            rates={name: 1.0 if name in slow else options.neuron_rate / options.rate for name in parameters},
            decays={name for name in slow if name.endswith(".weight") and name not in of_head},
        )

    @property
    def model(self) -> Model:
        """The model with the current parameters."""
        return self.network.to_model()

    def forward(self, number: int) -> LossInput:
        """The spiking network on batch `number`."""
        degraded, clean = self.batches(number)
        self.network.settled = number >= (1 - self.options.settle) * self.options.steps
        levels = self.sigmas(number)
        outcome = self.network.run(to_plane(degraded), sigmas=levels, steps=self.needs("steps"), taps=self.taps)
        target = Tensor(clean.astype(np.float64))
        given = Tensor(degraded)
        seen = LossInput(outcome.restored, target, given, outcome.steps, outcome.rates, outcome.features)
        return self.with_teacher(seen, degraded, clean, levels)

    @property
    def lacks(self) -> dict[str, str]:
        """See `TrainingRun`."""
        known = super().lacks
        if self.network.gives_steps:
            del known["steps"]
        else:
            known["steps"] = (
                f"head {self.network.head.name} with the gradient {self.network.gradient!r} gives no image at each step; take a "
                "head without spikes, such as membrane, and the gradient 'time'"
            )
        return known

    def constrain(self) -> None:
        """Thresholds and the neurons' parameters within their ranges."""
        self.network.constrain()

    def energy_weight(self, number: int) -> float:
        """The weight λ(e) of the energy loss at the current step."""
        return energy_weight(number, self.options.steps, self.options.k)
