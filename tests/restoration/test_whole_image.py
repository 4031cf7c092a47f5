"""Plain networks that look at the whole image, through `restore`: bands, and a refusal that says how much they need."""

import re

import numpy as np
import pytest

import nspike
from nspike.errors import UsageError
from nspike.model.model import Info, Model
from tests.ann.networks import random_parameters
from tests.ann.test_passes import transformer


def model():
    network = transformer(2)
    return Model(Info("net", "superres", "gray"), network, random_parameters(network))


def test_more_memory_changes_no_bit_and_too_little_is_refused():
    image = np.random.default_rng(0).integers(0, 256, (203, 157), np.uint8)
    with pytest.raises(
        UsageError, match=r"net looks at the whole image: on 157×203 pixels it takes at least \d+ MiB"
    ) as error:
        nspike.restore(model(), image, ann=True, memory=2**20)
    least = int(re.search(r'memory="(\d+)M"', str(error.value))[1])
    results = [nspike.restore(model(), image, ann=True, memory=memory) for memory in (least * 2**20, 2**28)]
    np.testing.assert_array_equal(results[0].image, results[1].image)
    assert results[0].image.shape == (406, 314)
    with pytest.raises(UsageError, match="memory="):
        nspike.restore(model(), image, ann=True, memory=(least - 1) * 2**20)
