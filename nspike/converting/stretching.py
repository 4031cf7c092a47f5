"""Larger scales for some layers of a converted network: they fire less often, and the network computes the same.

With λ of a layer m times as large, its spikes carry m times as much and come m times as rarely:

    W'[o, i] becomes W'[o, i]·m_in / m_out;   b'[o] becomes b'[o] / m_out;   v(0) and the thresholds stay in units of λ

Only what a neuron gave too little of, because it can fire once a step at most, it now gives in full.
Many steps with few spikes serve a network whose last layers are cheap: their rates get fine levels, while the energy of the
layers before, whose spikes many neurons read, does not grow with T.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nspike.errors import UsageError, nearest
from nspike.integer.normalise import current_scales, input_scale, normalised_conv
from nspike.model.model import Model, spiking_of


def stretched(model: Model, factors: Mapping[str, float]) -> Model:
    """The model with the scale of each activation in `factors` multiplied by its factor.

    Raises ModelError for a model that is not converted, UsageError for an activation that it lacks and a factor that is not
    a positive number.
    """
    spiking, network = spiking_of(model), model.network
    known = [layer.name for layer in network.activations]
    for name, factor in factors.items():
        if name not in known:
            raise UsageError(f"there is no layer {name!r} to stretch.{nearest(name, known)} Known: {', '.join(known)}")
        if not (isinstance(factor, int | float) and math.isfinite(factor) and factor > 0):
            raise UsageError(f"layer {name!r} is stretched by {factor!r}; expected a number above 0")
    if not factors:
        return model
    scales = {name: np.asarray(scale) * factors.get(name, 1.0) for name, scale in spiking.scales.items()}
    changed = replace(spiking, scales=scales)
    before, after = current_scales(network, spiking), current_scales(network, changed)
    weights, biases = dict(spiking.weights), dict(spiking.biases)
    for conv in network.convs:
        if conv.name in weights or conv.name in biases:
            kernel, bias = normalised_conv(network, model.parameters, spiking, conv.name)
            out = after[conv.name] / before[conv.name]
            ratio = input_scale(network, changed, conv.name) / input_scale(network, spiking, conv.name)
            into = np.repeat(ratio.reshape(conv.groups, -1), conv.out_channels // conv.groups, axis=0)
            weights[conv.name] = np.asarray(kernel * into[:, :, None, None] / out[:, None, None, None], np.float32)
            if conv.bias or conv.name in biases:
                biases[conv.name] = np.asarray(bias / out, np.float32)
    return model.with_spiking(replace(changed, weights=weights, biases=biases))
