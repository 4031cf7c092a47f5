"""Certificates of random networks of every kind of layer: the checker believes them, and nothing that was changed in them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nspike.inspection.auditing import audit
from nspike.inspection.certificate import dumps
from nspike.model.file import digest, save
from tests.desk import write
from tests.graphs import random_case
from tests.inspection.test_check_certificate import check

pytestmark = pytest.mark.slow

SEEDS = [*range(40), 1038, 1074]  # the last two have a gate that reads a concatenation


def certified(folder, seed):
    """A certificate, model file and image of a random network; the image is seldom of multiples of the size multiple."""
    model, _, neuron, head = random_case(seed)
    draw = np.random.default_rng([seed, 21])
    model = model.with_spiking(replace(model.spiking, neuron=neuron, head=head))
    most = max(10, model.network.size_multiple + 3)
    shape = (*(int(side) for side in draw.integers(1, most, 2)), *((3,) if draw.random() < 0.3 else ()))
    photo = write(folder / "photo.png", *shape, seed=seed)
    save(folder / "m.h5", model)
    certificate = audit(model, photo, model_digest=digest(model)).certificate
    (folder / "c.json").write_text(dumps(certificate))
    return folder / "c.json", folder / "m.h5", photo


@pytest.mark.parametrize("seed", SEEDS)
def test_the_checker_believes_it(tmp_path, seed):
    code, text = check(*certified(tmp_path, seed))
    assert code == 0, text


def numbers(value, path=()):
    """The paths of all numbers and texts that are claimed of spikes and work."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, each in items for found in numbers(each, (*path, key))]
    return [path]


@pytest.mark.parametrize("seed", range(100, 106))
def test_nothing_that_was_changed_is_believed(tmp_path, seed):
    """One number or digest of the layers or the work each."""
    files, draw = certified(tmp_path, seed), np.random.default_rng(seed)
    text = files[0].read_text()
    claimed = [path for path in numbers(json.loads(text)) if path[0] in ("layers", "work", "totals", "output", "input")]
    for path in draw.permutation(np.array(claimed, object))[:8]:
        certificate = json.loads(text)
        place = certificate
        for key in path[:-1]:
            place = place[key]
        old = place[path[-1]]
        place[path[-1]] = not old if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}0"
        files[0].write_text(json.dumps(certificate))
        assert check(*files)[0] == 1, path
