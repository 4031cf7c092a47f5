"""Prints what a few small runs give, as JSON: for processes that compile for another processor, or not at all."""

import hashlib
import json
import sys

from numba.core import config

from nspike.kernels._jit import INTERPRETED
from tests.engine.handmade import grouped, streams
from tests.graphs import branched, chain, image, random_model, run
from tests.own_neurons import BURST
from tests.random_graphs import tie

CASES = (
    (chain(3, 2, channels=3), (1, 3, 4, 66), "mprn", "cpm"),
    (chain(17, 65), (1, 1, 3, 4), "mprn_beta", "cpm"),
    (branched(3, 9, 2, channels=3, gate=True), (2, 3, 4, 5), "if", "membrane"),
    (streams(), (1, 3, 4, 6), "lif_hard", "membrane"),
    (chain(16, 64), (1, 1, 4, 5), "few_spikes", "membrane"),
    (grouped(4), (1, 1, 8, 4), "mprn", "membrane"),
    (chain(2, 12), (1, 1, 4, 5), "lif", "rate"),
    (chain(3), (1, 1, 3, 5), BURST.fast, "recycling"),
)


def results(count):
    """Of the first `count` cases: per layer the digests of its spikes, its events and synops; a digest of the output."""
    found = []
    for i, (network, shape, neuron, head) in enumerate(CASES[:count]):
        timesteps = 1 if neuron == "few_spikes" else 3
        model = random_model(network, i, timesteps=timesteps, level=0.6)
        tie(network, model.spiking.scales)
        output, ledger, _ = run(model, image(i, *shape), neuron, head, threads=1)
        layers = [[layer.name, layer.digests, layer.events.tolist(), layer.synops.tolist()] for layer in ledger.layers]
        found.append([layers, hashlib.sha256(output.tobytes()).hexdigest()])
    return json.loads(json.dumps(found))


if __name__ == "__main__":
    print(json.dumps({"cpu": config.CPU_NAME, "interpreted": INTERPRETED, "results": results(int(sys.argv[1]))}))
