"""Random networks of every kind of layer: the engine and the float64 reference against the slow version of the tests.

    python benchmarks/random_graphs.py [--first 0] [--count 1000] [--threads 2]

Networks, neurons, heads and small images are those of `tests.graphs.random_case`. Everything is compared bit for bit: integers,
spikes of every layer and step, residuals, output, ledger and digests; then, on an image of about 150×140 pixels, the engine in
one tile with the engine in the smallest ones. The exit status is 1 if a network differs.
"""

import sys
import time
from math import lcm
from pathlib import Path

import numpy as np
from _common import parser, report, say

sys.path.insert(0, str(Path(__file__).parents[1]))


def check(seed: int, threads: int) -> None:
    """Compare everything on one network. Raises AssertionError where something differs."""
    from tests.graphs import agree, image, random_case, run
    from tests.integer.test_random_graphs import compared

    model, pixels, neuron, head = random_case(seed)
    compared(seed)
    agree(model, pixels, neuron, head, threads=threads)
    multiple = model.network.size_multiple
    sides = [-(-side // multiple) * multiple for side in (150, 140)]
    large = image(seed, 1, model.network.channels, *sides)
    output, ledger, spikes = run(model, large, neuron, head, threads=1)
    tiled = run(model, large, neuron, head, threads=threads, tile=lcm(64, multiple))
    np.testing.assert_array_equal(output, tiled[0])
    assert ledger.to_dict() == tiled[1].to_dict()
    for name, fired in spikes.items():
        np.testing.assert_array_equal(fired, tiled[2][name], err_msg=name)


def main() -> int:
    """Compare them, and say how many networks differ."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--first", type=int, default=0, help="the seed to begin with")
    arguments.add_argument("--count", type=int, default=1000, help="how many networks")
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    start, wrong = time.perf_counter(), []
    for seed in range(options.first, options.first + options.count):
        try:
            check(seed, options.threads)
        except AssertionError as error:
            wrong.append(seed)
            say(f"seed {seed}: {str(error).strip().splitlines()[0]}")
    row = {"networks": options.count, "differing": len(wrong), "s": round(time.perf_counter() - start)}
    report(options, "Random networks: engine, reference and slow version", [row], seeds=wrong)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
