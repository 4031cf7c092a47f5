"""What both twins are made of: layers with parameters by name, and functions whose gradient is that of another."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from nspike.errors import BadInputError, UsageError
from nspike.graph.layer import (
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Constant,
    Layer,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.model.model import Model
from nspike.twin.slots import Slot
from nspike.twin.state import Form, pack, slots_of, trained, unpack


class Twin(nn.Module):
    """A network of nspike as a module. Its parameters are `slots`, its state dict holds the model that it was made from.

    Parameters
    ----------
    model : the model.
    form : which of its networks.
    """

    def __init__(self, model: Model, form: Form) -> None:
        super().__init__()
        self.model, self.form = model, form
        self.slots = slots_of(model, form)
        self.layers = _Named({slot.module: None for slot in self.slots if slot.layer})
        self.head = nn.Module()
        for slot in self.slots:
            value, owner = torch.tensor(slot.start), self._owner(slot)
            if slot.trained:
                owner.register_parameter(slot.name, nn.Parameter(value))
            else:
                owner.register_buffer(slot.name, value)

    def _owner(self, slot: Slot) -> Any:
        return self.layers[slot.module] if slot.layer else self.head

    def _tensor(self, slot: Slot) -> Any:
        return getattr(self._owner(slot), slot.name)

    def values(self) -> dict[str, NDArray[Any]]:
        """Every slot's value as an array."""
        return {slot.key: self._tensor(slot).detach().cpu().numpy() for slot in self.slots}

    def to_model(self) -> Model:
        """The model with the values of the parameters."""
        return trained(self.model, self.form, self.values())

    def constrain(self) -> None:
        """Put every parameter back into its range."""
        with torch.no_grad():
            for slot in self.slots:
                if not (np.isfinite(slot.low) or np.isfinite(slot.high)):
                    continue
                value = self._tensor(slot)
                inside = value.clamp(slot.low, slot.high)
                if not torch.equal(inside, value):  # only then: a graph that is not yet gone through may need it
                    value.copy_(inside)

    def get_extra_state(self) -> Any:
        """The model, as bytes: uint8 (n,)."""
        return torch.from_numpy(pack(self.model, self.form).copy())

    def set_extra_state(self, state: Any) -> None:
        """Take over the model of a state dict. Raises UsageError for that of another network."""
        model, form = unpack(state.cpu().numpy())
        if form != self.form or model.network != self.model.network:
            raise UsageError(
                f"the state dict is of the {form} network {model.network.name} of {model.info.name}, not of this one; "
                "make the module from it: nspike.to_torch(FILE)"
            )
        self.model = model
        self.slots = slots_of(model, form)

    def image(self, images: Any) -> Any:
        """A batch as it is, checked. Raises BadInputError for another shape."""
        network = self.model.network
        multiple = network.size_multiple
        if images.ndim != 4 or images.shape[1] != network.channels or 0 in images.shape:
            raise BadInputError(
                f"network {network.name} takes (N, {network.channels}, H, W), not {tuple(images.shape)}"
            )
        if images.shape[2] % multiple or images.shape[3] % multiple:
            raise BadInputError(
                f"network {network.name} takes heights and widths that are multiples of {multiple}, not "
                f"{images.shape[2]}×{images.shape[3]}; pad the images by reflection"
            )
        return images

    def extra_repr(self) -> str:
        """The model in a line."""
        return repr(self.model)


class _Named(nn.Module):
    """Modules by name, whatever the name."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._modules.update({name: nn.Module() for name in names})

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]


class _Through(torch.autograd.Function):
    """One value forward, the gradient of another backward."""

    @staticmethod
    def forward(ctx: Any, exact: Any, value: Any) -> Any:
        return exact.view_as(exact)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return None, g


def through(exact: Any, value: Any) -> Any:
    """`exact` forward, the gradient of `value` backward; both are broadcast to the shape of `exact`."""
    if not torch.is_grad_enabled():
        return exact
    return _Through.apply(exact.detach(), value.expand(exact.shape))


def constant(layer: Constant, read: Any, sigma: Any) -> Any:
    """The planes of a constant, (N, C, H, W): with the noise level `sigma`, of 255, one or (N,), where they mean it."""
    values = torch.tensor(layer.values, dtype=read.dtype, device=read.device).expand(len(read), -1)
    if layer.meaning == "sigma" and sigma is not None:
        level = torch.as_tensor(sigma, dtype=read.dtype, device=read.device) / 255
        if level.ndim > 1 or (level.ndim == 1 and len(level) != len(read)):
            raise UsageError(f"sigma is a number or one for each of {len(read)} images, not {tuple(level.shape)}")
        values = level.reshape(-1, 1).expand(len(read), len(layer.values))
    return values[:, :, None, None].expand(-1, -1, *read.shape[2:])


def _nearest(layer: Any, x: Any) -> Any:
    return x.repeat_interleave(layer.factor, -2).repeat_interleave(layer.factor, -1)


SAME: Mapping[type[Layer], Callable[[Any, list[Any]], Any]] = {
    Concat: lambda layer, read: torch.cat(read, 1),
    Slice: lambda layer, read: read[0][:, layer.first : layer.first + layer.channels],
    ChannelShuffle: lambda layer, read: functional.channel_shuffle(read[0], layer.groups),
    PixelShuffle: lambda layer, read: functional.pixel_shuffle(read[0], layer.factor),
    PixelUnshuffle: lambda layer, read: functional.pixel_unshuffle(read[0], layer.factor),
    Nearest: lambda layer, read: _nearest(layer, read[0]),
    AveragePool: lambda layer, read: functional.avg_pool2d(read[0], layer.size),
    Bilinear: lambda layer, read: functional.interpolate(read[0], scale_factor=2, mode="bilinear", align_corners=False),
}
"""Layers that both networks compute alike: (layer, tensors (N, C, H, W) that it reads) -> its tensor."""


def correlate(conv: Any, x: Any, weight: Any) -> Any:
    """The zero-padded correlation of (N, C_in, H, W) by (C_out, C_in/groups, k, k), perhaps of other widths."""
    before, after = conv.pads
    if before == after:
        options = {"padding": before}
    else:
        x, options = functional.pad(x, (before, after, before, after)), {}
    return functional.conv2d(x, weight, stride=conv.stride, dilation=conv.dilation, groups=conv.groups, **options)
