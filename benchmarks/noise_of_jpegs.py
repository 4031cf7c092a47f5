"""How well the noise of photographs is estimated before and after JPEG.

    python benchmarks/noise_of_jpegs.py [FOLDER...] [--limit 12]

Images (the bundled ones if there are no folders) get Gaussian noise, clipped and rounded to 8 bits as a camera does, and are
written as PNG and as JPEG. Printed is the median of the estimates and their range, by the file's own quantisation steps and, in
brackets, by the pixels alone, as for a PNG.
"""

import io
from pathlib import Path

import numpy as np
from _common import IMAGES, parser, report, say
from PIL import Image

from nspike.images.file import decode, list_images, read
from nspike.restoration.noise import noise_of

SIGMAS = (0, 5, 10, 15, 25, 50)
BUNDLED = ("camera", "chelsea", "astronaut", "coffee")
QUALITIES = (None, 95, 80, 60, 40, 20)


def estimates(clean: np.ndarray, sigma: float, quality: int | None, seed: int) -> tuple[float, float]:
    """With the file's steps, and without."""
    noisy = np.clip(np.rint(clean + np.random.RandomState(seed).normal(0, sigma, clean.shape)), 0, 255)
    stream = io.BytesIO()
    options = {"format": "PNG"} if quality is None else {"format": "JPEG", "quality": quality}
    Image.fromarray(noisy.astype(np.uint8)).save(stream, **options)
    image = decode(stream.getvalue(), Path("image"))
    found, alone = noise_of(image.pixels, image.blocks), noise_of(image.pixels)
    assert found is not None
    assert alone is not None
    return found.sigma, alone.sigma


def main() -> None:
    """Measure, and print."""
    options = parser(__doc__)
    options.add_argument("folders", nargs="*", type=Path)
    options.add_argument("--limit", type=int, default=12, help="images of a folder")
    args = options.parse_args()
    rows = []
    for folder in args.folders or [IMAGES]:
        every = list_images(folder) if args.folders else [IMAGES / f"{name}.png" for name in BUNDLED]
        paths = every[:: max(len(every) // args.limit, 1)][: args.limit]
        say(f"{folder.name}, {len(paths)} images")
        for quality in QUALITIES:
            row: dict[str, object] = {"images": folder.name, "file": "PNG" if quality is None else f"JPEG {quality}"}
            for sigma in SIGMAS:
                found = np.array([estimates(read(path).pixels, sigma, quality, i) for i, path in enumerate(paths)])
                middle, low, high = np.median(found, axis=0), found[:, 0].min(), found[:, 0].max()
                row[f"noise {sigma}"] = f"{middle[0]:.1f}, {low:.1f} to {high:.1f} ({middle[1]:.1f})"
            rows.append(row)
    report(args, "Noise of JPEGs: median, range (median by the pixels alone)", rows)


if __name__ == "__main__":
    main()
