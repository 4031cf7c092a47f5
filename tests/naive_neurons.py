"""The slow, obvious version of the declared neurons, step after step in whole Python integers or int64.

Written from the definitions, not from the fast code. Everything is (channels, H, W).
"""

import math
from fractions import Fraction

import numpy as np


def half_even(numerator, denominator):
    """numerator / denominator, rounded half to even, in whole integers."""
    q, r = divmod(numerator, denominator)
    return q + (2 * r > denominator or (2 * r == denominator and q % 2 == 1))


def on_grid(x, k):
    """x·2^k rounded half to even."""
    n, d = float(x).as_integer_ratio()
    return half_even(n << k, d) if k >= 0 else half_even(n, d << -k)


def column(values):
    return np.array([int(v) for v in values], np.int64).reshape(-1, 1, 1)


class IF:
    """p: the layer's parameters; theta float64 (C,), grid: the layer's; v (C, H, W)."""

    name, planes, post_steps, defaults = "if", (1,), 0, {"v_init": 0.0}
    digits = False

    def __init__(self, p, theta, grid, shape):
        self.theta = grid.theta
        self.v0 = column(on_grid(p["v_init"] * t, k) for t, k in zip(theta, grid.exponent, strict=True))
        self.v = self.v0 + np.zeros(shape, np.int64)
        self.prepare(p, theta, grid)

    def prepare(self, p, theta, grid):
        pass

    @staticmethod
    def amplitude(p, post):
        return 1.0

    def step(self, current, post):
        """Spikes bool (planes, C, H, W)."""
        self.v = self.v + current
        return self.spend(self.theta, self.theta)

    def spend(self, threshold, reset):
        fires = self.v >= threshold
        self.v = self.v - np.where(fires, reset, 0)
        return fires[None]


class MPRN(IF):
    name, post_steps, defaults = "mprn", 1, {"v_init": 0.0, "beta": 0.0}

    def prepare(self, p, theta, grid):
        alpha = round(0.5 / (1.0 + math.exp(-p["beta"])) + 0.5, 12)
        self.release = column(on_grid(alpha * t, k) for t, k in zip(theta, grid.exponent, strict=True))

    def step(self, current, post):
        self.v = self.v + current
        return self.spend(self.release if post else self.theta, self.theta)


class MPRNBeta(IF):
    name, post_steps, defaults = "mprn_beta", 1, {"v_init": 0.0, "alpha": 0.9, "beta": 1.0}

    def prepare(self, p, theta, grid):
        both = list(zip(theta, grid.exponent, strict=True))
        self.release = column(on_grid(p["alpha"] * t, k) for t, k in both)
        self.worth = column(on_grid(p["beta"] * t, k) for t, k in both)

    @staticmethod
    def amplitude(p, post):
        return p["beta"] if post else 1.0

    def step(self, current, post):
        self.v = self.v + current
        return self.spend(self.release, self.worth) if post else self.spend(self.theta, self.theta)


class LIF(IF):
    name, defaults = "lif", {"v_init": 0.0, "tau": 16.0, "decay_input": 0.0}

    def prepare(self, p, theta, grid):
        self.keep = on_grid((1.0 - 1.0 / p["tau"]) * 65536.0, 0)
        self.factor = on_grid((1.0 - p["decay_input"] * (1.0 - 1.0 / p["tau"])) * 65536.0, 0)

    def step(self, current, post):
        self.v = ((self.v * self.keep + 32768) >> 16) + ((current * self.factor + 32768) >> 16)
        return self.spend(self.theta, self.theta)


class HardLIF(LIF):
    name = "lif_hard"

    def step(self, current, post):
        fired = super().step(current, post)
        self.v = np.where(fired.any(axis=0), 0, self.v)
        return fired


class Signed(IF):
    name, planes = "signed", (1, -1)

    def step(self, current, post):
        self.v = self.v + current
        up, down = self.v >= self.theta, self.v <= -self.theta
        self.v = self.v - np.where(up, self.theta, 0) + np.where(down, self.theta, 0)
        return np.stack([up, down])


def signed_form(kind):
    """The same neuron, which also fires where -u is at the threshold: into planes of the negative gains."""
    if min(kind.planes) < 0:
        return kind

    class Form(kind):
        planes = (*kind.planes, *(-gain for gain in kind.planes))

        def spend(self, threshold, reset):
            up, down = self.v >= threshold, self.v <= -threshold
            self.v = self.v - np.where(up, reset, 0) + np.where(down, reset, 0)
            return np.stack([up, down])

    return Form


class Burst(IF):
    name, planes, defaults = "burst", (1, 2, 4), {"gamma": 5.0, "v_init": 0.0}

    def prepare(self, p, theta, grid):
        self.most = int(p["gamma"])

    def step(self, current, post):
        u, spikes, left = self.v + current, [], self.v + current
        for sign in (1, -1)[: len(self.planes) // 3]:
            n = np.clip(sign * u // self.theta, 0, self.most)
            spikes += [n >> i & 1 for i in range(3)]
            left = left - sign * n * self.theta
        self.v = left
        return np.stack(spikes) > 0


class FewSpikes(IF):
    """How far |u| is above where 1 begins, in whole thresholds: one less than the number, whose digits are sent."""

    name, planes, digits, defaults = (
        "few_spikes",
        tuple(1 << k for k in range(6)),
        True,
        {"slots": 5.0, "round": 0.5, "v_init": 0.0},
    )

    def prepare(self, p, theta, grid):
        self.most = 2 ** int(p["slots"]) - 1
        self.first = column(max(1, on_grid((1 - p["round"]) * t, k)) for t, k in zip(theta, grid.exponent, strict=True))

    def step(self, current, post):
        u, spikes, left = self.v + current, [], self.v + current
        for sign in (1, -1)[: len(self.planes) // 6]:
            n = np.clip((sign * u - self.first) // self.theta + 1, 0, self.most)
            spikes += [n >> k & 1 for k in range(6)]
            left = left - sign * n * self.theta
        self.v = left
        return np.stack(spikes) > 0


class Ternary(IF):
    name, planes, defaults = "ternary", (1, -1), {"amplitude": 1.0, "leak": 0.25, "v_init": 0.0}

    def prepare(self, p, theta, grid):
        self.half = column(max(1, on_grid(0.5 * t, k)) for t, k in zip(theta, grid.exponent, strict=True))
        self.keep = on_grid(p["leak"] * 65536.0, 0)

    @staticmethod
    def amplitude(p, post):
        return p["amplitude"]

    def step(self, current, post):
        u = ((self.v * self.keep + 32768) >> 16) + current
        s = np.where(np.abs(u) >= self.half, np.sign(u), 0)
        self.v = u * (1 - np.abs(s))
        return np.stack([s > 0, s < 0])


class ATIF(IF):
    name, defaults = "atif", {"theta": 0.9, "v_init": 0.0}

    def prepare(self, p, theta, grid):
        self.own = column(max(1, on_grid(p["theta"] * t, k)) for t, k in zip(theta, grid.exponent, strict=True))

    @staticmethod
    def amplitude(p, post):
        return p["theta"]

    def step(self, current, post):
        self.v = self.v + current
        return self.spend(self.own, self.own)


class DietSNN(IF):
    name, defaults = "dietsnn", {"keep": 1.0, "v_init": 0.0}

    def prepare(self, p, theta, grid):
        self.keep = on_grid(p["keep"] * 65536.0, 0)

    def step(self, current, post):
        u = ((self.v * self.keep + 32768) >> 16) + current
        self.v = u
        return self.spend(self.theta + 1, self.theta)  # of whole numbers: u > θ


class Lan(IF):
    name, planes, defaults = (
        "lan",
        (1, 2, 4, 8, 16, 32, 64),
        {"share": 0.1, "least": 0.1, "most": 4.0, "v_init": 0.0},
    )

    def prepare(self, p, theta, grid):
        self.unit = column(max(1, on_grid(t / 16, k)) for t, k in zip(theta, grid.exponent, strict=True))
        self.share, self.most = 1 - Fraction(on_grid(p["share"] * 65536.0, 0), 65536), int(p["most"])
        self.least = max(1, math.ceil(p["least"] * 16))

    @staticmethod
    def amplitude(p, post):
        return 1 / 16

    def step(self, current, post):
        u = self.v + current
        levels = sorted((u // self.unit)[u > 0].tolist())
        rank = max(1, math.ceil(self.share * len(levels)))
        level = min(max(levels[rank - 1], self.least), 16) if levels else 16
        n = np.clip(u // (level * self.unit), 0, self.most)
        self.v = u - n * level * self.unit
        return np.stack([n * level >> i & 1 for i in range(7)]) > 0


NEURONS = {
    neuron.name: neuron
    for neuron in (IF, MPRN, MPRNBeta, LIF, HardLIF, Signed, Burst, FewSpikes, Ternary, ATIF, DietSNN)
}
KERNELS = {Lan.name: Lan}
"""Built in with a kernel of their own: no signed form, and this one no tiles."""


# ----- Any declared neuron, from its numbers on the grid -----


def of_kind(name, up=1, down=0, most=1, keep=1.0, factor=1.0, zero=False):
    """The class of neurons that leak, burst and reset so, with one post step at 3/4 of the threshold and spikes worth 5/4."""
    factors = {"keep": on_grid(keep * 65536.0, 0), "factor": on_grid(factor * 65536.0, 0)}

    class Kind(IF):
        post_steps = 1

        def prepare(self, p, theta, grid):
            both = list(zip(theta, grid.exponent, strict=True))
            self.release = column(max(1, on_grid(0.75 * t, k)) for t, k in both)
            self.worth = column(on_grid(1.25 * t, k) for t, k in both)

        @staticmethod
        def amplitude(p, post):
            return 1.25 if post else 1.0

        def step(self, current, post):
            threshold, reset = (self.release, self.worth) if post else (self.theta, self.theta)
            spikes = np.zeros((up + down, *current.shape), bool)
            for c, y, x in np.ndindex(current.shape):
                numbers = (int(self.v[c, y, x]), int(current[c, y, x]), int(threshold[c, 0, 0]), int(reset[c, 0, 0]))
                after, fired = declared_step(*numbers, **factors, zero=zero, up=up, down=down, most=most)
                self.v[c, y, x], spikes[:, c, y, x] = after, fired
            return spikes

    Kind.name = name
    Kind.planes = (*(1 << i for i in range(up)), *(-(1 << i) for i in range(down)))
    return Kind


def declared_step(v, current, threshold, reset, *, keep=65536, factor=65536, zero=False, up=1, down=0, most=1):
    """One neuron, one step, in whole Python numbers: the membrane after it, and the spikes of each plane, 0 or 1."""
    u = ((v * keep + 32768) >> 16) + ((current * factor + 32768) >> 16)
    n = m = 0
    while n < min(most, 2**up - 1) and u - n * reset >= threshold:
        n += 1
    while m < min(most, 2**down - 1) and u + m * reset <= -threshold:
        m += 1
    assert not (n and m)
    after = 0 if zero and (n or m) else u - n * reset + m * reset
    return after, [n >> i & 1 for i in range(up)] + [m >> i & 1 for i in range(down)]


def declared(currents, v0, threshold, reset, **dynamics):
    """currents (steps, C, ...), v0 (C,), threshold and reset (steps, C): spikes bool (steps, planes, C, ...), v at the end."""
    planes = dynamics.get("up", 1) + dynamics.get("down", 0)
    spikes = np.zeros((len(currents), planes, *currents.shape[1:]), bool)
    v = np.zeros(currents.shape[1:], np.int64)
    for place in np.ndindex(v.shape):
        one, c = int(v0[place[0]]), place[0]
        for t in range(len(currents)):
            numbers = (int(currents[(t, *place)]), int(threshold[t][c]), int(reset[t][c]))
            one, fired = declared_step(one, *numbers, **dynamics)
            spikes[(t, slice(None), *place)] = fired
        v[place] = one
    return spikes, v
