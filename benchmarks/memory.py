"""Peak memory of the whole process `nspike run` at 1, 4 and 16 megapixels.

    python benchmarks/memory.py [--models aodnet dncnn-s25] [--megapixels 1 4 16] [-T N]

The peak is the resident memory that the operating system counts: Python, its packages and the compiled kernels (the first
row, on an image of 64×64), the image and its result in their own depth, and the tile that is worked on. DnCNN takes
minutes at 16 megapixels; its memory does not depend on the model's T as long as a tile fits, so its large images
are run with a few steps (--steps), a row of its own at 1 megapixel with all of them shows what that changes.
"""

import tempfile
from pathlib import Path

import numpy as np
from _common import IMAGES, parser, report, say
from _processes import nspike

from nspike import load
from nspike.images.file import ImageData, read, write

SIDES = {1: (1024, 1024), 4: (2048, 2048), 16: (4096, 4096)}


def image(folder: Path, source: str, height: int, width: int) -> Path:
    """An image of this size, from a bundled one laid out again and again."""
    pixels = read(IMAGES / source).pixels
    repeats = (-(-height // pixels.shape[0]), -(-width // pixels.shape[1]), *[1] * (pixels.ndim - 2))
    path = folder / f"{Path(source).stem}_{height}x{width}.png"
    write(path, ImageData(np.ascontiguousarray(np.tile(pixels, repeats)[:height, :width])))
    return path


def main() -> None:
    args = parser(__doc__)
    args.add_argument("--models", nargs="+", default=["aodnet", "dncnn-s25"])
    args.add_argument("--megapixels", type=int, nargs="+", default=[1, 4, 16], choices=list(SIDES))
    args.add_argument("--steps", type=int, default=2, help="T of DnCNN above 1 megapixel")
    args = args.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in args.models:
            source = "coffee_hazy.png" if "aod" in model else "camera_noisy25.png"
            runs = [((64, 64), None)]
            for megapixels in args.megapixels:
                slow = "aod" not in model
                if slow and megapixels == 1:
                    runs.append((SIDES[1], None))
                runs.append((SIDES[megapixels], args.steps if slow else None))
            for (height, width), steps in runs:
                path = image(folder, source, height, width)
                pixels = read(path).pixels
                say(f"{model}, {width}×{height}, T = {steps or 'the model’s'}")
                more = () if steps is None else ("-T", str(steps))
                done = nspike("run", path, "--model", model, "-o", folder / "out.png", "--overwrite", *more)
                rows.append(
                    {
                        "model": model,
                        "image": f"{width}×{height}",
                        "megapixels": height * width / 2**20,
                        "T": steps or load(model).spiking.timesteps,
                        "image and result MiB": 2 * pixels.nbytes / 2**20,
                        "peak MiB": done.peak,
                        "seconds": done.seconds,
                    }
                )
                path.unlink()
    report(args, "Peak memory of nspike run", rows)


if __name__ == "__main__":
    main()
