"""The conformance kit for losses: every first-party loss passes, and every fault is found."""

import numpy as np
import pytest
from nspike_plugins import losses

import nspike
from nspike.testing import check_loss

FIRST = (
    losses.MSE, losses.L1, losses.CHARBONNIER, losses.FFT, losses.SSIM, losses.L1_FFT, losses.HKD, losses.TET, losses.ENERGY,
)  # fmt: skip


@pytest.mark.parametrize("loss", FIRST, ids=lambda loss: loss.name)
def test_first_party_losses_conform(loss):
    assert check_loss(loss) < 1e-6


def test_with_options():
    check_loss(losses.TET, options={"loss": "charbonnier", "lambda": 0.5})
    with pytest.raises(nspike.UsageError, match="unknown option"):
        check_loss(losses.MSE, options={"w": 1})


def wrong(g, out, x):
    return g * 3 * x


@nspike.operation(wrong)
def badly_squared(x):
    return np.square(x)


CALLS = []


def drifting(seen):
    CALLS.append(1)
    return seen.output.mean() * float(len(CALLS))


def writing(seen):
    seen.output.data[...] = 0
    return seen.output.mean()


@pytest.mark.parametrize(
    ("compute", "error", "said"),
    [
        (lambda seen: badly_squared(seen.output).mean(), nspike.DifferenceError, "the rule gives"),
        (
            lambda seen: seen.output,
            nspike.PluginError,
            r"gives shape \(2, 3, 12, 10\); expected a nspike.Tensor of one",
        ),
        (lambda seen: 1.0, nspike.PluginError, "gives float"),
        (lambda seen: (seen.output * np.inf).mean(), nspike.PluginError, "gives inf"),
        (lambda seen: seen.target.mean(), nspike.PluginError, "depends on nothing that is trained"),
        (lambda seen: seen.outptu, nspike.PluginError, "failed: .*outptu"),
        (drifting, nspike.PluginError, "for the same images"),
        (writing, nspike.PluginError, "changes what it is given"),
    ],
    ids=["gradient", "shape", "type", "finite", "constant", "failing", "drifting", "writing"],
)
def test_faults_are_found(compute, error, said):
    with pytest.raises(error, match=said):
        check_loss(nspike.Loss("mine", "x", "here", compute))
