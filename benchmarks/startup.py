"""Whole processes: `nspike --help`, the first run after install, which compiles the kernels, and a warm run.

    python benchmarks/startup.py [--model dncnn-s25] [--runs 5]

The first run starts with an empty cache folder for the kernels (NSPIKE_CACHE_DIR).
"""

import tempfile
from pathlib import Path

from _common import IMAGES, gray_plane, median, parser, report, say
from _processes import nspike, settle

from nspike.images.file import ImageData, write
from nspike.images.plane import from_plane, to_pixels


def main() -> None:
    args = parser(__doc__)
    args.add_argument("--models", nargs="+", default=["dncnn-s25", "aodnet"])
    args.add_argument("--runs", type=int, default=5)
    args = args.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gray = folder / "gray.png"
        write(gray, ImageData(to_pixels(from_plane(gray_plane(256, 256)[0, 0]))))
        images = {model: IMAGES / "coffee_hazy.png" if "aod" in model else gray for model in args.models}
        cache = folder / "cache"

        def add(what: str, runs: int, *arguments: str | Path) -> None:
            say(what)
            done = []
            for _ in range(runs):
                settle()
                done.append(nspike(*arguments, cache=cache))
            seconds = [process.seconds for process in done]
            rows.append(
                {
                    "what": what,
                    "median s": median(seconds),
                    "least s": min(seconds),
                    "processor s": median([process.cpu for process in done]),
                    "peak MiB": max(process.peak for process in done),
                    "runs": runs,
                }
            )

        add("nspike --help", args.runs, "--help")
        for number, (model, image) in enumerate(images.items()):
            size = "256×256" if image == gray else "300×200 RGB"
            run = ("run", image, "--model", model, "-o", folder / f"{model}.png", "--overwrite")
            what = "first run after install" if not number else "first run of this model"
            add(f"{what}, {model}, {size}", 1, *run)
            add(f"warm run, {model}, {size}", args.runs, *run)
    report(args, "Whole processes", rows)


if __name__ == "__main__":
    main()
