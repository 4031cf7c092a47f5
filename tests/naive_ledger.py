"""Digests and the ledger of a run of `tests.naive`, by their definitions."""

import hashlib
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from nspike.graph.layer import IMAGE, Activation, Add, AveragePool, Bilinear, Conv, Gate
from tests.naive_layers import moved_spikes
from tests.naive_network import channels, kinds_of, scale, value


def digests(spikes, side=64):
    """Per step, of spikes bool (N, steps, channels, H, W)."""
    found = []
    for t in range(spikes.shape[1]):
        leaves = []
        for plane in spikes[:, t]:
            for y in range(0, plane.shape[1], side):
                for x in range(0, plane.shape[2], side):
                    block = plane[:, y : y + side, x : x + side]
                    leaves.append(hashlib.sha256(np.packbits(block.ravel(), bitorder="little").tobytes()).digest())
        found.append(hashlib.sha256(b"".join(leaves)).hexdigest())
    return tuple(found)


def block_side(network, at):
    """The side of a digest's blocks in pixels of a layer that is `at` times as high as the image."""
    multiple = lcm(64, *(scale(network, layer.name).denominator for layer in network.layers))
    return gcd(64, int(multiple * at))


def targets(kernel, height, width, conv=None):
    """How many output positions read each input position."""
    conv = conv or Conv("", "", 1, 1, kernel)
    axes = []
    for size in (height, width):
        count = np.zeros(size, np.int64)
        for out in range(-(-size // conv.stride)):
            for tap in range(kernel):
                at = out * conv.stride - conv.pads[0] + tap * conv.dilation
                if 0 <= at < size:
                    count[at] += 1
        axes.append(count)
    return axes[0][:, None] * axes[1]


def arriving(network, name, only, spikes):
    """What layer `name` reads of the spikes of activation `only`: parts as in `moved_spikes`; silent where they are others'."""
    layer = network.layer(name)
    if isinstance(layer, Activation):
        return [(name, spikes if name == only else None)]
    read = [arriving(network, source, only, spikes) for source in layer.sources]
    if isinstance(layer, Conv | Gate):
        return [part for _, part in read[0] if part is not None]
    joined = [(part, each) for group in read for part, each in group]
    if len(layer.sources) > 1:
        return joined
    some = next((each for _, each in joined if each is not None), None)
    if some is None:
        return [(name, None)]
    silent = [
        (part, np.zeros((*some.shape[:2], channels(network, part), *some.shape[3:]), bool) if each is None else each)
        for part, each in joined
    ]
    return moved_spikes(network, layer, [silent])


def synops(network, name, split, costs):
    """Of the spikes of an activation, (N, steps, planes, C, H, W), `costs` a plane: exact and paper, int64 (steps,)."""
    exact, paper = np.zeros(split.shape[1], np.int64), [Fraction(0)] * split.shape[1]
    weights = np.array(costs)[:, None, None, None]
    for layer in network.layers:
        if not isinstance(layer, Conv | Gate) or value(network, layer.source) != "spikes":
            continue
        conv = layer if isinstance(layer, Conv) else None
        each = layer.out_channels // layer.groups if conv else 1
        kernel = layer.kernel if conv else 1
        for plane in split:
            for part in arriving(network, layer.name, name, plane):
                fan = targets(kernel, *part.shape[3:], conv)
                for t in range(len(part)):
                    exact[t] += (part[t] * weights * fan).sum() * each
                    arrived = int((part[t] * weights).sum())
                    paper[t] += Fraction(arrived * kernel**2 * each, conv.stride**2 if conv else 1)
    return exact, np.array([int(total) for total in paper])


def slots(model, neuron, name):
    """K of a layer of few-spikes neurons."""
    given = model.spiking.neuron_parameters.get(neuron.name, {}).get(name, {})
    return int(given.get("slots", neuron.defaults["slots"]))


def ledger(model, result, neuron, head):
    """layer -> its figures; None -> those of the whole run."""
    network, timesteps = model.network, model.spiking.timesteps
    fires = head != "membrane"
    head_size = {"cpm": 3, "mapper": 3, "recycling": 1}.get(head, 0)
    kinds = kinds_of(network, neuron)
    figures = {}
    for name, spikes in result.spikes.items():
        if name == "output" and not fires:
            continue
        kind = None if name == "output" else kinds[name]
        planes = 1 if kind is None else len(kind.planes)
        digits = kind is not None and kind.digits
        n, steps, count, height, width = spikes.shape
        count //= planes
        split = spikes.reshape(n, steps, planes, count, height, width)
        events = split.sum(axis=(0, 3, 4, 5)).T
        if name == "output":
            fan = targets(head_size, height, width) * count if head_size else np.zeros((height, width), np.int64)
            exact = (split[:, :, 0] * fan).sum(axis=(0, 2, 3, 4))
            paper = events[0] * head_size**2 * count
        else:
            exact, paper = synops(network, name, split, [1 if digits else abs(gain) for gain in kind.planes])
        biased = n * height * width * int((result.grids[name].bias != 0).sum()) if name in result.grids else 0
        at = scale(network, network.output if name == "output" else name)
        figures[name] = {
            "shape": (count, height, width),
            "events": events.tolist(),
            "synops": exact.tolist(),
            "synops_paper": paper.tolist(),
            "neuron_updates": [n * count * height * width * (slots(model, neuron, name) if digits else 1)] * steps,
            "bias_additions": [biased if t < timesteps else 0 for t in range(steps)],
            "digests": digests(spikes, block_side(network, at)),
        }
    return figures | {None: total(model, result, figures, fires, head_size)}


def total(model, result, figures, fires, head_size):
    network, timesteps = model.network, model.spiking.timesteps
    n, count, *sides = result.output.shape
    pixels, steps = n * sides[0] * sides[1], len(result.each_step)
    at = scale(network, network.output)
    height, width = (int(side / at) for side in sides)
    found = {
        "planes": n,
        "shape": (network.channels, height, width),
        "timesteps": timesteps,
        "post_steps": steps - timesteps,
        "head_synops": 0,
        "head_synops_paper": 0,
        "head_macs": pixels * count if head_size else 0,
        "output_additions": pixels * count * (network.mode != "image"),
    }
    if fires:
        for key in ("synops", "synops_paper"):
            found[f"head_{key}"] = sum(figures["output"][key])
            figures["output"][key] = [0] * len(figures["output"][key])
    else:
        found["output_additions"] += pixels * timesteps * int((result.grids["output"].bias != 0).sum())

    def size(name):
        return int(height * scale(network, name)) * int(width * scale(network, name))

    convs = [layer for layer in network.layers if isinstance(layer, Conv)]
    macs = {}
    for c in convs:
        weights, of = c.kernel**2 * c.in_channels // c.groups * c.out_channels, scale(network, c.source)
        fan = int(targets(c.kernel, int(height * of), int(width * of), c).sum())
        macs[c.name] = (n * fan * c.in_channels // c.groups * c.out_channels, n * size(c.name) * weights)
    analog = [c.name for c in convs if c.source == IMAGE or value(network, c.source) == "image"]
    for i, suffix in enumerate(("", "_paper")):
        found[f"analog_macs{suffix}"] = sum(macs[name][i] for name in analog)
        found[f"ann_macs{suffix}"] = sum(both[i] for both in macs.values())
    found["weights"] = sum(c.kernel**2 * c.in_channels // c.groups * c.out_channels for c in convs)
    each = biases = 0
    for layer in network.layers:
        one = 0
        if isinstance(layer, Add):
            one = len(layer.sources) - 1
        elif isinstance(layer, AveragePool):
            one = layer.size**2 - 1
        elif isinstance(layer, Bilinear):
            one = 3
        each += n * size(layer.name) * one * channels(network, layer.name)
    for name, own in result.writers.items():
        biases += n * size(name) * int((own.bias != 0).sum())
    added = tuple(each + (biases if t < timesteps else 0) for t in range(steps))
    found["current_additions"] = added if each or biases else ()
    return found
