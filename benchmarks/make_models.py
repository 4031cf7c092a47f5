"""Makes the models that nspike ships: import, convert with the best settings found, measure, save.

    python benchmarks/make_models.py --exports EXPORTS --data DATA -o weights/

Settings are chosen on training pictures, by PSNR against what the ANN makes of them; quality is then measured on the
validation pictures. EXPORTS holds the PyTorch exports named in JOBS, DATA the folders train/ and val/.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import nspike
from nspike import ann, weights
from nspike.calibration import calibration_crops
from nspike.conversion import Calibration
from nspike.converting import convert
from nspike.evaluation import evaluate
from nspike.folding import fold_batch_norm
from nspike.haze import add_haze
from nspike.images import read
from nspike.importing import import_checkpoint
from nspike.integers import as_arrays, build
from nspike.model import Model, Spiking
from nspike.plugins import registry
from nspike.restoration import restore

LICENCE = "CC BY-NC 4.0, see weights/LICENSE for the training pictures' terms"

JOBS = {
    "dncnn-s15": ("dncnn_gray_s15.pth", "dncnn", {"sigma": 15.0}, "Train400", "Set12"),
    "dncnn-s25": ("dncnn_gray_s25.pth", "dncnn", {"sigma": 25.0}, "Train400", "Set12"),
    "dncnn-s50": ("dncnn_gray_s50.pth", "dncnn", {"sigma": 50.0}, "Train400", "Set12"),
    "aodnet": (
        "aodnet.pth",
        "aodnet",
        {"haze": "beta 0.4 to 1.6, airlight 0.7 to 1"},
        "Middlebury_RGBD",
        "SOTS_indoor",
    ),
    "vdsr": ("vdsr_y.pth", "vdsr", {"scales": [2, 3, 4]}, "T91", "Set5"),
}

TRAINING = {
    "dncnn": "Train400 (BSD), grey",
    "aodnet": "Middlebury_RGBD and BSDS500_train with synthetic haze",
    "vdsr": "T91 and BSDS500_train",
}


def hazy_crops(folder: Path, size: int) -> tuple[list, list]:
    """Haze made from the disparities of Middlebury_RGBD, seeded: float32 (3, size, size) hazy and clean."""
    draw = np.random.default_rng(0)
    hazy, clean = [], []
    for path in sorted(folder.glob("*_view1.png")):
        pixels = read(path).pixels / 255.0
        disparity = read(Path(str(path).replace("view1", "disp1"))).pixels.astype(float)
        disparity[disparity == 0] = disparity[disparity > 0].min()
        depth = 1 / disparity
        depth = 0.3 + 1.2 * (depth - depth.min()) / (depth.max() - depth.min())
        made = add_haze(pixels, depth, beta=float(draw.uniform(0.4, 1.6)), airlight=float(draw.uniform(0.7, 1.0)))
        y, x = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
        window = (slice(y, y + size), slice(x, x + size))
        hazy.append(made[window].transpose(2, 0, 1).astype(np.float32))
        clean.append(pixels[window].transpose(2, 0, 1).astype(np.float32))
    return hazy, clean


def crops(model: Model, folder: Path, count: int, size: int, seed: int) -> tuple[list, list]:
    if model.info.task == "dehaze":
        return hazy_crops(folder, size)
    degraded, clean = calibration_crops(model, folder, crops=count, size=size, seed=seed)
    return degraded, clean or []


def grid() -> Iterator[dict]:
    """The settings that are tried: the last one is the literature's default."""
    for percentile, per in itertools.product((97.0, 98.0, 99.0, 99.9), ("channel", "layer")):
        yield {"percentile": percentile, "per": per, "v_init": 0.5}
    yield {"percentile": 99.9, "per": "layer", "v_init": 0.0}


BETAS = (0.0, 1.386, 5.0)
"""alpha = 0.75, 0.9, 0.997; with v(0) = θ/2 smaller ones were worse each time they were tried."""


def restored(model: Model, pictures: list, plain: bool = False) -> list:
    """The crops (C, H, W) restored by the spiking network, or by the plain ANN."""
    scale = 1 if model.info.task == "superres" else None
    pixels = [p[0] if len(p) == 1 else p.transpose(1, 2, 0) for p in pictures]
    return [restore(model, p.astype(np.float64), scale=scale, ann=plain).image for p in pixels]


def score(model: Model, degraded: list, target: list) -> float:
    """Mean PSNR of the spiking network's output against the ANN's."""
    pairs = zip(restored(model, degraded), target, strict=True)
    return float(np.mean([-10 * np.log10(np.mean((image - wanted) ** 2)) for image, wanted in pairs]))


def spiking_form(converter, calibration: Calibration, options: dict, beta: float, channels: int) -> Spiking:
    found = converter.scales(calibration, converter.values(options))
    names = [a.name for a in calibration.network.activations]
    v_init = options["v_init"]
    return Spiking(
        neuron="mprn",
        head="cpm",
        timesteps=calibration.timesteps,
        scales=found.scales,
        thresholds=found.thresholds,
        neuron_parameters={
            "mprn": {name: {"beta": beta, "v_init": v_init} for name in names},
            "if": {name: {"v_init": v_init} for name in names},
            "mprn_beta": {name: {"v_init": v_init} for name in names},
        },
        head_parameters={"cpm": registry().heads["cpm"].initial(channels)},
    )


def make(name: str, exports: Path, data: Path, output: Path, timesteps: int) -> dict:
    export, network_name, degradation, train, val = JOBS[name]
    start = time.time()
    model = import_checkpoint(
        exports / export,
        network_name,
        name=name,
        degradation=degradation,
        licence=LICENCE,
        training={"pictures": TRAINING[network_name], "by": "the nspike project, in PyTorch"},
    )
    network, parameters = fold_batch_norm(model.network, model.parameters)
    model = replace(model, network=network, parameters=parameters)
    degraded, clean = crops(model, data / "train" / train, 32, 64, seed=0)
    cached = list(ann.activations(network, parameters, degraded))
    calibration = Calibration(network, parameters, timesteps, lambda: iter(cached))
    check, _ = crops(model, data / "train" / train, 12, 128, seed=1)
    truth = restored(model, check, plain=True)
    converter = registry().converters["rueckauer"]
    tried = []
    for options in grid():
        spiking = spiking_form(converter, calibration, options, 0.0, network.channels)
        tried.append((score(model.with_spiking(spiking), check, truth), options, 0.0))
        print(f"  {name} {options}: {tried[-1][0]:.3f} dB", flush=True)
    _, options, _ = max(tried, key=lambda entry: entry[0])
    for beta in BETAS:
        spiking = spiking_form(converter, calibration, options, beta, network.channels)
        tried.append((score(model.with_spiking(spiking), check, truth), options, beta))
        print(f"  {name} {options} beta {beta}: {tried[-1][0]:.3f} dB", flush=True)
    _, options, beta = max(tried, key=lambda entry: entry[0])
    shelf = registry()
    converted, report = convert(
        model,
        degraded,
        targets=clean,
        converter=converter,
        neuron=shelf.neurons["mprn"],
        head=shelf.heads["cpm"],
        options=options,
        neuron_parameters={"beta": beta},
        timesteps=timesteps,
    )
    converted = converted.with_spiking(spiking_form(converter, calibration, options, beta, network.channels))
    quality = dict(converted.info.quality)
    for scale in degradation.get("scales", [None]):
        result = evaluate(converted, data / "val" / val, scale=scale)
        quality[val if scale is None else f"{val} x{scale}"] = result.summary()
        print(json.dumps({name: quality}, indent=1), flush=True)
    recipe = {"script": "benchmarks/make_models.py", "neuron": "mprn", "head": "cpm", "T": timesteps, "beta": beta}
    provenance = {**converted.info.provenance, "recipe": recipe, "chosen_on": f"train/{train}"}
    converted = replace(converted, info=replace(converted.info, quality=quality, provenance=provenance))
    integers = build(converted, shelf.neurons["mprn"], shelf.heads["cpm"])
    path = output / f"{name}.h5"
    weights.save(path, converted, as_arrays(integers))
    print(
        f"{path}: {path.stat().st_size} bytes, {time.time() - start:.0f} s, first bad layer {report.first_bad}",
        flush=True,
    )
    return {"name": name, "options": options, "beta": beta, "quality": quality, "bytes": path.stat().st_size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(JOBS), help="of the models; all by default")
    parser.add_argument("--exports", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-T", "--timesteps", type=int, default=10)
    args = parser.parse_args()
    print("nspike", nspike.__version__)
    for name in args.names:
        print(json.dumps(make(name, args.exports, args.data, args.output, args.timesteps), indent=1), flush=True)


if __name__ == "__main__":
    main()
