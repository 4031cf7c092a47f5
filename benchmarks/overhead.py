"""What an image of a folder costs beyond its arithmetic, and how long the first one takes.

    python benchmarks/overhead.py [--images 100] [--size 64] [--rounds 3] [--against PYTHON]

`nspike run FOLDER` over so many images and over one of them, as whole processes; their difference over the number of images
is the time of an image, and the arithmetic is that of its tiles alone, measured in this process on one thread pool.
`--against` is the Python of another installation, whose processes run in turns with this one's.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _common import IMAGES, median, parser, report, say

from nspike import load
from nspike.engine.program import program_of
from nspike.engine.tile import run_tile, window
from nspike.engine.tiling import tiles
from nspike.images.file import ImageData, read, write
from nspike.registry.parts import head_of, neuron_of
from nspike.restoration.choice import Chooser, Request
from nspike.restoration.way import way

THREADS = len(os.sched_getaffinity(0))


def folder_of(folder: Path, source: str, count: int, size: int) -> Path:
    """Crops of a bundled image."""
    folder.mkdir()
    pixels = read(IMAGES / source).pixels
    rows, columns = pixels.shape[0] - size, pixels.shape[1] - size
    for i in range(count):
        y, x = (i * 37) % max(rows, 1), (i * 53) % max(columns, 1)
        write(folder / f"{i:03}.png", ImageData(pixels[y : y + size, x : x + size]))
    return folder


def process(python: str, *arguments: str | Path) -> float:
    """Wall seconds of `nspike` with these arguments."""
    start = time.perf_counter()
    subprocess.run([python, "-m", "nspike", *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - start


def arithmetic(folder: Path, model: str | None) -> float:
    """Mean seconds of the tiles of an image."""
    chooser = Chooser(Request(model=model))
    seconds, files = 0.0, sorted(folder.iterdir())
    with ThreadPoolExecutor(THREADS) as pool:
        for timed in (False, True):
            for file in files:
                pixels = read(file).pixels
                chosen = chooser.choose(pixels).model
                program = program_of(chosen, neuron_of(chosen), head_of(chosen))
                planes = way(chosen, pixels, None)[0]
                start = time.perf_counter()
                for n in range(len(planes)):
                    for core in tiles(*planes.shape[2:], 1 << 16):
                        run_tile(program, window(program, planes, n, core), pool=pool, threads=THREADS)
                seconds += timed * (time.perf_counter() - start)
    return seconds / len(files)


def main() -> None:
    args = parser(__doc__)
    args.add_argument("--images", type=int, default=100)
    args.add_argument("--size", type=int, default=64)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--against", metavar="PYTHON")
    args = args.parse_args()
    load("aodnet")
    pythons = {"this": sys.executable} | ({"against": args.against} if args.against else {})
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for what, source, options in (
            ("aodnet", "coffee_hazy.png", ["--model", "aodnet"]),
            ("no model named", "camera_noisy25.png", []),
        ):
            many = folder_of(work / f"{source}-many", source, args.images, args.size)
            one = folder_of(work / f"{source}-one", source, 1, args.size)
            taken: dict[tuple[str, str], list[float]] = {}
            for i in range(args.rounds + 1):
                for who, python in pythons.items():
                    for kind, folder in (("one", one), ("many", many)):
                        say(f"{what}, {who}, {kind}")
                        target = work / f"out-{source}-{who}-{kind}-{i}"
                        seconds = process(python, "run", folder, "-o", target, *options)
                        if i:  # the first compiles kernels
                            taken.setdefault((who, kind), []).append(seconds)
            floor = 1000 * arithmetic(many, options[1] if options else None)
            for who in pythons:
                first, all_of_them = median(taken[who, "one"]), median(taken[who, "many"])
                each = 1000 * (all_of_them - first) / (args.images - 1)
                rows.append(
                    {
                        "what": what,
                        "installation": who,
                        "start to first result s": first,
                        "ms an image": each,
                        "arithmetic ms": floor,
                        "overhead ms": each - floor,
                    }
                )
    report(args, "Overhead of an image", rows)


if __name__ == "__main__":
    main()
