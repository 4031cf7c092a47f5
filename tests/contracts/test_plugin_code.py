"""Authors' mistakes: each is one PluginError that names the plugin and the cause, at once or where its function is called."""

import numpy as np
import pytest

from nspike import Architecture, Converter, EnergyColumn, EnergyModel, Head, Loss, LossInput, Option, Tensor
from nspike.contracts.energy import break_even
from nspike.contracts.plugin_code import called, check_functions, shortened
from nspike.errors import ModelError, PluginError


class Ended(SystemExit):
    """As a signal raises it."""


def fails(error):
    def function(*_):
        raise error

    return function


def head(**fields):
    return Head("odd", "", "", False, **({"read": lambda layer, parameters: layer.charge} | fields))


def energy(estimate=lambda ledger: (), constants=None, formula=None):
    return EnergyModel(
        "odd", "", "", {} if constants is None else constants, {} if formula is None else formula, estimate
    )


def network(**fields):
    values = {"task": "denoise", "colour": "gray", "read": lambda tensors: None} | fields
    return Architecture("odd", "", "", **values)


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), SystemExit(3)])
def test_called_names_the_owner(error):
    with pytest.raises(PluginError, match=f"^head odd failed: {type(error).__name__}: "):
        called("head odd", fails(error))


@pytest.mark.parametrize("error", [ModelError("ours"), MemoryError(), KeyboardInterrupt(), Ended(143)])
def test_called_lets_pass_what_is_not_the_plugins(error):
    with pytest.raises(type(error)) as raised:
        called("head odd", fails(error))
    assert raised.value is error


def test_called_returns():
    assert called("head odd", divmod, 7, 2) == (3, 1)


def test_functions():
    check_functions("head odd", ("gradient",), read=len, gradient=None)
    for value in (3, None):
        with pytest.raises(PluginError, match=f"head odd: read is {value}; expected a function"):
            check_functions("head odd", read=value)
    assert len(shortened("x" * 100)) == 60


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: head(read=3), "head odd: read is 3; expected a function"),
        (lambda: head(gradient=3), "head odd: gradient is 3; expected a function"),
        (lambda: head(initial=None), "head odd: initial is None; expected a function"),
        (lambda: head(kernel=-1), "head odd: kernel is -1; expected an odd whole number"),
        (lambda: head(kernel="3"), "head odd: kernel is '3'; expected an odd whole number"),
        (lambda: head(kernel=2), "head odd: kernel is 2; expected an odd one"),
        (lambda: energy(estimate=3), "energy model odd: estimate is 3; expected a function"),
        (lambda: energy(constants={"mac": 3}), r"energy model odd: constants is .*; expected name -> \(number, unit\)"),
        (lambda: energy(formula="x"), "energy model odd: formula is 'x'; expected column -> text"),
        (lambda: Loss("odd", "", "", 3), "loss odd: compute is 3; expected a function"),
        (lambda: Loss("odd", "", "", len, options=None), "loss odd: options is None; expected a tuple of nspike.Option"),
        (lambda: Converter("odd", "", "", (1,), len), r"converter odd: options is \(1,\); expected a tuple"),
        (lambda: Converter("odd", "", "", (), None), "converter odd: scales is None; expected a function"),
        (lambda: Converter("odd", "", "", (Option("a", None, ""),), len), "converter odd: option a has no default"),
        (lambda: Converter("odd", "", "", (Option("a", 1, ""), Option("a", 2, "")), len), "two options called 'a'"),
        (lambda: network(task="fly"), "network odd: task is 'fly'; expected one of denoise"),
        (lambda: network(colour="blue"), "network odd: colour is 'blue'; expected one of gray, rgb, y"),
        (lambda: network(make=3), "network odd: make is 3; expected a function"),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_type(make, says):
    with pytest.raises(PluginError, match=says):
        make()


@pytest.mark.parametrize(
    ("initial", "says"),
    [
        (lambda channels: 1 / 0, "head odd failed: ZeroDivisionError"),
        (lambda channels: None, "head odd: initial gave None"),
        (lambda channels: {"weight": 3}, "head odd: initial gave {'weight': 3}; expected float64 arrays"),
        (lambda channels: {1: np.ones(channels)}, "head odd: initial gave"),
        (lambda channels: {"bias": np.full(channels, np.nan)}, "head odd: initial gave bias with NaN or infinity"),
    ],
)
def test_a_heads_parameters(initial, says):
    with pytest.raises(PluginError, match=says):
        head(initial=initial).arrays(3)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (fails(ValueError("x")), "energy model odd failed: ValueError: x"),
        (lambda ledger: None, "energy model odd failed: TypeError"),
        (lambda ledger: (EnergyColumn("a", "x", 1.0),), "snn='x'.*; expected finite joules from 0"),
        (lambda ledger: (EnergyColumn("a", float("nan"), 1.0),), "expected finite joules from 0"),
        (lambda ledger: (EnergyColumn("a", 1.0, float("inf")),), "expected finite joules from 0"),
        (lambda ledger: (EnergyColumn("a", -1.0, 1.0),), "expected finite joules from 0"),
        (lambda ledger: (EnergyColumn("a", np.ones(2), 1.0),), "expected finite joules from 0"),
        (lambda ledger: (EnergyColumn("a", 1.0, 1.0), EnergyColumn("a", 2.0, 1.0)), "columns of different names"),
        (lambda ledger: (EnergyColumn(3, 1.0, 1.0),), "columns of different names"),
    ],
)
def test_an_energy_model(columns, says):
    with pytest.raises(PluginError, match=says):
        energy(columns).price("a ledger")


def test_an_energy_model_of_other_columns_without_spikes():
    class Ledger:
        firing_rate = 0.5

        def silenced(self):
            return "silent"

    def estimate(ledger):
        return [EnergyColumn("a", 1.0, 1.0), EnergyColumn("b", 1.0, 1.0)][: 1 if ledger == "silent" else 2]

    with pytest.raises(PluginError, match="energy model odd gave 2 columns, and 1 where nothing fires"):
        break_even(energy(estimate), Ledger())


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        (fails(ValueError("x")), "loss odd failed: ValueError: x"),
        (lambda seen: seen.steps.sum(), "loss odd failed: AttributeError"),
        (lambda seen: 1.0, "loss odd: gives float; expected a nspike.Tensor of one number"),
        (lambda seen: seen.output, r"loss odd: gives shape \(1, 1, 2, 2\)"),
    ],
)
def test_a_loss(compute, says):
    image = Tensor(np.zeros((1, 1, 2, 2), np.float32))
    with pytest.raises(PluginError, match=says):
        Loss("odd", "", "", compute).of(LossInput(image, image))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (fails(ValueError("x")), "network odd failed: ValueError: x"),
        (lambda options: None, "network odd: make gave None; expected a nspike.Network"),
    ],
)
def test_a_network(make, says):
    with pytest.raises(PluginError, match=says):
        network(make=make).network()
