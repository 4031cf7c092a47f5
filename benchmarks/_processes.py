"""Whole processes: their time and peak memory, as the operating system counts them."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """What a process took: wall and processor seconds, peak resident memory in MiB."""

    seconds: float
    cpu: float
    peak: float


_CHILD = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
if done.returncode:
    sys.stderr.write(done.stderr.decode(errors="replace"))
print(json.dumps([done.returncode, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def nspike(*arguments: str | os.PathLike[str], cache: Path | None = None) -> Process:
    """Run the command `nspike` of this Python's environment to its end. Raises SystemExit if it fails."""
    import json

    environment = dict(os.environ)
    if cache is not None:
        environment["NSPIKE_CACHE_DIR"] = str(cache)
    command = [sys.executable, "-m", "nspike", *map(os.fspath, arguments)]
    # a small process of its own between, so that the peak is that of this command alone
    text = subprocess.run(
        [sys.executable, "-c", _CHILD, *command], env=environment, stdout=subprocess.PIPE, check=True
    ).stdout
    code, seconds, cpu, peak = json.loads(text)
    if code:
        raise SystemExit(f"nspike {' '.join(map(str, arguments))} failed with exit status {code}")
    return Process(seconds, cpu, peak / (1024 if sys.platform != "darwin" else 1024**2))


def settle() -> None:
    """A moment for the machine to write what it has to."""
    time.sleep(0.5)
