"""Prints the certificates of a few tiny runs, as JSON: for processes that compile for another processor, or not at all."""

import json
import sys
import tempfile
from pathlib import Path

from numba.core import config

import nspike
from nspike.inspection.auditing import audit
from nspike.inspection.certificate import dumps
from nspike.kernels._jit import INTERPRETED
from tests.desk import write
from tests.graphs import branched, random_model
from tests.tiny import tiny_model

CASES = (
    (tiny_model(width=17), {}, (8, 9), None),
    (tiny_model(head="cpm"), {"neuron": "lif"}, (7, 66), None),
    (tiny_model("superres", "y", "add"), {"neuron": "if"}, (3, 4, 3), 2),
    (random_model(branched(3, 4, 3, channels=3, gate=True), timesteps=3), {}, (5, 6, 3), None),
)


def certificates(folder, **how):
    """The certificates of all cases as text, the images being written into a folder."""
    found = []
    for i, (model, parts, shape, scale) in enumerate(CASES):
        photo = write(Path(folder) / f"{i}.png", *shape)
        found.append(dumps(audit(nspike.swap(model, **parts)[0], photo, scale=scale, **how).certificate))
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = certificates(scratch, threads=1)
    json.dump({"cpu": config.CPU_NAME, "interpreted": INTERPRETED, "certificates": made}, sys.stdout)
