"""Measure a model on a folder of images under one of the literature's protocols (`nspike.degradations.protocols`)."""

import math
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nspike.contracts.energy import EnergyColumn
from nspike.degradations import protocols
from nspike.degradations.layouts import has_pairs
from nspike.degradations.protocols import PROTOCOLS, Case, Given, Protocol, Quality, Settings, Window
from nspike.errors import BadInputError, UsageError, nearest
from nspike.images.metrics import conversion_rate
from nspike.model.model import Model, Trained, check_plain, expect_model
from nspike.model.result import Result
from nspike.model.shipped import noise_levels
from nspike.registry.plugins import registry
from nspike.restoration.execute import MEMORY
from nspike.restoration.image import restore
from nspike.restoration.inputs import read_input
from nspike.restoration.way import checked, trained_scales
from nspike.runtime.arguments import numbers, whole

PROTOCOL_OF = {"gray": "gray", "y": "y-crop", "rgb": "rgb"}
"""The usual protocol for the image that a model takes."""


@dataclass(frozen=True)
class ImageScore:
    """One image.

    Parameters
    ----------
    name : of its file
    quality, input, ann : of the output, of the degraded input under the same rules, and of the plain ANN's output
        (None where only one network was run, which is then `quality`)
    spikes, synops, firing_rate : zero for the plain ANN
    energy : modelled, not measured
    seconds : the network's time
    """

    name: str
    quality: Quality
    input: Quality
    ann: Quality | None
    spikes: int
    synops: int
    firing_rate: float
    energy: tuple[EnergyColumn, ...]
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: the protocol with its numbers, the SSIM window that is its primary one, and the scores."""

    model: str
    protocol: str
    primary: Window
    settings: Settings
    energy_model: str
    ann: bool
    timesteps: int
    images: tuple[ImageScore, ...]
    trained: Trained = "plain"

    def mean(self, of: str = "quality") -> Quality:
        """The mean of "quality", "input" or "ann" over the images."""
        qualities = [quality for image in self.images if (quality := getattr(image, of)) is not None]
        return Quality(
            *(_mean(getattr(quality, name) for quality in qualities) for name in ("psnr", "gauss11", "uniform7", "mae"))
        )

    @property
    def compared(self) -> bool:
        """Whether the plain ANN was run beside the spiking network."""
        return all(image.ann is not None for image in self.images)

    @property
    def rate_of_psnr(self) -> bool:
        """Whether the conversion rate is of PSNR alone: for denoising, and where there is no SSIM."""
        return self.settings.sigma is not None or math.isnan(self.mean().ssim(self.primary))

    @property
    def conversion_rate(self) -> float | None:
        """The share of the ANN's quality that is kept, in percent, at most 100: the mean of PSNR's and SSIM's, or PSNR's."""
        if not self.compared:
            return None
        snn, ann = self.mean(), self.mean("ann")
        if self.rate_of_psnr:
            return conversion_rate(snn.psnr, ann.psnr)
        return conversion_rate(snn.psnr, ann.psnr, snn.ssim(self.primary), ann.ssim(self.primary))

    @property
    def mean_energy(self) -> tuple[EnergyColumn, ...]:
        """The mean energy of an image, in joules."""
        columns = zip(*(image.energy for image in self.images), strict=True)
        return tuple(
            EnergyColumn(same[0].name, _mean(column.snn for column in same), _mean(column.ann for column in same))
            for same in columns
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `mean.ssim` is the one of the protocol's primary window, both are beside it."""
        mean: dict[str, Any] = self._quality(self.mean())
        mean["input"] = self._quality(self.mean("input"))
        if self.compared or self.trained == "spiking":
            mean["ann"] = self._quality(self.mean("ann")) if self.compared else None
            mean["conversion_rate"] = self.conversion_rate
        if not self.ann:
            mean["spikes"] = _mean(image.spikes for image in self.images)
            mean["synops"] = _mean(image.synops for image in self.images)
            mean["firing_rate"] = _mean(image.firing_rate for image in self.images)
        mean["energy"] = self._energy(self.mean_energy)
        mean["seconds"] = _mean(image.seconds for image in self.images)
        return {
            "model": self.model,
            "ran": "ann" if self.ann else "snn",
            "trained": self.trained,
            "timesteps": None if self.ann else self.timesteps,
            "protocol": {
                "name": self.protocol,
                "ssim": self.primary,
                "sigma": self.settings.sigma,
                "seed": self.settings.seed if self.settings.sigma is not None else None,
                "scale": self.settings.scale,
            },
            "energy_model": {"name": self.energy_model, "note": "modelled, not measured"},
            "mean": mean,
            "images": [self._image(image) for image in self.images],
        }

    def summary(self) -> dict[str, Any]:
        """The figures that a model file keeps."""
        mean = self.to_dict()["mean"]
        figures = {"psnr": mean["psnr"], "psnr_input": mean["input"]["psnr"], "ssim": mean["ssim"]}
        if self.compared:
            figures |= {"psnr_ann": mean["ann"]["psnr"], "conversion_rate": mean["conversion_rate"]}
        if not self.ann:
            figures |= {"synops": mean["synops"], "firing_rate": mean["firing_rate"]}
            figures |= {f"energy_ratio {column}": value["ratio"] for column, value in mean["energy"].items()}
        return figures

    def _image(self, image: ImageScore) -> dict[str, Any]:
        values: dict[str, Any] = {"name": image.name, **self._quality(image.quality)}
        values["input"] = self._quality(image.input)
        if image.ann is not None:
            values["ann"] = self._quality(image.ann)
        if not self.ann:
            values |= {"spikes": image.spikes, "synops": image.synops, "firing_rate": image.firing_rate}
        return {**values, "energy": self._energy(image.energy), "seconds": image.seconds}

    def _quality(self, quality: Quality) -> dict[str, Any]:
        values = quality.figures()
        return {"psnr": values["psnr"], "ssim": values[f"ssim_{self.primary}"], **values}

    def _energy(self, columns: Iterable[EnergyColumn]) -> dict[str, Any]:
        if self.ann:
            return {column.name: {"ann": column.ann} for column in columns}
        return {column.name: {"snn": column.snn, "ann": column.ann, "ratio": column.ratio} for column in columns}


def evaluate(
    model: Model,
    folder: str | os.PathLike[str] | Sequence[Any],
    *,
    protocol: str | None = None,
    sigma: float | None = None,
    seed: int = 0,
    scale: int | None = None,
    ann: bool = False,
    baseline: bool = True,
    limit: int | None = None,
    energy: str = "horowitz45",
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Restore the images of `folder` as a protocol of the literature says, and measure.

    Parameters
    ----------
    model : its spiking form is measured, and its ANN beside it for the conversion rate; with `ann` the ANN alone.
    folder : of clean images; for `rgb` without a sigma and `y`, of pairs, as in hazy/ and GT/. Or a list of images, arrays and
        files as for `nspike.restore`; of pairs (degraded, clean) where a folder would have pairs.
    protocol : "gray", "y-crop", "rgb" or "y"; default: the usual one for the model.
    sigma, seed : of the noise, for "gray" (default: the sigma that the model was trained for) and "rgb".
    scale : for "y-crop"; default: the smallest that the model was trained for.
    baseline : whether to run the plain ANN beside the spiking network, unless the model was trained as a spiking one.
    limit : so many images at most.
    energy : the energy model.
    tile, memory, threads : as in `Model.run`.
    progress : called with (done, total), in no particular unit.

    Returns
    -------
    Evaluation

    Raises
    ------
    UsageError
        an unknown protocol, one that does not suit the model, numbers out of range; `ann` for a model that was trained as a
        spiking one.
    BadInputError
        a folder without images or pairs, an image that cannot be read.
    ModelError, PluginError
        as in `Model.run`.
    """
    expect_model(model)
    if ann:
        check_plain(model)
    chosen, settings = protocol_of(model, protocol, Settings(sigma, seed, scale))
    whole(1, limit=limit)
    if settings.sigma is not None:
        model = model.at_noise(settings.sigma)
    price = registry().energy_models[energy].price
    run = partial(restore, model, tile=tile, memory=memory, threads=threads)
    if chosen.paired and settings.sigma is None and isinstance(folder, str | os.PathLike):
        _check_pairs(model, Path(folder))
    sources = sources_of(chosen, folder, settings)[:limit]
    count = len(sources)
    runs = 1 if ann or not baseline or model.info.trained == "spiking" else 2
    scores = []
    for number, case in enumerate(chosen.case(source, settings) for source in sources):
        done = _Steps(progress, number * runs, count * runs)
        given, factor = case.seen_by(model.network.scale, model.network.channels)
        result = run(given, scale=factor, ann=ann, progress=done)
        beside = None
        if runs == 2:
            done = _Steps(progress, number * runs + 1, count * runs)
            beside = run(given, scale=factor, ann=True, progress=done)
        scores.append(_score(case, result, beside, price(result.ledger)))
    return Evaluation(
        model=model.info.name,
        protocol=chosen.name,
        primary=chosen.primary,
        settings=settings,
        energy_model=energy,
        ann=ann,
        timesteps=model.spiking.timesteps if model.spiking and not ann else 0,
        images=tuple(scores),
        trained=model.info.trained,
    )


def _check_pairs(model: Model, folder: Path) -> None:
    """Raise UsageError where a denoiser is to be measured on clean images alone, and no noise was named."""
    if model.info.task == "denoise" and folder.is_dir() and not has_pairs(folder):
        levels = noise_levels(model.info)
        known = f"; the model was trained for {' to '.join(f'{level:g}' for level in levels)}" if levels else ""
        raise UsageError(f"{folder} has clean images alone: a denoiser needs a sigma to measure it{known}")


def sources_of(
    protocol: Protocol, folder: str | os.PathLike[str] | Sequence[Any], settings: Settings
) -> list[tuple[protocols.Source, ...]]:
    """The images of a folder, or those given, each with its clean one where the protocol takes pairs."""
    if isinstance(folder, str | os.PathLike):
        return [tuple(paths) for paths in protocol.sources(Path(folder), settings)]
    if not isinstance(folder, list | tuple):
        raise BadInputError(f"expected a folder or a list of images, not {type(folder).__name__}")
    if not folder:
        raise BadInputError("the list of images is empty")
    paired = protocol.paired and settings.sigma is None
    sources = []
    for number, item in enumerate(folder, 1):
        if paired != isinstance(item, list | tuple) or (paired and len(item) != 2):
            wanted = "a pair of a degraded and a clean image" if paired else "one clean image"
            raise BadInputError(f"image {number}: this protocol needs {wanted}")
        sources.append(tuple(_source(image, number) for image in (item if paired else [item])))
    return sources


def _source(image: Any, number: int) -> protocols.Source:
    if isinstance(image, str | os.PathLike):
        return Path(image)
    return Given(f"image {number}", checked(read_input(image).pixels))


def _score(case: Case, result: Result, ann: Result | None, energy: tuple[EnergyColumn, ...]) -> ImageScore:
    ledger = result.ledger
    return ImageScore(
        name=case.name,
        quality=case.score(result.image),
        input=case.score(case.degraded),
        ann=None if ann is None else case.score(ann.image),
        spikes=ledger.spikes,
        synops=ledger.synops,
        firing_rate=ledger.firing_rate if ledger.layers else 0.0,
        energy=energy,
        seconds=result.seconds,
    )


class _Steps:
    """Progress within one network, as thousandths of all networks."""

    def __init__(self, progress: Callable[[int, int], None] | None, before: int, all_runs: int) -> None:
        self._progress, self._before, self._all = progress, before, all_runs

    def __call__(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(1000 * self._before + 1000 * done // max(total, 1), 1000 * self._all)


def protocol_of(model: Model, name: str | None, settings: Settings) -> tuple[Protocol, Settings]:
    """The protocol and its numbers, completed from the model. Raises UsageError where they do not suit the model."""
    numbers(sigma=settings.sigma)
    whole(0, seed=settings.seed)
    if settings.seed is None or settings.seed >= 2**32:
        raise UsageError(f"seed = {settings.seed} is out of range; expected a whole number below 2^32")
    whole(scale=settings.scale)
    superres, own = model.info.task == "superres", model.network.scale
    name = name or ("y-crop" if superres else PROTOCOL_OF[model.info.colour])
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}.{nearest(str(name), PROTOCOLS)} Known: {', '.join(PROTOCOLS)}")
    if (name == "y-crop") != superres:
        raise UsageError(
            f"protocol {name} is for {'super-resolution' if name == 'y-crop' else 'models that keep the size'}; "
            f"model {model.info.name} does {model.info.task}"
        )
    sigma, scale = settings.sigma, settings.scale
    if name == "gray" and sigma is None:
        sigma = model.info.degradation.get("sigma")
        if not isinstance(sigma, int | float):
            raise UsageError("protocol gray needs sigma: the model does not say what it was trained for")
    if sigma is not None and not (math.isfinite(sigma) and sigma >= 0):
        raise UsageError(f"sigma = {sigma:g} is out of range; expected at least 0, in units of 1/255")
    if sigma is not None and name == "y":
        raise UsageError("protocol y compares pairs of images: leave out sigma, or take rgb")
    if sigma is not None and superres:
        raise UsageError("sigma is for denoising: this model enlarges images")
    if not superres and scale is not None:
        raise UsageError(f"scale is for super-resolution: model {model.info.name} keeps the size")
    if superres and scale is None:
        scale = own if own > 1 else (trained_scales(model) or [2])[0]
    if own > 1 and scale != own:
        raise UsageError(f"scale = {scale}, but the network of model {model.info.name} enlarges by {own}")
    if scale is not None and not 2 <= scale <= 8:
        raise UsageError(f"scale = {scale} is out of range; expected a whole number from 2 to 8")
    return PROTOCOLS[name], Settings(sigma, settings.seed, scale)


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
