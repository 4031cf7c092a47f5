"""Compare methods: every row measured under one protocol, kept as soon as it is finished, and put into one table."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nspike.benchmarking.evaluation import protocol_of, sources_of
from nspike.comparing.calibrating import Calibrating
from nspike.comparing.commands import CROP_SIZE, CROPS, ENERGY, Commands
from nspike.comparing.making import Maker
from nspike.comparing.measuring import Measuring, mean, rate
from nspike.comparing.plan import PLAIN, Entry, Given, plan
from nspike.comparing.store import SHOWN, Store
from nspike.degradations.protocols import Case, Floats, Protocol, Settings, Source
from nspike.degradations.protocols import Given as Pixels
from nspike.errors import UsageError
from nspike.images.perceptual import Perceptual
from nspike.inspection.certificate import hash_array
from nspike.model.file import digest
from nspike.model.model import Model
from nspike.registry.plugins import registry
from nspike.restoration.batch import file_digest
from nspike.restoration.execute import MEMORY
from nspike.restoration.opening import load
from nspike.runtime.amounts import in_bytes
from nspike.runtime.arguments import mappings, names, whole
from nspike.runtime.caller import either
from nspike.runtime.version import VERSION

Report = Callable[[str, int, int], None]
"""(what is done, done, total)"""

MEASURING = "measuring "
"""How reports begin that are of all rows together; those of conversions and trainings count for themselves."""


@dataclass(frozen=True)
class Comparison:
    """A table.

    settings : plain values that all rows share: network, protocol, sigma, seed, scale, limit, names of images, energy models.
    input : the mean figures of the degraded images. rows : finished ones, the plain network's first, each plain values: label,
    T, mean, images, model, command and more; see docs/reference/commands.md.
    folder : where it is kept.
    """

    settings: Mapping[str, Any]
    input: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"nspike": VERSION, **self.settings, "input": dict(self.input), "rows": [dict(row) for row in self.rows]}

    def row(self, label: str, timesteps: int | None = None) -> Mapping[str, Any]:
        """The row of a method or model at T. Raises KeyError."""
        for row in self.rows:
            if (row["label"], row["T"]) == (label, timesteps):
                return row
        raise KeyError((label, timesteps))


def compare(
    network: Given | None,
    data: str | os.PathLike[str] | Sequence[Any],
    output: str | os.PathLike[str],
    *,
    methods: Sequence[str] = (),
    timesteps: Sequence[int] | None = None,
    timesteps_of: Mapping[str, Sequence[int]] | None = None,
    models: Mapping[str, Given] | None = None,
    recipes: Mapping[str, str | os.PathLike[str]] | None = None,
    protocol: str | None = None,
    sigma: float | None = None,
    seed: int = 0,
    scale: int | None = None,
    limit: int | None = None,
    calibration: str | os.PathLike[str] | None = None,
    crops: int = CROPS,
    crop_size: int = CROP_SIZE,
    energy: Sequence[str] = ENERGY,
    lpips: str | os.PathLike[str] | None = None,
    inexact: bool = False,
    threads: int | None = None,
    memory: int | str = MEMORY,
    progress: Report | None = None,
) -> Comparison:
    """Measure methods side by side, and keep the table in a folder.

    The same call goes on where an earlier one was stopped. Other methods, models and T may be added; everything else must be
    as it was.

    Parameters
    ----------
    network : the plain network that methods are applied to: a shipped model's name, a file, or a model, whose spiking form is
        left aside; None where only models are compared.
    data : a folder, or images, as for `nspike.evaluate`. output : the folder of the table, made if it is not there.
    methods : by name. timesteps : T of all but those in `timesteps_of`, by label; by default each method's own.
    models : label -> model: of a method that is trained, or under a label of its own. recipes : method -> recipe file (.toml).
    protocol, sigma, seed, scale, limit : as for `nspike.evaluate`.
    calibration : a folder of images that conversions are calibrated on; by default images that come with nspike.
        crops, crop_size : how many crops of them, and their side.
    energy : energy models by name.
    lpips : a file of AlexNet's weights: LPIPS is measured too.
    inexact, threads, memory : as for `nspike.restore`.
    progress : called with (what is done, done, total); done and total of "measuring ..." are of all rows together.

    Returns
    -------
    Comparison
        with all finished rows of the folder.

    Raises
    ------
    UsageError
        T out of range, a method that needs training without model or recipe, an option that is not what the table was begun
        with.
    PluginError
        an unknown method or energy model.
    BadInputError
        a folder without images or pairs, an image or a file of the table that cannot be read.
    ModelError, OutputError
        as `nspike.load`, `nspike.convert` and `nspike.train` do.
    """
    whole(1, limit=limit, threads=threads)
    whole(crops=crops, crop_size=crop_size)
    names(methods=methods, energy=energy)
    mappings(timesteps_of=timesteps_of, models=models, recipes=recipes)
    memory = in_bytes(memory)
    prices = [registry().energy_models[name] for name in dict.fromkeys(energy)]
    plain = None if network is None else replace(network if isinstance(network, Model) else load(network), spiking=None)
    entries = plan(plain, methods, timesteps, models or {}, recipes or {}, timesteps_of)
    subject = plain or entries[0].model
    assert subject is not None
    chosen, numbers = protocol_of(subject, protocol, Settings(sigma, seed, scale))
    sources = sources_of(chosen, data, numbers)[:limit]
    calibrating = Calibrating(None if calibration is None else os.fspath(calibration), crops, crop_size, seed)
    if any(entry.made["by"] == "conversion" for entry in entries):
        calibrating.check(subject)
    perceptual = None if lpips is None else Perceptual(lpips)
    settings: dict[str, Any] = {
        "network": None if plain is None else {"name": plain.info.name, "digest": digest(plain)},
        "protocol": chosen.name,
        "ssim": chosen.primary,
        "sigma": numbers.sigma,
        "seed": seed,
        "scale": numbers.scale,
        "limit": limit,
        "images": [[str(_name(source[0])), *map(_digest, source)] for source in sources],
        "energy": [model.name for model in prices],
        "lpips": None if perceptual is None else perceptual.sha256,
        "calibration": calibrating.origin(),
    }
    store = Store(Path(output))
    store.begin(settings)
    wanted = _wanted(store, entries)
    report = progress or _nothing
    run = _Run(
        store,
        chosen,
        numbers,
        sources,
        Measuring(prices, perceptual, inexact, threads, memory),
        Maker(store.models, plain, calibrating, threads, report),
        Commands(
            network=None if network is None else _typed(network),
            data=_typed(data),
            protocol=protocol,
            sigma=sigma,
            seed=seed,
            scale=scale,
            limit=limit,
            calibration=None if calibration is None else _typed(calibration),
            crops=crops,
            crop_size=crop_size,
            energy=[model.name for model in prices],
            lpips=None if lpips is None else _typed(lpips),
            inexact=inexact,
            memory=memory,
            models={label: _typed(model) for label, model in (models or {}).items()},
            recipes={label: os.fspath(path) for label, path in (recipes or {}).items()},
        ),
        report,
    )
    run.measure(wanted)
    settings["images"] = [name for name, *_ in settings["images"]]
    return Comparison(settings, run.input(), tuple(_with_rates(store.rows(), settings)), store.folder)


@dataclass(frozen=True)
class _Run:
    """Rows being measured."""

    store: Store
    protocol: Protocol
    settings: Settings
    sources: Sequence[tuple[Source, ...]]
    measuring: Measuring
    maker: Maker
    commands: Commands
    report: Report

    def measure(self, entries: Sequence[Entry]) -> None:
        """Measure rows one after the other, and keep each."""
        weights = [len(self.sources) * ((entry.timesteps or 1) + 1) for entry in entries]
        done, total = 0, sum(weights)
        for entry, weight in zip(entries, weights, strict=True):
            model, path = self.maker.model(entry)

            def share(part: float, what: str = MEASURING + entry.name, before: int = done, own: int = weight) -> None:
                self.report(what, round(1000 * (before + part * own)), 1000 * total)

            self._row(entry, model, path, share)
            done += weight

    def input(self) -> dict[str, Any]:
        """The mean figures of the degraded images, measured once."""
        kept = self.store.input()
        if kept is None:
            scores = list[dict[str, Any]]()
            pictures, clean = list[Floats](), list[Floats]()
            for case in map(self._case, self.sources):
                scores.append(self.measuring.input(case))
                if len(pictures) < SHOWN and case.clean is not None:
                    pictures.append(case.shown(case.degraded))
                    clean.append(case.clean)
            self.store.keep_crops("input", pictures)
            self.store.keep_crops("clean", clean)
            kept = {"images": scores, "mean": mean(scores)}
            self.store.keep_input(kept)
        return dict(kept["mean"])

    def _row(self, entry: Entry, model: Model, path: Path | None, share: Callable[[float], None]) -> None:
        ann, count = entry.timesteps is None, len(self.sources)
        if self.settings.sigma is not None:
            model = model.at_noise(self.settings.sigma)
        images, pictures = [], []
        for number, case in enumerate(map(self._case, self.sources)):
            if number == 0:
                self.measuring.warm(model, case, ann)

            def step(done: int, total: int, number: int = number) -> None:
                share((number + done / max(total, 1)) / count)

            values, picture = self.measuring.image(model, case, ann, step)
            images.append(values)
            if number < SHOWN:
                pictures.append(picture)
        share(1.0)
        self.store.keep_crops(entry.key, pictures)
        spiking = {} if ann or model.spiking is None else {
            "neuron": model.spiking.neuron,
            "head": model.spiking.head,
        }  # fmt: skip
        self.store.finish(
            {
                "key": entry.key,
                "label": entry.label,
                "T": entry.timesteps,
                "made": entry.made,
                "model": {
                    "name": model.info.name,
                    "file": None if path is None else path.relative_to(self.store.folder).as_posix(),
                    "digest": digest(model),
                    **spiking,
                },
                "mean": mean(images),
                "images": images,
                "digest": hashlib.sha256("".join(image["digest"] for image in images).encode()).hexdigest(),
                "command": self.commands.of(entry),
                "nspike": VERSION,
                "machine": {
                    "processor": platform.processor() or platform.machine(),
                    "threads": self.measuring.threads or os.cpu_count(),
                },
            }
        )

    def _case(self, source: tuple[Source, ...]) -> Case:
        return self.protocol.case(source, self.settings)


def _wanted(store: Store, entries: Sequence[Entry]) -> list[Entry]:
    """The rows that are not finished. Raises UsageError for a finished one that was made from something else."""
    wanted = []
    for entry in entries:
        row = store.row(entry.key)
        if row is None:
            wanted.append(entry)
            continue
        was, now = row["made"], _plain(entry.made)
        if was != now:
            changed = next(key for key in {**was, **now} if was.get(key) != now.get(key))
            how = f"by {was['by']}, not by {now['by']}" if changed == "by" else f"with another {changed}"
            raise UsageError(
                f"{store.folder}: the finished row {entry.name} was made {how}. Give what it was made with, or another "
                + either("-o", "output")
            )
    return wanted


def _with_rates(rows: list[dict[str, Any]], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows, each with its share of the plain network's quality."""
    plain = next((row["mean"] for row in rows if row["label"] == PLAIN), None)
    window = None if settings["sigma"] is not None else f"ssim_{settings['ssim']}"
    for row in rows:
        row["conversion_rate"] = None if plain is None or row["T"] is None else rate(row["mean"], plain, window)
    return rows


def _name(source: Source) -> str:
    return source.name


def _digest(source: Source) -> str:
    return hash_array(source.pixels) if isinstance(source, Pixels) else file_digest(source)


def _typed(given: Any) -> str:
    """How a command line names it; "..." for what is in memory alone."""
    return os.fspath(given) if isinstance(given, str | os.PathLike) else "..."


def _plain(value: Any) -> Any:
    """The value as it comes back from a file."""
    return json.loads(json.dumps(value))


def _nothing(what: str, done: int, total: int) -> None:
    """Report nothing."""
