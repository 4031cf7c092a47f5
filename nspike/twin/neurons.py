"""A layer of declared neurons over all steps: the engine's spikes, and the gradients of `nspike.trainable.time_rule`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nspike.errors import PluginError
from nspike.integer.dynamics import ONE, Dynamics
from nspike.trainable.surrogate import SURROGATES, Surrogate
from nspike.twin.modules import through


def _sigmoid(x: Any) -> Any:
    small = torch.exp(-4.0 * x.abs())
    return 4.0 * small / (1 + small) ** 2


_TORCH: dict[Surrogate, Callable[[Any], Any]] = {
    SURROGATES["sigmoid"]: _sigmoid,
    SURROGATES["triangle"]: lambda x: (1 - x.abs()).clamp(min=0),
    SURROGATES["rectangle"]: lambda x: (x.abs() < 0.5).to(x.dtype),
    SURROGATES["arctan"]: lambda x: 1 / (1 + (torch.pi * x) ** 2),
}


def slope(surrogate: Surrogate, x: Any) -> Any:
    """The surrogate derivative at a tensor: the known ones in PyTorch, a neuron's own function through NumPy."""
    if surrogate in _TORCH:
        return _TORCH[surrogate](x)
    values = np.asarray(surrogate(x.detach().cpu().numpy()))
    if values.shape != tuple(x.shape):
        raise PluginError(
            f"a surrogate gave {values.shape} for an array {tuple(x.shape)}; expected one of the same shape"
        )
    return torch.as_tensor(values, dtype=x.dtype, device=x.device)


class _Fire(torch.autograd.Function):
    """[x >= 0], with a surrogate derivative at x over the neurons' scale."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: Any, surrogate: Surrogate) -> Any:
        ctx.save_for_backward(x, factor)
        ctx.surrogate = surrogate
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, factor = ctx.saved_tensors
        return g * slope(ctx.surrogate, x / factor) / factor, None, None


def fire(x: Any, factor: Any, surrogate: Surrogate) -> Any:
    """[x >= 0], with the surrogate derivative at x/factor."""
    return _Fire.apply(x, factor, surrogate)


@dataclass(frozen=True)
class Cells:
    """A layer's neurons; tensors of channels are (C, 1, 1), in units of the scale of the current that they integrate.

    v0 : the first membranes. threshold, reset : of each step; None where they are silent. dynamics : leak, planes, reset.
    keep : what is left of the membrane, as a float. unit : of the grid. factor : what the surrogate's argument is over: the
    neurons' own scale over that of their current, or θ. surrogate, follow_reset : for gradients.
    """

    v0: Any
    threshold: list[Any]
    reset: list[Any]
    dynamics: Dynamics
    keep: Any
    unit: Any
    factor: Any
    surrogate: Surrogate
    follow_reset: bool = True

    def run(self, currents: Any) -> tuple[Any, Any]:
        """The spikes (steps, N, planes·C, H, W) that currents (steps, N, C, H, W) cause, and the membranes at the end."""
        v, fired = self.v0.expand(currents.shape[1:]), []
        for current, threshold, reset in zip(currents, self.threshold, self.reset, strict=True):
            v, spikes = self._step(v, current, threshold, reset)
            fired.append(spikes)
        return torch.stack(fired), v

    def _step(self, v: Any, current: Any, threshold: Any, reset: Any) -> tuple[Any, Any]:
        own = self.dynamics
        u = v + current
        if own.leaks or (torch.is_tensor(self.keep) and self.keep.requires_grad):  # a trained leak of 1 has a gradient
            u = self._times(v, own.keep, self.keep)
            u = u + self._times(current, own.input_factor, own.input_factor / ONE)
        if threshold is None:
            return u, torch.zeros_like(u).repeat(1, own.up + own.down, 1, 1)
        up = [self._fire(u - (threshold + k * reset)) for k in range(min(own.most, (1 << own.up) - 1))]
        down = [self._fire(-u - (threshold + k * reset)) for k in range(min(own.most, (1 << own.down) - 1))]
        if own.to_zero:  # of the two one at most fires, and nothing of the membrane is left
            fires = up[0] + down[0] if down else up[0]
            v = u * (1 - (fires if self.follow_reset else fires.detach()))
        else:
            count: Any = sum(up) - sum(down)
            v = u - (count if self.follow_reset else count.detach()) * reset
        bits = [_plane(up, p) for p in range(own.up)] + [_plane(down, p) for p in range(own.down)]
        return v, torch.cat(bits, 1)

    def _fire(self, x: Any) -> Any:
        return fire(x, self.factor, self.surrogate)

    def _times(self, values: Any, m: int, factor: Any) -> Any:
        """(x·m + 2^15) >> 16 on the grid; what is rounded, the factor too, is passed straight through."""
        whole = torch.floor((values.detach() / self.unit * m + ONE // 2) / ONE)
        return through(whole * self.unit, values * factor)


def _plane(fired: list[Any], plane: int) -> Any:
    """A plane of spikes, from whether the 1st, 2nd, ... is fired: a bit of their number, which each of them changes or not."""
    n = np.arange(len(fired) + 1)
    flips: NDArray[np.int64] = np.diff(n >> plane & 1)
    total = torch.zeros_like(fired[0])  # what a plane is that no number reaches
    for flip, spikes in zip(flips.tolist(), fired, strict=True):
        if flip:
            total = total + flip * spikes
    return total
