"""The slow, obvious version of the engine: whole Python integers, dense arrays, one loop per definition.

Written from the design and the docstrings, not from the fast code, and without Numba. Everything is (channels, H, W).
"""

from dataclasses import dataclass, field

import numpy as np

from nspike.graph.layer import IMAGE, Activation, Add, AveragePool, Bilinear, Constant, Conv, Gate
from tests.naive_heads import HEADS, head_parameters
from tests.naive_images import similarities as similarities
from tests.naive_layers import UNIT as UNIT
from tests.naive_layers import (
    added,
    constant_planes,
    convolve,
    gate_weights,
    grid_column,
    image_current,
    moved,
    moved_spikes,
)
from tests.naive_ledger import digests as digests
from tests.naive_ledger import ledger as ledger
from tests.naive_ledger import targets as targets
from tests.naive_network import (
    behind,
    channels,
    components,
    current_scale,
    currents,
    feeds,
    integrators,
    kinds_of,
    offsets,
    own_bits,
    parts,
    spikes_scale,
    value,
)
from tests.naive_neurons import IF, column, on_grid
from tests.naive_neurons import KERNELS as KERNELS
from tests.naive_neurons import MPRN as MPRN
from tests.naive_neurons import NEURONS as NEURONS
from tests.naive_neurons import half_even as half_even

# ----- Rounding and grids -----


def whole(x):
    """|x|·2^1074: every float64 is a whole multiple of 2^-1074."""
    n, d = abs(float(x)).as_integer_ratio()
    return n * (2**1074 // d)


def largest(bounds):
    """The largest k with 2^k·v <= top for all (v, top), v in units of 2^-1074; 0 if all v are 0."""
    bounds = [(v, top) for v, top in bounds if v]
    if not bounds:
        return 0
    low, high = -3000, 3000  # k = low fits, k = high does not
    while high - low > 1:
        k = (low + high) // 2
        # 2^k·v <= top, both sides times 2^(1074 + 3000)
        fits = all(v << (k + 3000) <= top << (1074 + 3000) for v, top in bounds)
        low, high = (k, high) if fits else (low, k)
    return low


@dataclass
class Grid:
    """exponent per channel; weights int64 (phases, C, I, k, k); bias, theta int64 (C, 1, 1); gate: what a gate multiplies by."""

    exponent: list
    weights: np.ndarray
    bias: np.ndarray
    theta: np.ndarray = None
    gate: np.ndarray = None


@dataclass
class Floats:
    """A convolution or gate before it is rounded, in units of the scale of its current."""

    weights: np.ndarray
    bias: np.ndarray
    gain: int = 1
    limit: int = 4095
    gate: np.ndarray = None
    gains: np.ndarray = None  # of the planes of spikes: int (C, I)

    def of_planes(self, c):
        """The gain of each of a channel's inputs."""
        return np.ones(self.weights.shape[2], int) if self.gains is None else self.gains[c]

    def bounds(self, c):
        """(max|w|, Σ|g·w|·gain + |b|) of a channel in units of 2^-1074."""
        phases, each = self.weights[:, c], self.of_planes(c)
        most = max(whole(w) for w in [0.0, *phases.ravel()])
        totals = [
            sum(whole(w) * abs(int(g)) for part, g in zip(p, each, strict=True) for w in part.ravel()) for p in phases
        ]
        return most, self.gain * max(totals) + whole(self.bias[c])

    def rounded(self, k, theta=None):
        kept = self.weights if self.gate is None else self.weights[:, :, :0]
        weights = np.zeros(kept.shape, np.int64)
        for c, e in enumerate(k):
            weights[:, c] = np.array([on_grid(w, e) for w in kept[:, c].ravel()]).reshape(kept[:, c].shape)
            if self.gate is None:
                weights[:, c] *= self.of_planes(c)[:, None, None]
        return Grid(k, weights, grid_column(self.bias, k), theta, self.gate)


def grid(weights, bias, theta, gain, limit):
    """Of one convolution with neurons of its own."""
    floats = Floats(weights, bias, gain, limit)
    k = []
    for c in range(len(bias)):
        most, total = floats.bounds(c)
        k.append(largest([(most, limit), (total, 2**24), (whole(theta[c]), 2**24)]))
    return floats.rounded(k, thresholds(theta, k))


def thresholds(theta, k):
    return column(max(1, on_grid(t, e)) for t, e in zip(theta, k, strict=True))


def own_parameters(model, neuron, name):
    return neuron.defaults | dict(model.spiking.neuron_parameters.get(neuron.name, {}).get(name, {}))


def layout(network, conv, kinds):
    """For each group of a convolution of spikes, what it reads: (part, plane, its channel, the convolution's channel)."""
    read = []
    first = 0
    for part in parts(network, conv.name):
        planes = kinds[behind(network, part)[0]].planes
        count = channels(network, part)
        read += [(part, p, c, first + c) for p in range(len(planes)) for c in range(count)]
        first += count
    each = conv.in_channels // conv.groups
    return [[entry for entry in read if entry[3] // each == group] for group in range(conv.groups)]


def normalised(model, conv, groups=None):
    """W·λ_in/λ_out and b/λ_out in float64, or what training has put in their place."""
    network, spiking = model.network, model.spiking
    out = current_scale(network, spiking, conv.name, groups)
    names, each = conv.tied or conv.name, conv.in_channels // conv.groups
    if conv.name in spiking.weights:
        weights = np.asarray(spiking.weights[conv.name], np.float64)
    else:
        weights = np.array(model.parameters[f"{names}.weight"], np.float64)
        for o in range(conv.out_channels):
            first = o // (conv.out_channels // conv.groups) * each
            scale = np.array([spikes_scale(network, spiking, conv.source, first + i) for i in range(each)])
            weights[o] = weights[o] * scale[:, None, None] / out[o]
    if conv.name in spiking.biases:
        return weights, np.asarray(spiking.biases[conv.name], np.float64)
    if not conv.bias:
        return weights, np.zeros(len(out))
    return weights, np.asarray(model.parameters[f"{names}.bias"], np.float64) / out


def worth(model, kinds, part, post):
    """What a spike is worth, which is the same of all neurons that it may come from."""
    names = behind(model.network, part)
    found = {kinds[n].amplitude(own_parameters(model, kinds[n], n), post and kinds[n].post_steps > 0) for n in names}
    assert len(found) == 1
    return found.pop()


def floats_of(model, kinds, layer, groups=None):
    network, spiking = model.network, model.spiking
    if isinstance(layer, Gate):
        out = current_scale(network, spiking, layer.name, groups)
        scale = np.array([spikes_scale(network, spiking, layer.source, c) for c in range(layer.channels)])
        worths, most = [], 1
        for part in parts(network, layer.name):
            assert worth(model, kinds, part, False) == worth(model, kinds, part, True)
            worths += [worth(model, kinds, part, False)] * channels(network, part)
            gains = kinds[behind(network, part)[0]].planes
            most = max(most, sum(g for g in gains if g > 0), -sum(g for g in gains if g < 0))
        gate = scale / out * np.array(worths)
        return Floats((gate * 5)[None, :, None, None, None], 1.0 / out, most, 2**24, gate=gate)
    weights, bias = normalised(model, layer, groups)
    if value(network, layer.source) == "image":
        return Floats(weights[None], bias, 4, 32767)
    read = layout(network, layer, kinds)
    size, each = max(map(len, read)), layer.in_channels // layer.groups
    kernel, gains = np.zeros((2, len(weights), size, *weights.shape[2:])), np.zeros((len(weights), size), int)
    for post in range(2):
        for o in range(len(weights)):
            for i, (part, plane, _, c) in enumerate(read[o // (len(weights) // layer.groups)]):
                gains[o, i] = kinds[behind(network, part)[0]].planes[plane]
                kernel[post, o, i] = weights[o, c % each] * worth(model, kinds, part, bool(post))
    return Floats(kernel, bias, limit=4095 // int(abs(gains).max()), gains=gains)


def alone(network, current, stage):
    """Whether a current is that of a convolution or gate that one layer of neurons reads and nothing else."""
    readers = [source for layer in network.layers for source in layer.sources].count(current)
    return isinstance(network.layer(current), Conv | Gate) and readers == (stage != "output")


def grids(model, kinds):
    """Every current's exponents; the Grid of each stage, with its convolution's or gate's numbers where that is its alone; of
    the other convolutions and gates; θ of each stage in units of what it integrates.
    """
    network, spiking = model.network, model.spiking
    groups, finer = components(network), offsets(network)
    floats = {x.name: floats_of(model, kinds, x, groups) for x in network.layers if isinstance(x, Conv | Gate)}
    totals, bounds = {}, {}
    for name in currents(network):
        for c in range(channels(network, name)):
            limits = bounds.setdefault(min(groups[name, c]), [])
            if name in floats:
                most, totals[name, c] = floats[name].bounds(c)
                limits.append((most, floats[name].limit))
            else:
                both = [totals[other] for other in feeds(network, name, c)]
                totals[name, c] = sum(both) if isinstance(network.layer(name), Add) else max(both)
            limits.append((totals[name, c] << finer[name, c], 2**24))
    theta = {}
    for stage, current in integrators(network):
        scale = np.asarray(spiking.scales[stage], np.float64) / current_scale(network, spiking, current, groups)
        theta[stage] = np.ones(len(scale)) * spiking.thresholds.get(stage, 1.0) * scale
        for c in range(len(scale)):
            bounds[min(groups[current, c])].append((whole(theta[stage][c]) << finer[current, c], 2**24))
    most = {start: largest(limits) for start, limits in bounds.items()}
    k = {
        name: [most[min(groups[name, c])] + finer[name, c] for c in range(channels(network, name))]
        for name in currents(network)
    }
    of_stages, writers = {}, {name: each.rounded(k[name]) for name, each in floats.items()}
    for stage, current in integrators(network):
        own = Floats(np.zeros((1, len(k[current]), 0, 1, 1)), np.zeros(len(k[current]))).rounded(k[current])
        own = writers.pop(current) if alone(network, current, stage) else own
        own.theta = thresholds(theta[stage], k[current])
        of_stages[stage] = own
    return k, of_stages, writers, theta


def to_plane(image):
    return image.astype(np.int64) * (257 if image.dtype == np.uint8 else 1)


# ----- The network -----


@dataclass
class Run:
    """spikes: layer -> bool (N, steps, planes·C, H, W); grids: layer -> Grid, and writers, of convolutions and gates that
    have no neurons of their own; inputs and residuals: layer -> int64 (N, C, H, W): all that arrived, and v - v(0); output
    float64 (N, C, H, W); each_step: what is read out after each step, float64 (steps, N, C, H, W).
    """

    spikes: dict
    grids: dict
    inputs: dict
    residuals: dict
    output: np.ndarray = None
    each_step: np.ndarray = None
    writers: dict = field(default_factory=dict)


def conv_currents(network, conv, read, own, kinds, timesteps):
    """Of spikes: int64 (steps, C, H, W) without the bias."""
    spikes = dict(read)
    groups = layout(network, conv, kinds)
    size = own.weights.shape[2]
    out = []
    for t in range(len(read[0][1])):
        x = np.zeros((len(groups) * size, *read[0][1].shape[3:]), bool)
        for g, entries in enumerate(groups):
            for i, (part, plane, c, _) in enumerate(entries):
                x[g * size + i] = spikes[part][t, plane, c]
        out.append(convolve(x, own.weights[int(t >= timesteps)], conv))
    return np.array(out)


def current(network, layer, read, own, k, plane, kinds, timesteps, steps):
    """Of a convolution, gate or sum: int64 (steps, C, H, W) on its grid, biases included."""
    if isinstance(layer, Add | AveragePool | Bilinear):
        bits = own_bits(layer)
        shifted = []
        for source, x in zip(layer.sources, read, strict=True):
            up = np.array([to - bits - e for to, e in zip(k[layer.name], k[source], strict=True)])
            assert (up >= 0).all()
            shifted.append(x << up[:, None, None])
        return np.array([added(layer, [x[t] for x in shifted]) for t in range(steps)])
    up_to_t = (np.arange(steps) < timesteps)[:, None, None, None]
    if isinstance(layer, Gate):
        counts = []
        for name, part in read[0]:
            gains = kinds[behind(network, name)[0]].planes
            counts.append(sum(gain * part[:, i].astype(np.int64) for i, gain in enumerate(gains)))
        without = gate_weights(plane, own.gate, own.exponent) * np.concatenate(counts, axis=1)
    elif value(network, layer.source) == "image":
        without = image_current(read[0], own.weights[0], layer) * up_to_t
    else:
        without = conv_currents(network, layer, read[0], own, kinds, timesteps)
    return without + own.bias * up_to_t


def arranged(network, layer, read, k):
    """A current that is only moved; where channels on several grids become one, they are first shifted to the finest."""
    shifted = []
    for source, x in zip(layer.sources, read, strict=True):
        up = np.zeros(x.shape[1], np.int64)
        for c, e in enumerate(k[layer.name]):
            for name, d in feeds(network, layer.name, c):
                if name == source:
                    up[d] = e - k[name][d]
        assert (up >= 0).all()
        shifted.append(x << up[:, None, None])
    return np.array([moved(layer, [x[t] for x in shifted]) for t in range(len(shifted[0]))])


def fire(model, kind, name, arriving, own, theta, timesteps, silent):
    """Spikes bool (steps, planes, C, H, W), the neurons, and after each step (spikes, what has arrived, v - v(0))."""
    cells = kind(own_parameters(model, kind, name), theta, own, arriving.shape[1:])
    spikes, total, course = [], np.zeros(cells.v.shape, np.int64), []
    for t, current in enumerate(arriving):
        total = total + current
        if t >= timesteps + kind.post_steps or silent:
            cells.v = cells.v + current
            spikes.append(np.zeros((len(kind.planes), *cells.v.shape), bool))
        else:
            spikes.append(cells.step(current, t >= timesteps))
        course.append((np.sum(spikes, axis=0)[0], total, cells.v - cells.v0))
    return np.array(spikes), cells, course


def run(model, image, neuron, head, given=None):
    """image (N, C, H, W); neuron: a class of this module, or one like them; head: a name in HEADS.

    given: a layer whose spikes are not computed, (its name, bool (N, steps, planes·channels, H, W), what fired them).
    """
    network, timesteps = model.network, model.spiking.timesteps
    kinds = kinds_of(network, neuron)
    if given is not None:
        kinds[given[0]] = given[2]
    steps = timesteps + max(kind.post_steps for kind in [neuron, *kinds.values()])
    k, own, writers, theta = grids(model, kinds)
    drivers = writers | {
        current: own[stage] for stage, current in integrators(network) if alone(network, current, stage)
    }
    result = Run(
        {}, {name: each for name, each in own.items() if given is None or name != given[0]}, {}, {}, writers=writers
    )
    outputs = []
    for n, plane in enumerate(to_plane(image)):
        values = {IMAGE: plane}

        def keep(name, spikes, cells, course):
            result.spikes.setdefault(name, []).append(spikes.reshape(steps, -1, *spikes.shape[3:]))
            result.inputs.setdefault(name, []).append(course[-1][1])
            result.residuals.setdefault(name, []).append(cells.v - cells.v0)

        for layer in network.layers:
            read, name = [values[source] for source in layer.sources], layer.name
            if given is not None and name == given[0]:
                spikes = np.zeros((steps, *given[1].shape[2:]), bool)
                spikes[: given[1].shape[1]] = given[1][n]
                result.spikes.setdefault(name, []).append(spikes)
                count = len(kinds[name].planes)
                values[name] = [(name, spikes.reshape(steps, count, -1, *spikes.shape[2:]))]
            elif isinstance(layer, Activation):
                spikes, *rest = fire(model, kinds[name], name, read[0], own[name], theta[name], timesteps, False)
                keep(name, spikes, *rest)
                values[name] = [(name, spikes)]
            elif isinstance(layer, Constant):
                values[name] = constant_planes(layer.values, read[0].shape[1:])
            elif isinstance(layer, Conv | Gate | Add | AveragePool | Bilinear):
                numbers = (drivers.get(name), k, plane, kinds, timesteps, steps)
                values[name] = current(network, layer, read, *numbers)
            elif value(network, name) == "spikes":
                values[name] = moved_spikes(network, layer, read)
            elif value(network, name) == "current":
                values[name] = arranged(network, layer, read, k)
            else:
                values[name] = moved(layer, read)
        numbers = (values[network.output], own["output"], theta["output"], timesteps, head == "membrane")
        spikes, cells, course = fire(model, IF, "output", *numbers)
        keep("output", spikes, cells, course)
        parameters = head_parameters(model, head)
        scale = np.asarray(model.spiking.scales["output"], np.float64)[:, None, None]
        grid_ = (own["output"].theta, own["output"].exponent)
        outputs.append(
            [HEADS[head](*of, *grid_, min(t + 1, timesteps), parameters) * scale for t, of in enumerate(course)]
        )
    result.each_step = np.array(outputs).swapaxes(0, 1)
    result.output = result.each_step[-1]
    for held in (result.spikes, result.inputs, result.residuals):
        held.update({name: np.stack(arrays) for name, arrays in held.items()})
    return result
