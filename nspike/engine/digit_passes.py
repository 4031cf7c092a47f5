"""Parts of a network that one pass of `nspike.kernels.digits` runs: a convolution of numbers, a shuffle of its current or its
sum with one or two others, and the neurons that integrate that.

Each of them is an op of the plan and is counted as such; only the currents in between are never stored.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nspike.engine.digit_conv import DigitConv, lay_out
from nspike.engine.digits import form_of, reads_digits
from nspike.engine.plan import Op, Plan, finished
from nspike.graph.layer import Add, Layer, PixelShuffle
from nspike.integer.rounding import IntegerNetwork
from nspike.kernels.digits import NARROW
from nspike.model.model import OUTPUT

MOST_BASES = 2


@dataclass(frozen=True, eq=False)
class DigitPass:
    """One pass.

    name : the current that it makes; op : that of its convolution, conv : laid out, with the shuffle.
    bases : the currents that are added. ops : of the plan that it does beside that of its name, but for the neurons.
    neurons : the op of the neurons that it fires, or none. kept : whether anything else reads the current.
    reused : the base that nothing reads afterwards, so that its memory becomes the current's, or none.
    """

    name: str
    op: Op
    conv: DigitConv
    bases: tuple[str, ...]
    ops: tuple[str, ...]
    neurons: str | None
    kept: bool
    reused: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors that it reads."""
        return (*self.op.reads, *self.bases)


def held_as_numbers(integers: IntegerNetwork, plan: Plan, given: str | None) -> Plan:
    """The plan with the neurons whose spikes are held as numbers: all that read them convolve digits; none that are given."""
    digits: dict[str, Any] = {}
    for op in plan.ops:
        part = op.stage if _fused(op) else op.writer
        if part is not None and op.name != given and reads_digits(integers, part):
            digits[op.name] = part.layer
    numbers = set()
    for op in plan.ops:
        if op.stage is None or op.name in (OUTPUT, given) or form_of(op.stage, integers.steps) is None:
            continue
        readers = _readers(plan, op)
        if all(reader.name in digits for reader in readers):
            numbers.add(op.name)
    border = max((max(layer.pads) for layer in digits.values()), default=0)
    return replace(plan, numbers=frozenset(numbers), border=border)


def digit_passes(integers: IntegerNetwork, plan: Plan) -> tuple[Plan, dict[str, DigitPass]]:
    """The passes of a plan by their names, and the plan with what is needed until they run."""
    found: dict[str, DigitPass] = {}
    for op in plan.ops:
        taken = {name for own in found.values() for name in (own.name, *own.ops)}
        own = _pass(integers, plan, op, taken)
        if own is not None:
            found[own.name] = own
    at = {name: own.name for own in found.values() for name in own.ops}
    unstored = at.keys() | {name for name, own in found.items() if not own.kept}
    reads = {name: own.reads for name, own in found.items()}
    plan = replace(plan, finished=finished(plan.ops, at, reads), unstored=plan.unstored | unstored)
    done = dict(zip((op.name for op in plan.ops), plan.finished, strict=True))
    for name, own in found.items():
        over = [base for base in own.bases if base in done[name] and plan.carries[base] == "current"]
        if own.kept and over:
            found[name] = replace(own, reused=over[0])
    reuses = {name: own.reused for name, own in found.items() if own.reused is not None}
    return replace(plan, reuses={**plan.reuses, **reuses}), found


FACTORS: Mapping[type[Layer], Callable[[Any], int]] = {PixelShuffle: lambda layer: int(layer.factor)}
"""By what a move of a current, which a pass can do, enlarges it."""
SUMS: frozenset[type[Layer]] = frozenset([Add])
"""The kinds of layers that add currents."""


def _pass(integers: IntegerNetwork, plan: Plan, op: Op, taken: Container[str]) -> DigitPass | None:
    """The pass that begins with an op, or none; `taken` are the ops that others do."""
    writer, widths = op.writer, integers.network.widths
    if writer is None or not reads_digits(integers, writer):
        return None
    last, factor, ops, bases = op, 1, [op.name], list[str]()
    after = _readers(plan, last)
    if _one_of(after, FACTORS) and widths[after[0].name] % NARROW == 0:
        last, factor = after[0], FACTORS[type(after[0].layer)](after[0].layer)
        ops.append(last.name)
        after = _readers(plan, last)
    while factor == 1 and len(bases) < MOST_BASES and _one_of(after, SUMS) and widths[last.name] % NARROW == 0:
        others = [name for name in after[0].reads if name != last.name]
        moved = any(integers.shifts[key].any() for key in integers.shifts if key[0] == after[0].name)
        if len(others) != 1 or len(after[0].reads) != 2 or moved or after[0].name in taken:
            break
        bases += others
        last = after[0]
        ops.append(last.name)
        after = _readers(plan, last)
    fired = [other for other in after if other.name in plan.numbers and not _fused(other)]
    kept = len(after) > len(fired[:1]) or last.name == integers.network.output
    if not fired and len(ops) == 1:
        return None
    return DigitPass(
        name=last.name,
        op=op,
        conv=lay_out(integers, writer, writer.weights, writer.bias, factor),
        bases=tuple(bases),
        ops=tuple(ops[:-1]),
        neurons=fired[0].name if fired else None,
        kept=kept,
    )


def _readers(plan: Plan, op: Op) -> list[Op]:
    return [other for other in plan.ops for name in other.reads if name == op.name]


def _one_of(after: Sequence[Op], kinds: Container[type[Layer]]) -> bool:
    """Whether a current is read once, by a layer of these kinds."""
    return len(after) == 1 and type(after[0].layer) in kinds and after[0].stage is None


def _fused(op: Op) -> bool:
    return op.stage is not None and op.stage.fused
