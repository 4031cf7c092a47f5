"""Make docs/before_after.png: a bundled noisy image beside the same restored by the default model.

python benchmarks/make_readme_image.py [FILE] [--task denoise]
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import nspike
from nspike.images.file import read
from nspike.images.metrics import psnr
from nspike.model import shipped as models
from nspike.restoration.bundled import image_for

LARGEST = 400_000
"""Bytes: more is too much for a README."""
GAP = 8
COLOURS = 256


def side_by_side(*images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images of one height in a row, white between them."""
    height, white = images[0].shape[0], np.uint8(255)
    row: list[NDArray[np.uint8]] = []
    for image in images:
        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        row += [np.full((height, GAP, 3), white), colour]
    return np.concatenate(row[1:], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "docs" / "before_after.png"
    parser.add_argument("file", nargs="?", type=Path, default=default)
    parser.add_argument("--task", choices=["denoise", "dehaze"], default="denoise")
    args = parser.parse_args()
    degraded, clean = (read(path).pixels for path in image_for(args.task))
    name = models.default_for(args.task)
    model = nspike.load(name)
    restored = model.run(degraded).image
    sheet = Image.fromarray(side_by_side(degraded, restored))
    sheet.save(args.file, optimize=True)
    if args.file.stat().st_size > LARGEST:  # noise compresses badly: as many colours as a palette has
        sheet.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            args.file, optimize=True
        )
    size = args.file.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{args.file} is {size} bytes, more than {LARGEST}")
    before, after = (psnr(image / 255.0, clean / 255.0, 1.0) for image in (degraded, restored))
    print(f"{args.file}: {size} bytes; {name}, PSNR {before:.2f} -> {after:.2f} dB")


if __name__ == "__main__":
    main()
