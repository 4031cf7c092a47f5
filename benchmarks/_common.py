"""What the benchmark scripts share: the machine's description, tables, timing, and images of a given size."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.noise import add_gaussian
from nspike.images.file import read
from nspike.images.plane import to_plane
from nspike.images.resize import imresize

IMAGES = Path(__file__).parents[1] / "nspike" / "images" / "bundled"
WEIGHTS = Path(__file__).parents[1] / "weights"
PACKAGES = ("nspike", "numpy", "numba", "llvmlite", "torch", "spikingjelly", "snntorch")


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the options of every script."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--json", metavar="FILE", help="write the figures here too; - for stdout, instead of the table")
    return made


def machine() -> dict[str, Any]:
    """CPU, cores, memory, versions and date."""
    name = platform.processor() or platform.machine()
    memory = 0.0
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        flags = found.get("flags", "").split()
        vectors = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
        name = (
            f"{found.get('model name', name)}, family {found.get('cpu family')} model {found.get('model')}, {vectors}"
        )
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "versions": versions,
        "date": datetime.date.today().isoformat(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def report(args: argparse.Namespace, title: str, rows: Sequence[dict[str, Any]], **more: Any) -> None:
    """Print the rows as a table, and write them as JSON if asked."""
    document = {"title": title, "machine": machine(), "rows": list(rows), **more}
    if args.json != "-":
        print(f"\n{title}\n")
        print_table(rows)
        for key, value in more.items():
            print(f"\n{key}: {value}" if not isinstance(value, dict) else f"\n{key}: {json.dumps(value)}")
    if args.json == "-":
        print(json.dumps(document, indent=1))
    elif args.json:
        Path(args.json).write_text(json.dumps(document, indent=1) + "\n")


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """A Markdown table; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    for line in [columns, ["-" * w for w in widths], *cells]:
        print("| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds on the clock and of all processors, and what the function returned."""
    start, used = time.perf_counter(), time.process_time()
    value = function()
    return time.perf_counter() - start, time.process_time() - used, value


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def gray_plane(height: int, width: int, sigma: float = 25.0) -> NDArray[np.int32]:
    """A noisy grey image of this size on the input plane, int32 (1, 1, H, W): the bundled camera, enlarged."""
    return to_plane(add_gaussian(_sized("camera.png", height, width), sigma, 0))[None, None]


def hazy_plane(height: int, width: int) -> NDArray[np.int32]:
    """A hazy RGB image of this size on the input plane, int32 (1, 3, H, W): the bundled coffee, enlarged."""
    pixels = np.clip(_sized("coffee_hazy.png", height, width), 0, 1)
    return to_plane(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def _sized(name: str, height: int, width: int) -> NDArray[np.float64]:
    pixels = read(IMAGES / name).pixels / 255.0
    scale = max(height / pixels.shape[0], width / pixels.shape[1])
    return imresize(pixels, float(np.ceil(scale * 4) / 4))[:height, :width]
