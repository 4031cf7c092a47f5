"""The conformance kit: what a neuron must do to run exactly, a loss to be trained on, a method to be compared, checked.

In the tests of a plugin:

    from nspike.testing import HandWorked, check_neuron

    def test_it_conforms():
        check_neuron(NEURON, trace=HandWorked(inputs=[6, 6, 6], spikes=[0, 0, 1], membranes=[6, 12, 2]))

`nspike plugin check NAME` prints the same report. docs/how-to/write_a_neuron.md says what each check is about, write_a_method.md
there those of `check_method`, write_a_loss.md those of `check_loss`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from nspike.authoring.conformance import alone, declaration, in_networks, losses, method, training
from nspike.authoring.conformance.report import ConformanceError, Fault, Report, Result, Skip
from nspike.authoring.conformance.subject import Check, HandWorked, Subject
from nspike.contracts.loss import Loss
from nspike.contracts.method import Method
from nspike.contracts.neuron import Neuron
from nspike.errors import NspikeError
from nspike.runtime.explain import explain

T = TypeVar("T")

__all__ = [
    "ConformanceError",
    "HandWorked",
    "Report",
    "Result",
    "check_loss",
    "check_method",
    "check_neuron",
    "examine_method",
    "examine_neuron",
]

CHECKS: dict[str, Check] = {
    "functions": declaration.functions,
    "kernel": alone.kernel,
    "trace": alone.trace,
    "repeated": alone.repeated,
    "compiled": alone.compiled,
    "integers": alone.integer,
    "silence": alone.silence,
    "activity": alone.activity,
    "own pixel": alone.own_pixel,
    "determinism": in_networks.determinism,
    "tiles and threads": in_networks.tiles_and_threads,
    "agreement": in_networks.agreement,
    "conservation": in_networks.conservation,
    "training": training.training,
}
"""Name -> check, in the order in which they run, after that of the parameters."""

NEEDED = ("functions", "kernel", "compiled", "integers")
"""When one of these fails, what comes after it is not run: it could not, or not safely."""


def check_neuron(
    neuron: Neuron,
    *,
    trace: HandWorked | Sequence[HandWorked] = (),
    parameters: Mapping[str, float] | None = None,
    conserves: bool | None = None,
) -> Report:
    """Check that a neuron keeps the contract of `nspike.Neuron`; for the tests of a plugin.

    Parameters
    ----------
    neuron : the neuron.
    trace : one or several runs worked out by hand.
    parameters : of the neuron in all other checks, where they are not the defaults.
    conserves : whether a neuron with a kernel of its own keeps charge: input = threshold x spikes + residual. Without an
        answer that is not checked. Declared neurons do, but with a leak, an input factor or a reset to zero.

    Returns
    -------
    Report

    Raises
    ------
    ConformanceError
        a check failed; the message is the whole report.
    """
    report = examine_neuron(neuron, trace=trace, parameters=parameters, conserves=conserves)
    if not report.passed:
        raise ConformanceError(report)
    return report


def check_loss(loss: Loss, *, options: Mapping[str, Any] | None = None, tolerance: float = 1e-6) -> float:
    """Check that a loss keeps the contract of `nspike.Loss`; for the tests of a plugin.

    It gets random images, steps, rates and features, in float32 and in float64, and must give one finite number, the same for the
    same, leave what it is given as it is, and have the gradient that differences find.

    Parameters
    ----------
    loss : the loss. options : its own, where they are not the defaults.
    tolerance : the largest error of the gradient relative to the largest difference met.

    Returns
    -------
    float
        The largest error of the gradient, relative to the largest difference met.

    Raises
    ------
    PluginError
        a loss that fails, or gives what it must not.
    DifferenceError
        a gradient that is not that of its value.
    UsageError
        options that it does not have, or out of range.
    """
    return losses.examine(loss, options, tolerance)


def examine_neuron(
    neuron: Neuron,
    *,
    trace: HandWorked | Sequence[HandWorked] = (),
    parameters: Mapping[str, float] | None = None,
    conserves: bool | None = None,
) -> Report:
    """As `check_neuron`, but failures are only reported.

    Raises UsageError for parameters that the neuron does not have, or out of range.
    """
    traces = (trace,) if isinstance(trace, HandWorked) else tuple(trace)
    subject = Subject(neuron, {}, traces, conserves)
    results = [_result("parameters", declaration.parameters, subject)]
    broken = "" if results[0].state == "passed" else "parameters"
    if not broken:
        subject = replace(subject, values=neuron.values(parameters))
    for name, check in CHECKS.items():
        if broken:
            results.append(Result(name, "skipped", f"not run after {broken!r} failed"))
            continue
        results.append(_result(name, check, subject))
        if results[-1].state == "failed" and name in NEEDED:
            broken = name
    return Report(neuron.name, tuple(results))


def check_method(checked: Method) -> Report:
    """Check that a method can be compared; for the tests of a plugin.

    Its parts must be registered, take its settings and convert a small network that then fires, the same bits in tiles and on
    threads; its recipe must be one, and its training move what is trained.

    Raises
    ------
    ConformanceError
        a check failed; the message is the whole report.
    """
    report = examine_method(checked)
    if not report.passed:
        raise ConformanceError(report)
    return report


def examine_method(checked: Method) -> Report:
    """As `check_method`, but failures are only reported."""
    results: list[Result] = []
    broken = ""
    for name, check in method.CHECKS.items():
        if broken:
            results.append(Result(name, "skipped", f"not run after {broken!r} failed"))
            continue
        results.append(_result(name, check, checked))
        if results[-1].state == "failed" and name in method.NEEDED:
            broken = name
    return Report(checked.name, tuple(results), "method")


def _result(name: str, check: Callable[[T], str], subject: T) -> Result:
    try:
        return Result(name, "passed", check(subject))
    except Skip as skip:
        return Result(name, "skipped", str(skip))
    except (Fault, NspikeError) as fault:
        return Result(name, "failed", str(fault))
    except Exception as error:
        return Result(name, "failed", explain(error))
