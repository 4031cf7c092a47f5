"""Measuring one row: a model on every image of a protocol, with what each image cost."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nspike.contracts.energy import EnergyColumn, EnergyModel
from nspike.contracts.ledger import Ledger
from nspike.degradations.protocols import Case
from nspike.images.metrics import conversion_rate
from nspike.images.perceptual import Perceptual
from nspike.inspection.certificate import hash_array
from nspike.model.model import Model
from nspike.restoration.image import restore

_WARM = 64
"""The side of the crop that is run untimed first: it loads the kernels and rounds the model."""


@dataclass(frozen=True)
class Measuring:
    """How rows are measured: prices, the perceptual distance if asked for, and how the machine may be used."""

    energy: Sequence[EnergyModel]
    perceptual: Perceptual | None
    inexact: bool
    threads: int | None
    memory: int

    def image(
        self, model: Model, case: Case, ann: bool, progress: Callable[[int, int], None]
    ) -> tuple[dict[str, Any], Any]:
        """One image's figures as plain values, and its result as it is scored."""
        given, factor = case.seen_by(model.network.scale, model.network.channels)
        wall, processor = time.perf_counter(), time.process_time()
        result = restore(
            model,
            given,
            scale=factor,
            ann=ann,
            inexact=self.inexact and not ann,
            threads=self.threads,
            memory=self.memory,
            progress=progress,
        )
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        values: dict[str, Any] = {"name": case.name, **self._quality(case, result.image)}
        if not ann:
            ledger = result.ledger
            values |= {"spikes": ledger.spikes, "synops": ledger.synops, "firing_rate": ledger.firing_rate}
        values |= {"energy": self._energy(result.ledger, ann), "wall": wall, "processor": processor}
        return {**values, "digest": hash_array(result.image)}, case.shown(result.image)

    def warm(self, model: Model, case: Case, ann: bool) -> None:
        """Run a corner of an image, so that nothing is compiled or loaded while it is timed."""
        given, factor = case.seen_by(model.network.scale, model.network.channels)
        corner = np.ascontiguousarray(given[:_WARM, :_WARM])
        restore(model, corner, scale=factor, ann=ann, inexact=self.inexact and not ann, threads=self.threads)

    def input(self, case: Case) -> dict[str, Any]:
        """The figures of the degraded image itself."""
        return {"name": case.name, **self._quality(case, case.degraded)}

    def _quality(self, case: Case, output: Any) -> dict[str, float | None]:
        values = case.score(output).figures()
        if self.perceptual is not None:
            values["lpips"] = self.perceptual.distance(case.shown(output), case.compared_with())
        return values

    def _energy(self, ledger: Ledger, ann: bool) -> dict[str, dict[str, dict[str, float]]]:
        return {
            model.name: {
                column.name: {"ann": column.ann} | ({} if ann else {"snn": column.snn, "ratio": column.ratio})
                for column in model.price(ledger)
            }
            for model in self.energy
        }


def mean(images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over the images of every number, also within; None where an image has none. A ratio is that of the means."""
    keys = [key for key in images[0] if key not in ("name", "digest")]
    means = {key: _mean([image[key] for image in images]) for key in keys}
    for columns in means.get("energy", {}).values():
        for name, column in columns.items():
            if "snn" in column:
                column["ratio"] = EnergyColumn(name, column["snn"], column["ann"]).ratio
    return means


def _mean(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    return None if any(value is None for value in values) else statistics.fmean(values)


def rate(row: Mapping[str, Any], plain: Mapping[str, Any], ssim: str | None) -> float | None:
    """The share of the plain network's quality that a row keeps, in percent; of PSNR alone where `ssim` is None."""
    names = ["psnr", ssim] if ssim else ["psnr"]
    values = [each[name] for name in names for each in (row, plain)]
    return None if any(value is None for value in values) else conversion_rate(*values)
