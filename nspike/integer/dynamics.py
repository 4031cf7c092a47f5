"""How declared neurons integrate and reset, beside their thresholds: what is rounded of it, and as whole numbers.

A factor m stands for m/2^16: m·x is (x·m + 2^15) >> 16, the shift being arithmetic.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.course import Course
from nspike.contracts.neuron import Neuron

BITS = 16
ONE = 1 << BITS


@dataclass(frozen=True)
class Dynamics:
    """Of one layer's declared neurons.

    keep, input_factor : m of what is kept of the membrane from step to step, and of the input; `ONE` for all of it.
    to_zero : whether a spike sets the membrane to zero.
    up, down : how many planes of positive spikes there are, of gains 1, 2, 4, ..., and of negative ones.
    most : the most spikes of either sign at a step.
    """

    keep: int = ONE
    input_factor: int = ONE
    to_zero: bool = False
    up: int = 1
    down: int = 0
    most: int = 1

    @property
    def leaks(self) -> bool:
        """Whether membrane or input are multiplied at all."""
        return (self.keep, self.input_factor) != (ONE, ONE)

    @property
    def plain(self) -> bool:
        """Whether this is the soft-reset neuron with one plane and no leak."""
        return self == PLAIN

    def as_arrays(self) -> dict[str, NDArray[np.generic]]:
        """What a model file stores of it: nothing for the plain neuron."""
        arrays: dict[str, NDArray[np.generic]] = {}
        if self.leaks:
            arrays["keep"] = np.array([self.keep], np.int32)
            arrays["input_factor"] = np.array([self.input_factor], np.int32)
        if self.to_zero:
            arrays["reset_to_zero"] = np.array([1], np.int32)
        if (self.up, self.down) != (1, 0):
            gains = [1 << i for i in range(self.up)] + [-(1 << i) for i in range(self.down)]
            arrays["planes"] = np.array(gains, np.int32)
            arrays["most_spikes"] = np.array([self.most], np.int32)
        return arrays


PLAIN = Dynamics()


def dynamics(neuron: Neuron, course: Course) -> Dynamics:
    """The dynamics of a declared neuron, its factors rounded half to even; `PLAIN` for one with a kernel of its own."""
    if neuron.step is not None:
        return PLAIN
    up, down = neuron.gains
    return Dynamics(
        keep=factor(course.keep),
        input_factor=factor(course.input_factor),
        to_zero=neuron.reset == "zero",
        up=len(up),
        down=len(down),
        most=course.most,
    )


def factor(fraction: float) -> int:
    """m of a fraction in [0, 1]: ·2^16, rounded half to even."""
    return int(np.rint(fraction * ONE))


def scaled(values: NDArray[np.float64], m: int) -> NDArray[np.float64]:
    """(x·m + 2^15) >> 16 of whole numbers up to 2^36, as floats."""
    return np.asarray(np.floor((values * m + ONE // 2) / ONE), np.float64)
