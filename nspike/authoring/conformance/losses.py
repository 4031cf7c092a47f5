"""What a loss must keep: one finite number, the same each time, in the images' precision, with the gradient of its value."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nspike.autograd.checking import check_gradients
from nspike.autograd.tensor import Array, Tensor
from nspike.contracts.loss import Loss, LossInput
from nspike.errors import PluginError

SHAPE = (2, 3, 12, 10)
TIMESTEPS = 4
LAYERS = ("first", "second")


def examine(loss: Loss, options: Mapping[str, Any] | None, tolerance: float) -> float:
    """The largest error of its gradient; see `nspike.testing.check_loss`."""
    arrays = _arrays()
    values = loss.values(options)
    single = [array.astype(np.float32) for array in arrays.values()]
    kept = [array.copy() for array in single]
    first, again = (_computed(loss, dict(zip(arrays, single, strict=True)), values) for _ in range(2))
    if first.data.tobytes() != again.data.tobytes():
        raise PluginError(f"loss {loss.name}: gives {first.item():.9g} and then {again.item():.9g} for the same images")
    if any(not np.array_equal(now, before) for now, before in zip(single, kept, strict=True)):
        raise PluginError(f"loss {loss.name}: changes what it is given")
    first.backward(np.ones_like(first.data))

    def value(*tensors: Tensor) -> Tensor:
        return loss.compute(_seen(dict(zip(arrays, tensors, strict=True)), values))

    return check_gradients(value, *arrays.values(), tolerance=tolerance)


def _computed(loss: Loss, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> Tensor:
    """The loss of float32 arrays, checked."""
    tensors = {name: Tensor(array, requires_grad=True) for name, array in arrays.items()}
    answer = loss.of(_seen(tensors, values))
    if not np.isfinite(answer.item()):
        raise PluginError(f"loss {loss.name}: gives {answer.item()} for images in [0, 1]")
    if not answer.requires_grad:
        raise PluginError(f"loss {loss.name}: depends on nothing that is trained")
    return answer


def _arrays() -> dict[str, Array]:
    """Random images, steps, rates and features, float64."""
    draw = np.random.default_rng(0)
    arrays = {"output": draw.random(SHAPE), "steps": draw.random((TIMESTEPS, *SHAPE))}
    arrays |= {f"rate {name}": np.asarray(draw.random()) for name in LAYERS}
    return arrays | {f"feature {name}": draw.random((2, 4, 6 - i, 5)) for i, name in enumerate(LAYERS)}


def _seen(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> LossInput:
    draw = np.random.default_rng(1)
    like = tensors["output"].data.dtype
    seen = LossInput(
        tensors["output"],
        Tensor(draw.random(SHAPE).astype(like)),
        Tensor(draw.random(SHAPE).astype(like)),
        steps=tensors["steps"],
        rates={name: tensors[f"rate {name}"] for name in LAYERS},
        options=values,
    )
    features = {name: tensors[f"feature {name}"] for name in LAYERS}
    teacher = {name: Tensor(draw.random(tensor.shape).astype(like)) for name, tensor in features.items()}
    return replace(seen, features=features, teacher=teacher)
