"""A neuron by its definition, step after step: the declared family's equations, or the plugin's own function.

The function is run as plain Python unless `compiled`, so that a read or write outside its arrays is seen, which compiled
code does not see.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.authoring.conformance.report import Fault
from nspike.authoring.conformance.subject import Cells
from nspike.kernels._jit import compile_step, plain_step
from nspike.runtime.explain import changes_its_input, explain


@dataclass(frozen=True)
class Walk:
    """spikes bool (steps, P, C, planes); membranes int32 (steps, P, C), after each step."""

    spikes: NDArray[np.bool_]
    membranes: NDArray[np.int32]


def walk(cells: Cells, currents: NDArray[np.int32], *, compiled: bool = False) -> Walk:
    """Run P·C neurons on `currents` int32 (steps, P, C). Raises Fault where a kernel breaks the contract."""
    steps, pixels, channels = currents.shape
    planes = len(cells.neuron.planes)
    spikes = np.zeros((steps, pixels, channels, planes), np.bool_)
    membranes = np.zeros(currents.shape, np.int32)
    v = np.tile(cells.v0, (pixels, 1))
    step = _Step(cells, pixels, compiled) if cells.neuron.step is not None else None
    for t in range(steps):
        if step is None:
            v, spikes[t] = declared(cells, v, currents[t], t)
        else:
            spikes[t] = step.run(v, currents[t], t)
        membranes[t] = v
    return Walk(spikes, membranes)


def declared(
    cells: Cells, v: NDArray[np.int32], current: NDArray[np.int32], t: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """A step of P·C declared neurons: v after it, and its spikes bool (P, C, planes); see `nspike.contracts.neuron`."""
    d, threshold, reset = cells.dynamics, cells.threshold[t].astype(np.int64), cells.reset[t].astype(np.int64)
    u, arriving = (x.astype(np.int64) * m for x, m in ((v, d.keep), (current, d.input_factor)))
    u = (u + 2**15 >> 16) + (arriving + 2**15 >> 16)
    left, fired = u.copy(), []
    for sign, planes in ((1, d.up), (-1, d.down)):
        spikes = np.zeros(u.shape, np.int64)
        for n in range(min(d.most, 2**planes - 1)):
            spikes += sign * u - n * reset >= threshold
        left -= sign * spikes * reset
        fired += [spikes >> plane & 1 > 0 for plane in range(planes)]
    planes_fired = np.stack(fired, axis=-1)
    if d.to_zero:
        left[planes_fired.any(axis=-1)] = 0
    return left.astype(np.int32), planes_fired


class _Step:
    """Calls of a neuron's own function, watched."""

    def __init__(self, cells: Cells, pixels: int, compiled: bool) -> None:
        neuron, channels = cells.neuron, cells.theta.size
        assert neuron.step is not None
        self._cells = cells
        self._step = (compile_step if compiled else plain_step)(neuron.step)  # type: ignore[no-untyped-call]
        self._state = np.zeros((neuron.state_planes, pixels, channels), np.int32)

    def run(self, v: NDArray[np.int32], current: NDArray[np.int32], t: int) -> NDArray[np.bool_]:
        """One step, `v` changed in place."""
        cells = self._cells
        out = np.zeros((*v.shape, len(cells.neuron.planes)), np.int8)
        phase = np.array([t, t >= cells.timesteps], np.int32)
        given = current.copy()
        given.flags.writeable = phase.flags.writeable = False
        where = f"`step` at step {t + 1} of T = {cells.timesteps}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # overflow: the comparison with the compiled form tells
                self._step(v, given, self._state, cells.params, phase, out)
        except IndexError as error:
            raise Fault(f"{where} reads or writes outside its arrays: {explain(error)}") from error
        except Exception as error:
            if changes_its_input(error):
                raise Fault(f"{where} writes to `current`, `params` or `phase`, which it may only read") from error
            raise Fault(f"{where} failed: {explain(error)}") from error
        if out.size and (out.min() < 0 or out.max() > 1):
            raise Fault(f"{where} wrote {out.min()} .. {out.max()} to `out`; a spike is 0 or 1, a plane has the gain")
        return out.astype(np.bool_)
