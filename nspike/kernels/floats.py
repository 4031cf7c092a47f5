"""Whether the `step` of a neuron plugin computes with floating-point numbers, judged by the types that Numba inferred."""

import re
import types
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from nspike.kernels._jit import INTERPRETED, compile_afresh

_FLOAT = re.compile(r"\b(?:float|complex)\d+\b")
_LINE = re.compile(r"#\s*--- LINE (\d+) ---")
_INSTRUCTION = re.compile(r"\b(?:half|float|double|fp128|x86_fp80)\b")


def of_step(compiled: Any, planes: int = 1) -> str:
    """Where a compiled `step`, or a compiled function that it calls, computes with floats; "" if nowhere.

    compiled : what `nspike.kernels._jit.compile_step` gave, compiled here for the engine's arrays if it is not yet (or read
    from the cache). What is known are the types of its variables, of the functions that it calls too. Without the compiler
    nothing is known, and nothing is reported. Raises what Numba raises where it cannot be compiled.
    """
    if INTERPRETED or not isinstance(compiled, Dispatcher):
        return ""
    compiled.compile(_signature(planes))
    if place := _annotated(compiled):
        return place
    for callee in _callees(compiled.py_func, set()):
        if not callee.overloads:  # what was read from the cache has not compiled what it calls
            return of_fresh(compiled.py_func, planes)
        if place := _annotated(callee):
            return place
    return ""


def of_fresh(step: Callable[..., None], planes: int = 1) -> str:
    """The same, `step` being compiled anew: no instruction of it, and of all that it calls, may be one of floats."""
    if INTERPRETED:
        return ""
    fresh: Dispatcher = compile_afresh(step)
    signature = _signature(planes)
    fresh.compile(signature)
    if place := next(filter(None, map(_annotated, [fresh, *_callees(fresh.py_func, set())])), ""):
        return place
    code = next(iter(fresh.inspect_llvm().values()))
    return f"compiled code of {fresh.py_func.__name__}" if _INSTRUCTION.search(_without_names(code)) else ""


def _signature(planes: int) -> tuple[Any, ...]:
    """The types of the arrays that the engine hands over."""
    v, state, out = np.zeros((1, 1), np.int32), np.zeros((1, 1, 1), np.int32), np.zeros((1, 1, planes), np.int8)
    given, params, phase = v.copy(), v.copy(), np.zeros(2, np.int32)
    for array in (given, params, phase):
        array.flags.writeable = False
    return tuple(numba.typeof(array) for array in (v, given, state, params, phase, out))


def _annotated(function: Dispatcher) -> str:
    """The first line of a function with a float in it, as text, from the types that its compilation kept."""
    name = function.py_func.__name__
    for result in function.overloads.values():
        line = ""
        for text in str(result.type_annotation).splitlines():
            if place := _LINE.search(text):
                line = f", line {place[1]}"
            elif "::" in text and _FLOAT.search(text.rpartition("::")[2]):
                return f"{name}{line}"
    return ""


def _callees(function: Any, seen: set[int]) -> list[Dispatcher]:
    """The compiled functions that a function names, and those that these name."""
    code, callees = function.__code__, []
    values = [function.__globals__.get(name) for name in code.co_names]
    for module in [v for v in values if isinstance(v, types.ModuleType) and v.__name__.split(".")[0] != "numpy"]:
        values += [getattr(module, name, None) for name in code.co_names]
    values += [cell.cell_contents for cell in function.__closure__ or ()]
    for value in values:
        if isinstance(value, Dispatcher) and id(value) not in seen:
            seen.add(id(value))
            callees += [value, *_callees(value.py_func, seen)]
    return callees


def _without_names(code: str) -> str:
    """LLVM's text without comments, strings, metadata and the names of symbols."""
    return re.sub(r'c?"[^"]*"|[@%$!][-\w.$]+|;.*', "", code)
