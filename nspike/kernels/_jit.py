"""The one place with compiler options, and the folder in which compiled kernels are kept.

No fast-math: it would reorder sums. Kernels release the GIL and are called from a pool of Python threads, each on its own
rows, so no threading layer is needed. The cache folder's name holds the version, the CPU and the digest of the kernels'
sources, because Numba alone does not notice an edited callee in another file.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import types
import warnings
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config

from nspike.kernels._cache import KernelCache
from nspike.runtime.version import VERSION

INTERPRETED = bool(config.DISABLE_JIT)


def _cpu() -> str:
    name = config.CPU_NAME or f"{llvm.get_host_cpu_name()}-{llvm.get_host_cpu_features().flatten()}"
    return str(name)


def _sources() -> bytes:
    folder = Path(__file__).parent
    return b"\0".join(path.read_bytes() for path in sorted(folder.glob("*.py")))


def _key() -> str:
    versions = f"{VERSION} {numba.__version__} {llvmlite.__version__} {sys.version} {_cpu()}"
    return hashlib.sha256(versions.encode() + _sources()).hexdigest()[:16]


def _folder() -> Path | None:
    """A writable folder for this key, or none."""
    base = os.environ.get("NSPIKE_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "nspike"
    )
    folder = Path(base) / "kernels" / f"{VERSION}-{_key()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        warnings.warn(
            f"nspike: compiled kernels cannot be kept ({error}); they are compiled again in every process. "
            "Set NSPIKE_CACHE_DIR to a writable folder.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


FOLDER = None if INTERPRETED else _folder()
if FOLDER is not None:
    config.CACHE_DIR = str(FOLDER)


def kernel(function):
    """A function that Python calls, kept in the folder where there is one."""
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    if FOLDER is not None:
        with contextlib.suppress(RuntimeError):  # its source cannot be found
            compiled._cache = KernelCache(function)
    return compiled


inline = numba.njit(nogil=True, inline="never", error_model="numpy")
"""A function that only kernels of the same file call."""


def plain_step(function):
    """The `step` of a neuron plugin as plain Python, even if its author has compiled it."""
    return getattr(function, "py_func", function)


def compile_step(function):
    """Compile the `step` of a neuron plugin, cached beside the core's kernels where its source can be found.

    Numba's cache goes by the file and the function's name; but what it keeps imports the module, and a file that is loaded
    for a trial is another module than when it is installed. So the module becomes part of the name.
    """
    function = plain_step(function)
    if isinstance(function, types.FunctionType):
        original, code = function, function.__code__
        function = types.FunctionType(
            code, original.__globals__, code.co_name, original.__defaults__, original.__closure__
        )
        function.__module__, function.__doc__ = original.__module__, original.__doc__
        function.__qualname__ = f"{original.__module__}.{original.__qualname__}"
    return kernel(function)


def compile_afresh(function):
    """Compile the `step` of a neuron plugin without the cache, so that its code can be looked at."""
    return numba.njit(nogil=True, error_model="numpy")(plain_step(function))


def is_cached() -> bool:
    """Whether the kernels have been compiled before on this machine."""
    return FOLDER is not None and any(FOLDER.rglob("*.nbi"))
