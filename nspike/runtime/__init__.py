"""What any part may need of the process: the version, threads, memory that is used again, exceptions in a line.

Nothing about images or networks.
"""

import contextlib
import os


def _mend_environment() -> None:
    """Numba cannot be imported with NUMBA_NUM_THREADS=0; none of its threads are used here."""
    with contextlib.suppress(ValueError):  # not a number: Numba itself reports it
        if int(os.environ.get("NUMBA_NUM_THREADS", "1")) < 1:
            del os.environ["NUMBA_NUM_THREADS"]


_mend_environment()
