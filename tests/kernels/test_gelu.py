import math

import numpy as np

from nspike.kernels.gelu import gelu


def test_it_is_the_definition_to_a_float32():
    x = np.concatenate([np.linspace(-9, 9, 20001), [0, -0.0, 1e-30, -1e-30, 1e30, -1e30, 5.6568, -5.6568]])
    x = x.astype(np.float32).reshape(1, -1, 1)
    out = np.empty_like(x)
    gelu(x, out)
    exact = np.array([value / 2 * math.erfc(-value / math.sqrt(2)) for value in x.ravel().tolist()])
    np.testing.assert_allclose(out.ravel(), exact, rtol=6e-8, atol=2e-7)
    assert out[0, -4:-2].ravel().tolist() == [np.float32(1e30), 0]
