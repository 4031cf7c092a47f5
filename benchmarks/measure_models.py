"""Measures model files on their validation sets, and writes the figures into them.

    python benchmarks/measure_models.py --data DATA [--threads 1] MODEL.h5 ...

DATA holds val/ and train/, see weights/README.md for the sets. A file is replaced when all its figures are there; its networks
stay as they are.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nspike import load, save
from nspike.benchmarking.evaluation import evaluate
from nspike.images.file import list_images
from nspike.model.model import Model

SETS = {
    "denoise": "val/Set12",
    "superres": "val/Set5",
    "dehaze": "val/SOTS_indoor",
    "derain": "train/RainTrainH_small",
}
HELD_OUT = ("train/BSDS500_test", 20)
"""Colour denoising: the last so many images of a folder by name, which no model has been trained on."""
SIGMAS = (15, 25, 50)


def sets(model: Model, data: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(name, images, options of `evaluate`) of each set that a model is measured on."""
    info = model.info
    if info.degradation.get("kind") == "jpeg":
        raise SystemExit(f"{info.name}: there is no set of JPEGs")
    if info.task == "denoise" and info.colour == "rgb":
        folder, count = HELD_OUT
        images = list_images(data / folder)[-count:]
        for sigma in SIGMAS:
            yield f"{Path(folder).name}, last {count}, sigma {sigma}", images, {"sigma": sigma}
        return
    folder = SETS[info.task]
    name = Path(folder).name
    for scale in info.degradation.get("scales", [None]):
        yield name if scale is None else f"{name} x{scale}", data / folder, {"scale": scale}


def measured(path: Path, data: Path, threads: int | None) -> dict[str, Any]:
    model = load(str(path))
    quality: dict[str, Any] = {}
    for name, images, options in sets(model, data):
        found = evaluate(model, images, threads=threads, **options)
        quality[name] = found.summary()
        if model.info.task == "denoise":
            quality[name]["ssim"] = found.mean().gauss11
    save(path, replace(model, info=replace(model.info, quality=quality)))
    return quality


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", nargs="+", type=Path)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--threads", type=int)
    args = options.parse_args()
    for path in args.models:
        print(json.dumps({path.stem: measured(path, args.data, args.threads)}, indent=1), flush=True)


if __name__ == "__main__":
    main()
