"""Optimisers and schedules: against PyTorch where it is installed; resuming to the bit."""

import numpy as np
import pytest

from nspike.autograd import Tensor
from nspike.errors import ModelError, UsageError
from nspike.trainable import schedule
from nspike.trainable.optim import SGD, Adam, AdamW, clip_gradients

MAKERS = {
    "sgd": lambda p: SGD(p, 0.05, momentum=0.8, weight_decay=0.1),
    "adam": lambda p: Adam(p, 0.05, weight_decay=0.1),
    "adamw": lambda p: AdamW(p, 0.05, weight_decay=0.1, betas=(0.8, 0.99)),
}
TWINS = {
    "sgd": lambda torch, p: torch.optim.SGD(p, 0.05, momentum=0.8, weight_decay=0.1),
    "adam": lambda torch, p: torch.optim.Adam(p, 0.05, weight_decay=0.1),
    "adamw": lambda torch, p: torch.optim.AdamW(p, 0.05, weight_decay=0.1, betas=(0.8, 0.99)),
}
START = np.random.default_rng(0).normal(size=(4, 3))


def gradient(x, step):
    return np.sin(3 * x + step)


def walk(optimiser, tensor, first, last, factor=lambda step: 1.0):
    for step in range(first, last):
        tensor.grad = gradient(tensor.data, step)
        optimiser.step(factor(step))


@pytest.mark.parametrize("name", MAKERS)
def test_torch(name):
    torch = pytest.importorskip("torch")
    tensor, twin = Tensor(START), torch.nn.Parameter(torch.tensor(START))
    walk(MAKERS[name]({"x": tensor}), tensor, 0, 20)
    other = TWINS[name](torch, [twin])
    for step in range(20):
        twin.grad = torch.tensor(gradient(twin.detach().numpy(), step))
        other.step()
    np.testing.assert_allclose(tensor.data, twin.detach().numpy(), rtol=1e-12)


def by_hand(name, x, steps):
    """Numbers one at a time, as the papers write the rules."""
    rate, decay, momentum, epsilon = 0.05, 0.1, 0.8, 1e-8
    first, second = (0.8, 0.99) if name == "adamw" else (0.9, 0.999)
    m = v = 0.0
    for step in range(steps):
        g = gradient(x, step)
        if name == "sgd":
            m = momentum * m + g + decay * x
            x = x - rate * m
            continue
        if name == "adamw":
            x = x - rate * decay * x
        else:
            g = g + decay * x
        m = first * m + (1 - first) * g
        v = second * v + (1 - second) * g * g
        unbiased = m / (1 - first ** (step + 1)), v / (1 - second ** (step + 1))
        x = x - rate * unbiased[0] / (unbiased[1] ** 0.5 + epsilon)
    return x


@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("name", MAKERS)
def test_the_rules_by_hand(name, steps):
    tensor = Tensor(START)
    walk(MAKERS[name]({"x": tensor}), tensor, 0, steps)
    np.testing.assert_allclose(tensor.data, np.vectorize(lambda x: by_hand(name, x, steps))(START), rtol=1e-10)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resuming_changes_no_bit(name, dtype):
    straight = Tensor(START.astype(dtype))
    walk(MAKERS[name]({"x": straight}), straight, 0, 9)
    halted = Tensor(START.astype(dtype))
    first = MAKERS[name]({"x": halted})
    walk(first, halted, 0, 4)
    resumed = Tensor(halted.data.copy())
    second = MAKERS[name]({"x": resumed})
    second.load_state_dict({key: value.copy() for key, value in first.state_dict().items()})
    walk(second, resumed, 4, 9)
    assert resumed.data.dtype == dtype
    np.testing.assert_array_equal(resumed.data, straight.data)


def test_the_state_of_another_is_refused():
    tensor = {"x": Tensor(START)}
    with pytest.raises(ModelError, match="another optimiser"):
        Adam(tensor).load_state_dict(SGD(tensor).state_dict())
    with pytest.raises(ModelError, match="another network"):
        Adam(tensor).load_state_dict(Adam({"x": Tensor(START[:2])}).state_dict())


def test_rates_and_decay_of_single_parameters():
    tensors = {"a": Tensor(np.ones(2)), "b": Tensor(np.ones(2)), "c": Tensor(np.ones(2))}
    optimiser = SGD(tensors, 0.1, momentum=0, rates={"b": 10.0}, weight_decay=0.5, decays={"a"})
    for name in ("a", "b"):
        tensors[name].grad = np.ones(2)
    optimiser.step(0.5)
    assert tensors["a"].data.tolist() == pytest.approx([1 - 0.05 * 1.5] * 2)
    assert tensors["b"].data.tolist() == pytest.approx([0.5] * 2)
    assert tensors["c"].data.tolist() == [1, 1], "no gradient, no step"
    with pytest.raises(UsageError, match="'bb' to train"):
        SGD(tensors, 0.1, rates={"bb": 1.0})


def test_clipping():
    tensors = {"a": Tensor(np.zeros(2)), "b": Tensor(np.zeros(1)), "c": Tensor(np.zeros(1))}
    tensors["a"].grad, tensors["b"].grad = np.array([3.0, 0.0]), np.array([4.0])
    assert clip_gradients(tensors, 10.0) == 5.0
    assert tensors["b"].grad.tolist() == [4.0]
    assert clip_gradients(tensors, 1.0) == 5.0
    assert tensors["a"].grad.tolist() == pytest.approx([0.6, 0.0])
    assert tensors["b"].grad.tolist() == pytest.approx([0.8])


def test_schedules():
    fall = schedule.cosine(100, floor=0.1, warmup=10)
    assert [fall(0), fall(9), fall(10), fall(55), fall(100), fall(200)] == pytest.approx([0.1, 1, 1, 0.55, 0.1, 0.1])
    steps = schedule.step(10, gamma=0.5)
    assert [steps(9), steps(10), steps(25)] == [1, 0.5, 0.25]
    assert schedule.constant()(7) == 1


def test_torch_one_cycle():
    torch = pytest.importorskip("torch")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=50)
    ours = schedule.one_cycle(50)
    for at in range(50):
        assert ours(at) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        if at < 49:
            theirs.step()
