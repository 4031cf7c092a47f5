"""What the tests of traces on the command line share."""

import numpy as np

import nspike


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def other_trace(here, change):
    """Writes theirs.npz, what photo_trace.h5 holds with a change to its arrays by layer."""
    with nspike.read_trace(here / "photo_trace.h5") as trace:
        arrays = {layer: trace.spikes(layer) for layer in trace.layers}
    change(arrays)
    np.savez(here / "theirs.npz", **arrays)
    return arrays
