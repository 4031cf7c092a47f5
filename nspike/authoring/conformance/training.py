"""The check that a neuron trains: what is trained is what runs, and steps along its gradient lead to finite numbers."""

import numpy as np
from numpy.typing import NDArray

from nspike.authoring.conformance import networks
from nspike.authoring.conformance.networks import HEAD, WIDTHS
from nspike.authoring.conformance.report import Fault
from nspike.authoring.conformance.subject import Subject
from nspike.trainable.spiking import DifferentiableNetwork, Outcome

SIZE = (5, 7)
STEPS = 2
LARGEST = 0.01
"""How far a step moves the parameter that moves most."""


def training(subject: Subject) -> str:
    """The forward pass of training is the engine's, spike for spike, and steps along the gradient are finite."""
    reached, plane = False, networks.image(*SIZE)
    for name, widths in WIDTHS.items():
        model = networks.model(subject.neuron, subject.values, widths)
        net = DifferentiableNetwork(model, subject.neuron, HEAD)
        for step in range(STEPS):
            outcome = net.run(plane[None])
            _compare(f"{name}, after {step} steps", net, outcome, plane)
            reached |= _follow(name, net, outcome)
        _compare(f"{name}, after {STEPS} steps", net, net.run(plane[None]), plane)
    if not reached:
        raise Fault(
            "no gradient reaches the first layer: the surrogate is zero wherever a membrane was, or nothing fires"
        )
    how = "through time" if net.gradient == "time" else "through the rate, as it has a kernel of its own"
    return f"{how}; training's spikes are the engine's"


def _compare(what: str, net: DifferentiableNetwork, outcome: Outcome, plane: NDArray[np.int32]) -> None:
    run = networks.run(net.to_model(), net.neuron, plane)
    for layer, train in outcome.trains.items():
        wrong = np.argwhere(train.dense()[0] != run.spikes[layer])
        if wrong.size:
            t, c, y, x = wrong[0]
            raise Fault(
                f"{what}: training and the engine differ at {layer}, step {t + 1}, channel {c}, pixel ({y}, {x})"
            )


def _follow(name: str, net: DifferentiableNetwork, outcome: Outcome) -> bool:
    """Take a step, spikes having a price too; whether a gradient reached the first layer."""
    loss = outcome.restored.square().mean()
    for rate in outcome.rates.values():
        loss = loss + rate
    loss.backward()
    moved = {name: (tensor, tensor.grad) for name, tensor in net.parameters().items() if tensor.grad is not None}
    for key, (_, gradient) in moved.items():
        if not np.all(np.isfinite(gradient)):
            raise Fault(f"{name}: the gradient of {key} is not finite")
    largest = max(float(np.abs(gradient).max()) for _, gradient in moved.values())
    for tensor, gradient in moved.values():
        if largest:
            tensor.data = (tensor.data - LARGEST / largest * gradient).astype(tensor.data.dtype)
        tensor.grad = None
    net.constrain()
    return bool(np.any(moved["conv1.weight"][1]))
