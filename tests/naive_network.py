"""What a network is as spikes, the slow, obvious way: what edges carry, which channels belong together, their scales.

Written from the definitions of the layers and not from `nspike.graph` or `nspike.integer`.
"""

from fractions import Fraction

import numpy as np

from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Constant,
    Conv,
    Gate,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from tests.naive_neurons import signed_form

SUMS = Add | AveragePool | Bilinear


def value(network, name):
    """ "image", "spikes" or "current"."""
    if name == IMAGE:
        return "image"
    layer = network.layer(name)
    if isinstance(layer, Constant):
        return "image"
    if isinstance(layer, Activation):
        return "spikes"
    if isinstance(layer, Conv | Gate | SUMS):
        return "current"
    return value(network, layer.sources[0])


def channels(network, name):
    if name == IMAGE:
        return network.channels
    layer = network.layer(name)
    if isinstance(layer, Conv):
        return layer.out_channels
    if isinstance(layer, Activation | Gate | Slice):
        return layer.channels
    if isinstance(layer, Constant):
        return len(layer.values)
    read = sum(
        channels(network, source) for source in (layer.sources if isinstance(layer, Concat) else layer.sources[:1])
    )
    if isinstance(layer, PixelShuffle):
        return read // layer.factor**2
    if isinstance(layer, PixelUnshuffle):
        return read * layer.factor**2
    return read


def scale(network, name):
    """Its height over the image's."""
    if name == IMAGE:
        return Fraction(1)
    layer = network.layer(name)
    own = Fraction(1)
    if isinstance(layer, Conv):
        own /= layer.stride
    elif isinstance(layer, PixelUnshuffle):
        own /= layer.factor
    elif isinstance(layer, AveragePool):
        own /= layer.size
    elif isinstance(layer, PixelShuffle | Nearest):
        own *= layer.factor
    elif isinstance(layer, Bilinear):
        own *= 2
    return own * scale(network, layer.sources[0])


def feeds(network, name, c):
    """The (layer, channel) that channel `c` of a layer is added up or moved from."""
    layer = network.layer(name)
    if isinstance(layer, Add):
        return [(source, c) for source in layer.sources]
    if isinstance(layer, Concat):
        for source in layer.sources:
            if c < channels(network, source):
                return [(source, c)]
            c -= channels(network, source)
    (source,) = layer.sources
    if isinstance(layer, Slice):
        return [(source, layer.first + c)]
    if isinstance(layer, ChannelShuffle):
        each = channels(network, source) // layer.groups
        j, i = divmod(c, layer.groups)
        return [(source, i * each + j)]
    if isinstance(layer, PixelShuffle):
        return [(source, c * layer.factor**2 + n) for n in range(layer.factor**2)]
    if isinstance(layer, PixelUnshuffle):
        return [(source, c // layer.factor**2)]
    return [(source, c)]


def parts(network, name):
    """The tensors that a layer reads, each concatenation replaced by what it joins."""
    found = []
    for source in network.layer(name).sources:
        concat = source != IMAGE and isinstance(network.layer(source), Concat)
        found += parts(network, source) if concat else [source]
    return found


def behind(network, name):
    """The activations that spikes come from, each once."""
    if isinstance(network.layer(name), Activation):
        return [name]
    found = []
    for source in network.layer(name).sources:
        found += [a for a in behind(network, source) if a not in found]
    return found


def integrators(network):
    """(stage, what its neurons integrate), the output last."""
    return [(a.name, a.source) for a in network.layers if isinstance(a, Activation)] + [("output", network.output)]


def currents(network):
    return [layer.name for layer in network.layers if value(network, layer.name) == "current"]


def components(network):
    """(layer, channel) of a current -> all (layer, channel) of its component, found by walking from one to the next."""
    beside = {(name, c): set() for name in currents(network) for c in range(channels(network, name))}
    for name, c in beside:
        if not isinstance(network.layer(name), Conv | Gate):
            for other in feeds(network, name, c):
                beside[name, c].add(other)
                beside[other].add((name, c))
    found = {}
    for start in beside:
        if start in found:
            continue
        members, ahead = {start}, [start]
        while ahead:
            for other in beside[ahead.pop()] - members:
                members.add(other)
                ahead.append(other)
        found |= dict.fromkeys(members, members)
    return found


def own_bits(layer):
    """By how many bits a sum's grid is finer than that of what it adds."""
    if isinstance(layer, AveragePool):
        return {2**n: 2 * n for n in range(1, 9)}[layer.size]
    return 4 if isinstance(layer, Bilinear) else 0


def offsets(network):
    """(layer, channel) -> by how many bits the grid of a current is finer than that of the convolutions that feed it."""
    found = {}
    for name in currents(network):
        layer = network.layer(name)
        for c in range(channels(network, name)):
            found[name, c] = 0
            if not isinstance(layer, Conv | Gate):
                found[name, c] = own_bits(layer) + max(found[other] for other in feeds(network, name, c))
    return found


def current_scale(network, spiking, name, groups=None):
    """λ of a current, float64 (C,): the output's where that integrates the component, else the first neurons', else 1."""
    groups = groups or components(network)
    order = integrators(network)
    scales = []
    for c in range(channels(network, name)):
        owners = [
            float(spiking.scales[stage][d])
            for stage, current in [order[-1], *order[:-1]]
            for d in range(channels(network, current))
            if (current, d) in groups[name, c]
        ]
        scales.append(owners[0] if owners else 1.0)
    return np.array(scales)


def spikes_scale(network, spiking, name, c):
    """λ of one channel of spikes, or 1 of what is like the image."""
    if value(network, name) == "image":
        return 1.0
    if isinstance(network.layer(name), Activation):
        return float(spiking.scales[name][c])
    scales = {spikes_scale(network, spiking, *other) for other in feeds(network, name, c)}
    assert len(scales) == 1
    return scales.pop()


def kinds_of(network, neuron):
    """The neuron of each activation."""
    return {a.name: signed_form(neuron) if a.signed else neuron for a in network.layers if isinstance(a, Activation)}
