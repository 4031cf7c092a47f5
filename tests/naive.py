"""The slow, obvious version of the engine: whole Python integers, dense arrays, one loop per definition.

Written from the design and the docstrings, not from the fast code, and without Numba. Everything is (channels, H, W).
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from nspike.graph.layer import IMAGE, Activation, Concat, Conv, Gate
from tests.naive_neurons import IF, column, half_even, on_grid
from tests.naive_neurons import MPRN as MPRN
from tests.naive_neurons import NEURONS as NEURONS

UNIT = 65535

# ----- Rounding and grids -----


def whole(x):
    """|x|·2^1074: every float64 is a whole multiple of 2^-1074."""
    n, d = abs(float(x)).as_integer_ratio()
    return n * (2**1074 // d)


def exponent(weights, bias, theta, gain, limit):
    """The largest k that obeys the three bounds, for one output channel; weights (phases, ...)."""
    phases = [[whole(w) for w in phase.ravel()] for phase in weights]
    bounds = [(max([0, *phase]), limit) for phase in phases]
    bounds += [(whole(theta), 2**24)]
    bounds += [(gain * sum(phase) + whole(bias), 2**24) for phase in phases]
    low, high = -3000, 3000  # k = low fits, k = high does not
    while high - low > 1:
        k = (low + high) // 2
        # 2^k·value <= top, both sides times 2^(1074 + 3000)
        fits = all(value << (k + 3000) <= top << (1074 + 3000) for value, top in bounds)
        low, high = (k, high) if fits else (low, k)
    return low


@dataclass
class Grid:
    """exponent per channel; weights int64 (phases, C, I, k, k); bias, theta int64 (C, 1, 1)."""

    exponent: list
    weights: np.ndarray
    bias: np.ndarray
    theta: np.ndarray


def grid(weights, bias, theta, gain, limit):
    channels = range(len(bias))
    k = [exponent(weights[:, c], bias[c], theta[c], gain, limit) for c in channels]
    rounded = np.zeros(weights.shape, np.int64)
    for c in channels:
        rounded[:, c] = np.array([on_grid(w, k[c]) for w in weights[:, c].ravel()]).reshape(weights[:, c].shape)
    return Grid(
        k,
        rounded,
        column(on_grid(bias[c], k[c]) for c in channels),
        column(max(1, on_grid(theta[c], k[c])) for c in channels),
    )


# ----- Currents -----


def convolve(x, weights):
    """x (I, H, W), weights (C, I, k, k), both int64: the zero-padded convolution, tap by tap."""
    radius = weights.shape[-1] // 2
    height, width = x.shape[1:]
    padded = np.pad(x.astype(np.int64), ((0, 0), (radius, radius), (radius, radius)))
    out = np.zeros((len(weights), height, width), np.int64)
    for dy in range(weights.shape[-1]):
        for dx in range(weights.shape[-1]):
            out += np.tensordot(weights[:, :, dy, dx], padded[:, dy : dy + height, dx : dx + width], 1)
    return out


def image_current(plane, weights):
    """From the image, rounded once. 65535 is odd, so that no quotient is half-way between integers."""
    return (2 * convolve(plane, weights) + UNIT) // (2 * UNIT)


def gate_weights(plane, value, k):
    """λ·(x - 1) on the channels' grids, (C, H, W)."""
    out = np.zeros(plane.shape, np.int64)
    for c, y, x in np.ndindex(plane.shape):
        n, d = float(value[c]).as_integer_ratio()
        n, d = (int(plane[c, y, x]) - UNIT) * n, UNIT * d
        out[c, y, x] = half_even(n << k[c], d) if k[c] >= 0 else half_even(n, d << -k[c])
    return out


def to_plane(image):
    return image.astype(np.int64) * (257 if image.dtype == np.uint8 else 1)


# ----- Heads: (spikes, charge, residual, theta, exponents, T, parameters) -> float64 in units of λ -----


def membrane(n, charge, residual, theta, k, timesteps, parameters):
    return charge * 2.0 ** -np.array(k, np.float64)[:, None, None] / timesteps


def rate(n, charge, residual, theta, k, timesteps, parameters):
    return n / timesteps


def mapper(n, charge, residual, theta, k, timesteps, parameters):
    weight = parameters["weight"]
    mapped = np.zeros(n.shape)
    for c in range(len(weight)):
        largest = np.abs(weight[c]).max()
        k = 0
        if largest:  # 15 bits: the largest lies in [2^14, 2^15]
            while largest * 2.0**k < 2**14:
                k += 1
            while largest * 2.0**k >= 2**15:
                k -= 1
        kernel = np.array([on_grid(w, k) for w in weight[c].ravel()], np.int64).reshape(1, *weight.shape[1:])
        mapped[c] = convolve(n, kernel)[0] * 2.0**-k
    mapped = mapped / timesteps
    if "bias" in parameters:
        mapped = mapped + parameters["bias"][:, None, None]
    return mapped + residual / (timesteps * theta)


HEADS = {"membrane": membrane, "rate": rate, "cpm": mapper, "recycling": mapper}

# ----- The network -----


@dataclass
class Run:
    """spikes: layer -> bool (N, steps, planes·C, H, W); grids: layer -> Grid; inputs and residuals: layer -> int64 (N, C, H, W):
    all that arrived, and v - v(0); output float64 (N, C, H, W); each_step: what is read out after each step, float64
    (steps, N, C, H, W).
    """

    spikes: dict
    grids: dict
    inputs: dict
    residuals: dict
    output: np.ndarray
    each_step: np.ndarray


def driven_by(network, name):
    if name == network.output:
        return "output"
    (found,) = [layer.name for layer in network.layers if isinstance(layer, Activation) and layer.source == name]
    return found


def sources(network, name):
    """The activations that a layer reads, through concatenations too."""
    found = []
    for source in network.layer(name).sources:
        if source != IMAGE:
            layer = network.layer(source)
            found += sources(network, source) if isinstance(layer, Concat) else [layer]
    return found


def normalised(model, conv):
    """W·λ_in/λ_out and b/λ_out in float64, or what training has put in their place."""
    network, spiking = model.network, model.spiking
    out = np.asarray(spiking.scales[driven_by(network, conv.name)], np.float64)
    read = [np.asarray(spiking.scales[a.name], np.float64) for a in sources(network, conv.name)]
    scale = np.concatenate(read) if read else np.ones(network.channels)
    if conv.name in spiking.weights:
        weights = np.asarray(spiking.weights[conv.name], np.float64)
    else:
        weights = np.asarray(model.parameters[f"{conv.name}.weight"], np.float64)
        weights = weights * scale[:, None, None] / out[:, None, None, None]
    if conv.name in spiking.biases:
        return weights, np.asarray(spiking.biases[conv.name], np.float64)
    if not conv.bias:
        return weights, np.zeros(len(out))
    return weights, np.asarray(model.parameters[f"{conv.name}.bias"], np.float64) / out


def own_parameters(model, neuron, name):
    return neuron.defaults | dict(model.spiking.neuron_parameters.get(neuron.name, {}).get(name, {}))


def kernel_per_phase(model, kinds, conv, weights):
    """Gains and amplitudes multiplied in: float64 (1 or 2, C, Σ planes·channels, k, k)."""
    phases = []
    for post in (False, True):
        parts, first = [], 0
        for source in sources(model.network, conv.name):
            part, neuron = weights[:, first : first + source.channels], kinds[source.name]
            first += source.channels
            worth = neuron.amplitude(own_parameters(model, neuron, source.name), post and neuron.post_steps > 0)
            parts += [part * (worth * gain) for gain in neuron.planes]
        phases.append(np.concatenate(parts, axis=1))
    return np.stack(phases)


def layer_grid(model, kinds, layer):
    network, spiking = model.network, model.spiking
    name = driven_by(network, layer.name)
    channels = layer.out_channels if isinstance(layer, Conv) else layer.channels
    theta = np.ones(channels) * spiking.thresholds.get(name, 1.0)
    if isinstance(layer, Gate):
        out = np.asarray(spiking.scales[name], np.float64)
        value = np.asarray(spiking.scales[layer.source], np.float64) / out
        found = grid((value * 5)[None, :, None, None, None], 1.0 / out, theta, 1, 2**24)
        return found, theta, value
    weights, bias = normalised(model, layer)
    if layer.source == IMAGE:
        return grid(weights[None], bias, theta, 4, 32767), theta, None
    return grid(kernel_per_phase(model, kinds, layer, weights), bias, theta, 1, 4095), theta, None


def run(model, image, neuron, head, given=None):
    """image (N, C, H, W); neuron: a class of this module, or one like them; head: a name in HEADS.

    given: a layer whose spikes are not computed, (its name, bool (N, steps, channels, H, W), what fired them).
    """
    network, timesteps = model.network, model.spiking.timesteps
    kinds = {a.name: neuron for a in network.activations} | {"output": IF}
    if given is not None:
        kinds[given[0]] = given[2]
    steps = timesteps + max(kind.post_steps for kind in [neuron, *kinds.values()])
    fires = head != "membrane"
    result = Run({}, {}, {}, {}, np.zeros(image.shape), np.zeros((steps, *image.shape)))
    for n, plane in enumerate(to_plane(image)):
        values = {}
        for layer in network.layers:
            if isinstance(layer, Activation):
                values[layer.name] = values[layer.source]
            elif isinstance(layer, Concat):
                values[layer.name] = np.concatenate([values[s] for s in layer.sources], axis=1)
            else:
                name = driven_by(network, layer.name)
                if given is not None and name == given[0]:
                    values[layer.name] = np.zeros((steps, *given[1].shape[2:]), bool)
                    values[layer.name][: given[1].shape[1]] = given[1][n]
                    result.spikes.setdefault(name, []).append(values[layer.name])
                    continue
                found, theta, value = layer_grid(model, kinds, layer)
                kind = kinds[name]
                cells = kind(own_parameters(model, kind, name), theta, found, (len(theta), *plane.shape[1:]))
                spikes, total, course = [], np.zeros(cells.v.shape, np.int64), []
                gates = gate_weights(plane, value, found.exponent) if isinstance(layer, Gate) else None
                for t in range(steps):
                    post = t >= timesteps
                    if layer.sources == (IMAGE,):
                        current = image_current(plane, found.weights[0]) * (not post)
                    elif isinstance(layer, Gate):
                        current = gates * values[layer.source][t]
                    else:
                        current = convolve(values[layer.source][t], found.weights[int(post)])
                    current = current + (0 if post else found.bias)
                    total = total + current
                    if t >= timesteps + kind.post_steps or (name == "output" and not fires):
                        cells.v = cells.v + current
                        spikes.append(np.zeros((len(kind.planes), *cells.v.shape), bool))
                    else:
                        spikes.append(cells.step(current, post))
                    course.append((np.sum(spikes, axis=0)[0], total, cells.v - cells.v0))
                values[layer.name] = np.array(spikes).reshape(steps, -1, *plane.shape[1:])
                result.grids[name] = found
                result.spikes.setdefault(name, []).append(values[layer.name])
                result.inputs.setdefault(name, []).append(total)
                result.residuals.setdefault(name, []).append(cells.v - cells.v0)
        parameters = head_parameters(model, head)
        scale = np.asarray(model.spiking.scales["output"], np.float64)[:, None, None]
        for t, numbers in enumerate(course):
            numbers = (*numbers, found.theta, found.exponent, min(t + 1, timesteps))
            result.each_step[t, n] = HEADS[head](*numbers, parameters) * scale
        result.output[n] = result.each_step[-1, n]
    for held in (result.spikes, result.inputs, result.residuals):
        held.update({name: np.stack(arrays) for name, arrays in held.items()})
    return result


def head_parameters(model, head):
    channels = model.network.channels
    size = {"cpm": 3, "recycling": 1}.get(head)
    if size is None:
        return {}
    weight = np.zeros((channels, channels, size, size))
    for c in range(channels):
        weight[c, c, size // 2, size // 2] = 1
    default = {"weight": weight} | ({"bias": np.zeros(channels)} if head == "cpm" else {})
    return default | dict(model.spiking.head_parameters.get(head, {}))


# ----- Digests and the ledger -----


def digests(spikes):
    """Per step, of spikes bool (N, steps, channels, H, W)."""
    found = []
    for t in range(spikes.shape[1]):
        leaves = []
        for plane in spikes[:, t]:
            for y in range(0, plane.shape[1], 64):
                for x in range(0, plane.shape[2], 64):
                    block = plane[:, y : y + 64, x : x + 64]
                    leaves.append(hashlib.sha256(np.packbits(block.ravel(), bitorder="little").tobytes()).digest())
        found.append(hashlib.sha256(b"".join(leaves)).hexdigest())
    return tuple(found)


def targets(kernel, height, width):
    """How many output positions read each input position."""
    count = np.zeros((height, width), np.int64)
    r = kernel // 2
    for y, x in np.ndindex(height, width):
        count[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1] += 1
    return count


def readers(network, name, head_size):
    """(kernel, channels) of all that reads a layer's spikes, as often as it does."""
    if name == "output":
        return [(head_size, network.channels)] if head_size else []
    found = []
    for layer in network.layers:
        times = sum(a.name == name for a in sources(network, layer.name)) if isinstance(layer, Conv | Gate) else 0
        found += [(layer.kernel, layer.out_channels) if isinstance(layer, Conv) else (1, 1)] * times
    return found


def ledger(model, result, neuron, head):
    """layer -> its figures; None -> those of the whole run."""
    network, timesteps = model.network, model.spiking.timesteps
    fires = head != "membrane"
    head_size = {"cpm": 3, "recycling": 1}.get(head, 0)
    figures = {}
    for name, spikes in result.spikes.items():
        if name == "output" and not fires:
            continue
        gains = (1,) if name == "output" else neuron.planes
        n, steps, channels, height, width = spikes.shape
        channels //= len(gains)
        split = spikes.reshape(n, steps, len(gains), channels, height, width)
        events = split.sum(axis=(0, 3, 4, 5)).T
        exact, paper = np.zeros(steps, np.int64), np.zeros(steps, np.int64)
        for kernel, outputs in readers(network, name, head_size):
            fan = targets(kernel, height, width) * outputs
            for i, gain in enumerate(gains):
                exact += abs(gain) * (split[:, :, i] * fan).sum(axis=(0, 2, 3, 4))
                paper += abs(gain) * events[i] * kernel * kernel * outputs
        biased = n * height * width * int((result.grids[name].bias != 0).sum())
        figures[name] = {
            "shape": (channels, height, width),
            "events": events.tolist(),
            "synops": exact.tolist(),
            "synops_paper": paper.tolist(),
            "neuron_updates": [n * channels * height * width] * steps,
            "bias_additions": [biased if t < timesteps else 0 for t in range(steps)],
            "digests": digests(spikes),
        }
    n, channels, height, width = result.output.shape
    pixels = n * height * width
    total = {
        "planes": n,
        "shape": (channels, height, width),
        "timesteps": timesteps,
        "post_steps": neuron.post_steps,
        "head_synops": 0,
        "head_synops_paper": 0,
        "head_macs": pixels * channels if head_size else 0,
        "output_additions": pixels * channels * (network.mode != "image"),
    }
    if fires:
        for key in ("synops", "synops_paper"):
            total[f"head_{key}"] = sum(figures["output"][key])
            figures["output"][key] = [0] * len(figures["output"][key])
    else:
        total["output_additions"] += pixels * timesteps * int((result.grids["output"].bias != 0).sum())
    convs = [layer for layer in network.layers if isinstance(layer, Conv)]
    macs = {
        c.name: (
            n * int(targets(c.kernel, height, width).sum()) * c.in_channels * c.out_channels,
            pixels * c.kernel**2 * c.in_channels * c.out_channels,
        )
        for c in convs
    }
    for i, suffix in enumerate(("", "_paper")):
        total[f"analog_macs{suffix}"] = sum(macs[c.name][i] for c in convs if c.source == IMAGE)
        total[f"ann_macs{suffix}"] = sum(both[i] for both in macs.values())
    total["weights"] = sum(c.kernel**2 * c.in_channels * c.out_channels for c in convs)
    return figures | {None: total}


# ----- Structural similarity -----


def blur(plane, weights):
    """The weighted means (H, W) -> (H - n + 1, W - n + 1) over windows, down and then across, added in their order."""
    for axis in (0, 1):
        length = plane.shape[axis] - len(weights) + 1
        total = 0.0
        for start, weight in enumerate(weights):
            total = total + weight * plane.take(range(start, start + length), axis)
        plane = total
    return plane


def similarities(a, b, weights, correction, c1, c2):
    """The structural similarity of each window of two planes."""
    ma, mb = blur(a, weights), blur(b, weights)
    variances = correction * (blur(a * a, weights) - ma * ma) + correction * (blur(b * b, weights) - mb * mb)
    covariance = correction * (blur(a * b, weights) - ma * mb)
    return (2 * ma * mb + c1) * (2 * covariance + c2) / ((ma * ma + mb * mb + c1) * (variances + c2))
