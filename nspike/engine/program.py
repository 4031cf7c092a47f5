"""A program: a model made ready to run, once, for any number of images and tiles.

It holds everything that depends on the model and its parts alone: the integers, their layout for the kernels, how far each
layer reaches, and which spikes are still needed after each stage.
"""

import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.engine.charge import Charge, DigitCharge, charge_of, digit_charge_of
from nspike.engine.digit_passes import DigitPass, digit_passes, held_as_numbers
from nspike.engine.digits import reads_digits
from nspike.engine.flows import Flow, flows
from nspike.engine.given import Given
from nspike.engine.plan import Plan, is_plain, plan
from nspike.engine.prepared import Prepared, prepare
from nspike.engine.readers import Reader, readers
from nspike.engine.tiling import packings
from nspike.engine.wiring import Wired, wire
from nspike.integer import rounding
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.integer.writer import Writer
from nspike.model.model import OUTPUT, Model


@dataclass(frozen=True, eq=False)
class Program:
    """A model, rounded and in the layout of the kernels.

    integers : the integer network.
    plan : what is computed, in order.
    prepared : its stages by name, for the kernels.
    wired : the convolutions and gates that the fused kernels do not run, by name; none of a chain.
    flows, passes : the parts of the plan that are done in one pass, by the name of the current that they make.
    charge : of an output layer that only adds up its input, or None.
    readers : stage name -> the layers that read its spikes.
    pad : the largest radius of a convolution that the fused kernels run, in pixels.
    given : the spikes of a layer that are given instead of computed, or None.
    """

    integers: IntegerNetwork
    plan: Plan
    prepared: Mapping[str, Prepared]
    wired: Mapping[str, Wired]
    flows: Mapping[str, Flow]
    passes: Mapping[str, DigitPass]
    charge: Charge | DigitCharge | None
    readers: Mapping[str, tuple[Reader, ...]]
    pad: int
    given: Given | None = None


def build(model: Model, neuron: Neuron, head: Head, given: Given | None = None) -> Program:
    """Round a model and lay it out.

    Parameters
    ----------
    neuron, head : the objects that the model's names stand for.
    given : the spikes of one layer, instead of computing them; layers that nothing reads any more are left out.

    Raises ModelError, UsageError and PluginError as `nspike.integer.rounding.build` does.
    """
    integers = rounding.build(model, neuron, head, None if given is None else {given.layer: given.neuron})
    return compiled(integers, given)


def compiled(integers: IntegerNetwork, given: Given | None = None, fuse: bool = True) -> Program:
    """The program of an integer network; `given` as of `build`; `fuse`: whether it may have flows and a
    charge, which change no bit."""
    name = None if given is None else given.layer
    steps = plan(integers, name)
    if given is not None:
        integers = given.rest(integers)
    fused = [s for s in integers.stages if s.name != name and s.fused]
    laid = [s for s in fused if steps.chain or _runs_plain(s, integers)]
    if not steps.chain:
        steps = held_as_numbers(integers, steps, name)
        laid = [stage for stage in laid if stage.name not in steps.numbers]
    names = {stage.name for stage in laid}
    prepared = prepare(integers, laid=names) if steps.chain else prepare(integers, packings(integers, False), names)
    found: dict[str, Flow] = {}
    if fuse and given is None:
        steps, found = flows(integers, steps)
    passes: dict[str, DigitPass] = {}
    if fuse and given is None and not steps.chain:
        steps, passes = digit_passes(integers, steps) if not found else (steps, {})
    inside = steps.unstored | found.keys() | passes.keys()
    writers = [writer for writer in integers.writers if writer.name not in inside]
    alone: list[Stage | Writer] = [*writers, *(s for s in fused if s.name not in names or s.name == OUTPUT)]
    wired = {} if steps.chain else {part.layer.name: wire(integers, part) for part in alone}
    charge: Charge | DigitCharge | None = None
    if fuse and given is None and not steps.chain:
        last = prepared[OUTPUT].stage
        charge = charge_of(integers, prepared[OUTPUT]) or digit_charge_of(integers, last, wired.get(last.layer.name))
    return Program(
        integers=integers,
        plan=steps,
        prepared=prepared,
        wired=wired,
        flows=found,
        passes=passes,
        charge=charge,
        readers=readers(integers, steps),
        pad=max((prepared[name].radius for name in names), default=0),
        given=given,
    )


def _runs_plain(stage: Stage, integers: IntegerNetwork) -> bool:
    """Whether the kernels of chains run a stage of another network."""
    reads = bool(stage.sources) or stage.name != OUTPUT  # for the image they give no membranes
    digits = stage.fused and reads_digits(integers, stage)
    return reads and not digits and stage.neuron.step is None and is_plain(stage, integers.network)


@dataclass(frozen=True)
class _Kept:
    """A program of a model, and what it was built of."""

    program: Program
    neuron: Neuron
    head: Head
    checksum: int


_kept: dict[int, tuple["weakref.ref[Model]", _Kept]] = {}


def program_of(model: Model, neuron: Neuron, head: Head) -> Program:
    """The program of a model, built when it is first asked for and kept as long as the model lives.

    It is built anew where the parts are other objects, or where an array of the model was changed in place: all its numbers
    are summed up each time, which takes 1 ms for 5 MB. Raises as `build` does.
    """
    checksum = _checksum(model)
    key = id(model)
    if key in _kept:
        reference, kept = _kept[key]
        same = reference() is model and kept.neuron is neuron and kept.head is head
        if same and kept.checksum == checksum:
            return kept.program
    program = build(model, neuron, head)

    def forget(dead: "weakref.ref[Model]") -> None:
        if key in _kept and _kept[key][0] is dead:
            del _kept[key]

    _kept[key] = weakref.ref(model, forget), _Kept(program, neuron, head, checksum)
    return program


def _checksum(model: Model) -> int:
    """CRC-32 of every number of a model."""
    total = 0
    for array in _arrays((model.parameters, model.spiking and vars(model.spiking))):
        total = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, total)
    return total


def _arrays(values: Any) -> Any:
    """The arrays, texts and numbers in nested mappings, as arrays."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield np.frombuffer(str(name).encode(), np.uint8)
            yield from _arrays(value)
    elif isinstance(values, tuple):
        for value in values:
            yield from _arrays(value)
    elif isinstance(values, np.ndarray):
        yield values
    elif values is not None:
        yield np.frombuffer(repr(values).encode(), np.uint8)
