"""Measures model files on their validation sets, and writes the figures into them.

    python benchmarks/measure_models.py --data DATA MODEL.h5 ...

DATA holds val/, see weights/README.md for the sets. A file is replaced when all its figures are there.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nspike import load, save
from nspike.benchmarking.evaluation import evaluate

SETS = {"denoise": "Set12", "superres": "Set5", "dehaze": "SOTS_indoor"}


def measured(path: Path, data: Path) -> dict[str, Any]:
    model = load(str(path))
    name = SETS[model.info.task]
    quality: dict[str, Any] = {}
    for scale in model.info.degradation.get("scales", [None]):
        found = evaluate(model, data / "val" / name, scale=scale).summary()
        quality[name if scale is None else f"{name} x{scale}"] = found
    save(path, replace(model, info=replace(model.info, quality=quality)))
    return quality


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", nargs="+", type=Path)
    options.add_argument("--data", type=Path, required=True)
    args = options.parse_args()
    for path in args.models:
        print(json.dumps({path.stem: measured(path, args.data)}, indent=1), flush=True)


if __name__ == "__main__":
    main()
