"""Two neurons outside the declared family, each with its kernel for the engine and its slow twin for `tests.naive`."""

from types import SimpleNamespace

import numpy as np

from nspike.contracts.neuron import Neuron, Parameter
from tests import naive, naive_neurons


def ternary_step(v, current, state, params, phase, out):
    """Fires +1 or -1, and is silent in the step after: state[0] is 1 where it has just fired."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            if state[0, p, c] == 1:
                state[0, p, c] = 0
            elif v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]
                state[0, p, c] = 1
            elif v[p, c] <= -params[0, c]:
                out[p, c, 1] = 1
                v[p, c] += params[0, c]
                state[0, p, c] = 1


class Ternary(naive.IF):
    name, planes, defaults = "own_ternary", (1, -1), {"v_init": 0.0}
    fired = False

    def step(self, current, post):
        self.v = self.v + current
        up = (self.v >= self.theta) & ~np.asarray(self.fired)
        down = (self.v <= -self.theta) & ~np.asarray(self.fired)
        self.v = self.v - self.theta * up + self.theta * down
        self.fired = up | down
        return np.stack([up, down])


def burst_step(v, current, state, params, phase, out):
    """Fires up to seven times a step, three in a post step; rests after 9 spikes."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            most = 3 if phase[1] == 1 else 7
            n = min(max(v[p, c] // params[0, c], 0), most)
            if state[0, p, c] > 9 or state[1, p, c] != phase[0]:
                n = 0
            state[0, p, c] += n
            state[1, p, c] += 1
            v[p, c] -= n * params[0, c]
            for i in range(3):
                out[p, c, i] = (n >> i) & 1


class Burst(naive.IF):
    name, planes, post_steps, defaults = "own_burst", (1, 2, 4), 2, {"v_init": 0.0}

    def step(self, current, post):
        self.v = self.v + current
        spent = getattr(self, "spent", np.zeros_like(self.v))
        n = np.where(spent > 9, 0, np.clip(self.v // self.theta, 0, 3 if post else 7))
        self.spent = spent + n
        self.v = self.v - n * self.theta
        return np.stack([n & 1, n & 2, n & 4]) > 0


def leaky_step(v, current, state, params, phase, out):
    """lif as a kernel of its own. params rows: θ, m."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            u = ((np.int64(v[p, c]) * np.int64(params[1, c]) + 32768) >> 16) + np.int64(current[p, c])
            fires = u >= params[0, c]
            out[p, c, 0] = fires
            v[p, c] = u - params[0, c] if fires else u


class Leaky(naive_neurons.LIF):
    name, defaults = "leaky", {"v_init": 0.0, "tau": 16.0}

    def prepare(self, p, theta, grid):
        super().prepare({**p, "decay_input": 0.0}, theta, grid)


def theta_and_leak(parameters, theta, exponent):
    keep = np.full(theta.shape, np.rint((1.0 - 1.0 / parameters["tau"]) * 65536.0))
    return np.concatenate([theta_only(parameters, theta, exponent), keep[None]]).astype(np.int32)


def theta_only(parameters, theta, exponent):
    return np.maximum(np.rint(np.ldexp(theta, exponent)), 1)[None].astype(np.int32)


def _both(kind, step, state_planes):
    fast = Neuron(
        name=kind.name,
        summary="",
        source="",
        planes=kind.planes,
        post_steps=kind.post_steps,
        step=step,
        step_parameters=theta_only,
        state_planes=state_planes,
    )
    return SimpleNamespace(fast=fast, naive=kind)


TERNARY = _both(Ternary, ternary_step, 1)
BURST = _both(Burst, burst_step, 2)


def declared(name, up=1, down=0, most=1, keep=1.0, factor=1.0, zero=False):
    """A declared neuron of any kind, and its slow twin."""
    twin = naive_neurons.of_kind(name, up, down, most, keep, factor, zero)
    fast = Neuron(
        name=name,
        summary="",
        source="",
        parameters=(Parameter("v_init", 0.0, -1.0, 1.0, ""),),
        post_steps=1,
        fire=lambda p, t, timesteps: 1.0 if t <= timesteps else 0.75,
        amplitude=lambda p, t, timesteps: 1.0 if t <= timesteps else 1.25,
        keep=None if keep == 1.0 else lambda p: keep,
        input_factor=None if factor == 1.0 else lambda p: factor,
        reset="zero" if zero else "subtract",
        planes=twin.planes,
        most_spikes=most,
    )
    return SimpleNamespace(fast=fast, naive=twin)


DECLARED = [
    declared("signed release", down=1),
    declared("burst of five", up=3, most=5),
    declared("leaky burst", up=2, most=3, keep=0.8),
    declared("both to zero", up=2, down=2, most=3, keep=0.9, factor=0.6, zero=True),
    declared("all forgotten", keep=0.0, zero=True),
]
"""Kinds that no plugin has."""

LEAKY = SimpleNamespace(
    fast=Neuron(
        name="leaky",
        summary="",
        source="",
        parameters=(Parameter("tau", 16.0, 1.0, 65536.0, ""), Parameter("v_init", 0.0, -1.0, 1.0, "")),
        step=leaky_step,
        step_parameters=theta_and_leak,
    ),
    naive=Leaky,
)
