import typing

import numpy as np
import pytest

from nspike.autograd.tensor import Tensor
from nspike.graph.mode import MODES, OutputMode, ideal_output, restored


def test_restored():
    image, output = np.full((1, 2, 2), 0.5), np.full((1, 2, 2), 0.25)
    values = {mode: restored(mode, image, output)[0, 0, 0] for mode in MODES}
    assert values == {"image": 0.25, "subtract": 0.25, "add": 0.75}
    assert restored("image", image, output) is output
    assert restored("add", Tensor(image), Tensor(output)).data[0, 0, 0] == 0.75


@pytest.mark.parametrize("mode", typing.get_args(OutputMode))
def test_the_ideal_output_gives_the_clean_image(mode):
    image, clean = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4)) / 256  # exact
    np.testing.assert_array_equal(restored(mode, image, ideal_output(mode, image, clean)), clean)
