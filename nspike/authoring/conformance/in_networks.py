"""Checks of a neuron in small networks, as the engine runs them."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nspike.authoring.conformance import networks
from nspike.authoring.conformance.networks import WIDTHS, Run
from nspike.authoring.conformance.report import Fault, Skip
from nspike.authoring.conformance.subject import Subject
from nspike.images.plane import UNIT
from nspike.integer import reference as floatsim
from nspike.integer.rounding import INTEGRATE_AND_FIRE

SMALL = (5, 7)
LARGE = (70, 67)
"""More than one tile of 64 in both directions."""


def determinism(subject: Subject) -> str:
    """Two runs of the engine give the same bits."""
    for name, widths in WIDTHS.items():
        one, two = (_run(subject, widths, SMALL) for _ in range(2))
        if (difference := _difference(one, two)) is not None:
            raise Fault(f"{name}: two runs of one network differ at {difference}: it keeps something between runs")
    return "two runs are the same bits"


def tiles_and_threads(subject: Subject) -> str:
    """Tiles and threads change no bit, with few and with many channels; of scope layer, threads alone."""
    ways = ((None, 3),) if subject.neuron.scope == "layer" else ((64, 1), (None, 3), (64, 2))
    for name, widths in WIDTHS.items():
        whole = _run(subject, widths, LARGE)
        for tile, threads in ways:
            other = _run(subject, widths, LARGE, tile, threads)
            if (difference := _difference(whole, other)) is not None:
                how = f"{'tiles of 64' if tile else 'one tile'} and {threads} threads"
                raise Fault(
                    f"{name}: {how} change the spikes at {difference}; a neuron must go by its own pixel alone, and keep "
                    "nothing but v and state"
                )
    return f"{len(ways)} ways to share out the work, the same bits"


def agreement(subject: Subject) -> str:
    """The engine's spikes are those of the definition, and for declared neurons those of the float simulation."""
    spikes = 0
    for name, widths in WIDTHS.items():
        model = networks.model(subject.neuron, subject.values, widths)
        plane = networks.image(*SMALL)
        run = networks.run(model, subject.neuron, plane)
        network = networks.integers(model, subject.neuron)
        for layer, course in networks.by_definition(network, plane).items():
            _compare(f"{name}, {layer}: the definition", networks.as_layer(course.spikes, SMALL), run.spikes[layer])
            spikes += int(course.spikes.sum())
        if subject.neuron.step is None:
            simulated = floatsim.simulate(floatsim.from_integers(network), plane / UNIT)
            for stage in network.stages:
                if stage.name in run.spikes:
                    _compare(
                        f"{name}, {stage.name}: the float simulation",
                        simulated.spikes[stage.name],
                        run.spikes[stage.name],
                    )
    if not spikes:
        raise Fault(
            "not one spike in the test networks (thresholds of 0.6 to 1.6, inputs of about 0.3 a step): nothing to compare"
        )
    how = "the definition and the float simulation" if subject.neuron.step is None else "the definition in plain Python"
    return f"{spikes} spikes as in {how}"


def conservation(subject: Subject) -> str:
    """Input received = threshold x spikes + residual, neuron by neuron, with what each spike is worth to the next layer."""
    if subject.conserves is False:
        raise Skip("the author says that it does not keep charge")
    if subject.conserves is None and subject.neuron.step is not None:
        raise Skip("a kernel of its own: pass conserves=True if what a spike takes is all that is ever lost")
    if subject.conserves is None and not subject.neuron.conserves:
        raise Skip("a leak, an input factor or a reset to zero: it does not keep charge, and declares so")
    neurons = 0
    for name, widths in WIDTHS.items():
        model = networks.model(subject.neuron, subject.values, widths)
        plane = networks.image(*SMALL)
        run = networks.run(model, subject.neuron, plane)
        network = networks.integers(model, subject.neuron)
        courses = networks.by_definition(network, plane)
        for stage in network.stages:
            if stage.neuron is INTEGRATE_AND_FIRE:
                continue
            received = networks.currents(network, stage, plane, run.spikes).sum(axis=0)
            shape = (network.steps, len(stage.neuron.planes), stage.channels, *SMALL)
            fired = run.spikes[stage.name].reshape(shape)
            spent = (fired * networks.worth(stage)[..., None, None]).sum(axis=(0, 1))
            end = courses[stage.name].membranes[-1].T.reshape(received.shape)
            residual = end - stage.v0[:, None, None].astype(np.int64)
            wrong = np.argwhere(received != spent + residual)
            if wrong.size:
                c, y, x = wrong[0]
                raise Fault(
                    f"{name}, {stage.name}, channel {c}, pixel ({y}, {x}): received {received[c, y, x]}, but threshold x "
                    f"spikes {spent[c, y, x]} + residual {residual[c, y, x]} = {(spent + residual)[c, y, x]}"
                )
            neurons += received.size
    return f"input = threshold x spikes + residual in {neurons} neurons"


def _run(
    subject: Subject, widths: tuple[int, ...], size: tuple[int, int], tile: int | None = None, threads: int = 1
) -> Run:
    model = networks.model(subject.neuron, subject.values, widths)
    return networks.run(model, subject.neuron, _image(size), tile=tile, threads=threads)


@lru_cache
def _image(size: tuple[int, int]) -> NDArray[np.int32]:
    return networks.image(*size)


def _difference(one: Run, two: Run) -> str | None:
    """Where two runs first differ."""
    for name, spikes in one.spikes.items():
        wrong = np.argwhere(spikes != two.spikes[name])
        if wrong.size:
            t, c, y, x = wrong[0]
            return f"{name}, step {t + 1}, channel {c}, pixel ({y}, {x})"
    if not np.array_equal(one.output, two.output):
        return "the output"
    same = all(a.digests == b.digests for a, b in zip(one.ledger.layers, two.ledger.layers, strict=True))
    return None if same else "the digests"


def _compare(what: str, expected: NDArray[np.bool_], actual: NDArray[np.bool_]) -> None:
    wrong = np.argwhere(expected != actual)
    if wrong.size:
        t, c, y, x = wrong[0]
        raise Fault(
            f"{what} and the engine differ at step {t + 1}, channel {c}, pixel ({y}, {x}): "
            f"{int(expected[t, c, y, x])} and {int(actual[t, c, y, x])}"
        )
