"""Make docs/before_after.png: a bundled noisy image beside the same restored by the default model.

    python benchmarks/make_readme_image.py [FILE] [--task denoise]
    python benchmarks/make_readme_image.py docs/compared.png --models dncnn-s25 spikerir-denoise drunet-color --crop 70 40 160 128

With --models the bundled colour image: the noisy one, restored by each, and the clean one, perhaps a crop of them.
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
BUNDLED = Path(nspike.__file__).parent / "images" / "bundled"


def side_by_side(*images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images of one height in a row, white between them."""
    height, white = images[0].shape[0], np.uint8(255)
    row: list[NDArray[np.uint8]] = []
    for image in images:
        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        row += [np.full((height, GAP, 3), white), colour]
    return np.concatenate(row[1:], axis=1)


def compared(file: Path, names: list[str], crop: list[int] | None) -> None:
    """A sheet of the noisy image, what each model makes of all of it, and the clean one; their PSNR is printed."""
    noisy, clean = (read(BUNDLED / f"chelsea{kind}.png").pixels for kind in ("_noisy25", ""))
    images = {"noisy": noisy}
    for name in names:
        model = nspike.load(name)
        plain = model.spiking is None
        model = model.at_noise(25.0) if model.network.takes_noise_level else model
        images[name] = model.run(noisy, ann=plain).image
    for name, image in images.items():
        print(f"{name}: {psnr(image / 255.0, clean / 255.0, 1.0):.2f} dB")
    x, y, width, height = crop or (0, 0, noisy.shape[1], noisy.shape[0])
    sheet = side_by_side(*(image[y : y + height, x : x + width] for image in (*images.values(), clean)))
    save(Image.fromarray(sheet), file)


def save(sheet: Image.Image, file: Path) -> int:
    """Write a sheet, with fewer colours if it is too large; returns its size."""
    sheet.save(file, optimize=True)
    if file.stat().st_size > LARGEST:  # noise compresses badly: as many colours as a palette has
        sheet.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{file} is {size} bytes, more than {LARGEST}")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "docs" / "before_after.png"
    parser.add_argument("file", nargs="?", type=Path, default=default)
    parser.add_argument("--task", choices=["denoise", "dehaze"], default="denoise")
    parser.add_argument("--models", nargs="+", help="these models, on the bundled colour image")
    parser.add_argument("--crop", nargs=4, type=int, metavar=("X", "Y", "WIDTH", "HEIGHT"))
    args = parser.parse_args()
    if args.models:
        compared(args.file, args.models, args.crop)
        return
    degraded, clean = (read(path).pixels for path in image_for(args.task))
    name = models.default_for(args.task, 25.0 if args.task == "denoise" else None, colour=True)
    model = nspike.load(name)
    restored = model.run(degraded).image
    size = save(Image.fromarray(side_by_side(degraded, restored)), args.file)
    before, after = (psnr(image / 255.0, clean / 255.0, 1.0) for image in (degraded, restored))
    print(f"{args.file}: {size} bytes; {name}, PSNR {before:.2f} -> {after:.2f} dB")


if __name__ == "__main__":
    main()
