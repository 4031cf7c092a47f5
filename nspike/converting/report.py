"""What a conversion kept of the ANN, layer by layer.

On crops of the calibration images the ANN's activation a/λ of every neuron is set against the value that its spikes
carry, r = (1/T)·Σ amplitude(t)·s(t), post steps included, a spike of gain g counting g times. A layer is called bad from a
relative error |r - a/λ|/|a/λ| of 1/2 on: its spikes then hold less than half of what they should. The first bad layer is the
one to look at: those after it see wrong input. The shares of |v - v(0)| above 1/2 and above 1 threshold are Figure 4 of
SpikingIR.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.integer.reference import FloatNetwork, Simulation
from nspike.integer.rounding import IntegerNetwork
from nspike.model.model import OUTPUT
from nspike.runtime.words import counted

BAD = 0.5
"""The relative error from which on a layer is called bad."""


@dataclass(frozen=True)
class LayerReport:
    """One layer.

    ann, snn : mean of a/λ and of r. correlation : of the two over all neurons; 0 where one is constant. error : relative.
    clipped : share of neurons with |a| > λ. residual_half, residual_one : shares of |v - v(0)| above 1/2 and 1 threshold.
    rate : spikes per neuron and step of T, of all planes. The residuals of a neuron with a kernel of its own are not known:
    NaN. For the output layer a is the ANN's output and r what the head read.
    """

    name: str
    ann: float
    snn: float
    correlation: float
    error: float
    clipped: float
    residual_half: float
    residual_one: float
    rate: float


@dataclass(frozen=True)
class ConversionReport:
    """A conversion in figures.

    Parameters
    ----------
    layers : in order, the output layer last.
    first_bad : the name of the first bad layer, the output layer apart; none if all are good.
    psnr_to_ann : mean over the crops of the PSNR in dB of the restored SNN image against the ANN's.
    rounding, rounding_error : mean change in PSNR in dB by rounding to integers, and its standard error.
    rounding_against : what that PSNR is against: "target", the clean images, or "ann" where none were given.
    output_fitted_to : what the output layer was fitted to: "targets", the clean images, "ann", its output, or "none".
    crops : how many crops all of this was measured on.
    note : what was not measured, and why.
    """

    layers: tuple[LayerReport, ...] = ()
    first_bad: str | None = None
    psnr_to_ann: float | None = None
    rounding: float | None = None
    rounding_error: float | None = None
    rounding_against: str = "ann"
    output_fitted_to: str = "none"
    crops: int = 0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: what is infinite or not known becomes none."""

        def plain(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}

        return plain(asdict(self)) | {"layers": tuple(plain(asdict(layer)) for layer in self.layers)}

    def to_text(self) -> str:
        """A table with a line for each layer, and what follows from it."""
        lines = []
        wide = max([10, *(len(layer.name) + 1 for layer in self.layers)])
        if self.layers:
            lines.append(f"{'layer':<{wide}} ANN a/λ   SNN r   corr  error  clipped  |res|>1/2  |res|>1   rate")
        lines += [
            f"{r.name:<{wide}}{r.ann:8.4f}{r.snn:8.4f}{r.correlation:7.3f}{r.error:7.3f}{r.clipped:9.2%}"
            f"{_share(r.residual_half):>11}{_share(r.residual_one):>9}{r.rate:7.3f}"
            for r in self.layers
        ]
        if self.layers:
            lines.append(
                f"first bad layer (relative error from {BAD:g} on): {self.first_bad}"
                if self.first_bad
                else f"no layer of neurons is bad (relative error from {BAD:g} on)"
            )
        if self.layers and self.layers[-1].name == OUTPUT and self.layers[-1].error >= BAD:
            lines.append(
                f"the output is not the ANN's: relative error {self.layers[-1].error:.3f}"
                + (
                    "; fitted to clean images, it need not be"
                    if self.output_fitted_to == "targets"
                    else ", from the layers before it or the head"
                )
            )
        if self.psnr_to_ann is not None:
            lines.append(
                f"PSNR of the SNN against the ANN: {self.psnr_to_ann:.2f} dB (mean of {counted(self.crops, 'crop')})"
            )
        if self.rounding is not None:
            error = "unknown" if self.rounding_error is None else f"{self.rounding_error:.4f}"
            lines.append(
                f"PSNR change by rounding to integers: {self.rounding:+.4f} dB ± {error} "
                f"(standard error, {counted(self.crops, 'crop')}, against the {self.rounding_against})"
            )
        return "\n".join(lines + ([self.note] if self.note else []))


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2%}"


class Comparison:
    """Sums over crops, from which the layers' reports follow: of a network in floats, or of the integer one."""

    def __init__(self, network: FloatNetwork | IntegerNetwork, scales: Mapping[str, NDArray[np.float64]]) -> None:
        self.network, self.scales = network, scales
        self.sums = {stage.name: np.zeros(10) for stage in network.stages}

    def add(self, ann: Mapping[str, NDArray[np.float32]], run: Simulation) -> None:
        """Add a crop: the ANN's values (C, H, W) by layer name, and the simulation of the same crop."""
        assert isinstance(self.network, FloatNetwork)
        for stage in self.network.stages:
            scale = self.scales[stage.name][:, None, None]
            a = ann[stage.name].astype(np.float64) / scale
            spikes, residual = run.spikes[stage.name], np.abs(run.residual[stage.name]) / stage.theta[:, None, None]
            if stage.name == OUTPUT:
                r = run.output / scale
            else:
                r = _fired(spikes, stage.gains, stage.reset / stage.theta) / self.network.timesteps
            self._add(stage.name, a, r, ((residual > 0.5).sum(), (residual > 1.0).sum()), spikes.sum())

    def add_engine(
        self,
        ann: Mapping[str, NDArray[np.float32]],
        spikes: Mapping[str, NDArray[np.bool_]],
        output: NDArray[np.float64],
    ) -> None:
        """Add a crop that the engine ran, whose membranes are not known.

        ann : as for `add`; spikes : layer -> bool (steps, planes·channels, H, W); output : (C, H, W), in the ANN's units.
        """
        assert isinstance(self.network, IntegerNetwork)
        for stage in self.network.stages:
            scale = self.scales[stage.name][:, None, None]
            fired = spikes.get(stage.name, np.zeros((1, 0), np.bool_))
            r = output / scale
            if stage.name != OUTPUT:
                gains = np.array(stage.neuron.planes, np.float64)
                r = _fired(fired, gains, stage.reset / stage.integer.theta) / self.network.timesteps
            self._add(stage.name, ann[stage.name].astype(np.float64) / scale, r, (np.nan, np.nan), fired.sum())

    def _add(
        self, name: str, a: NDArray[np.float64], r: NDArray[np.float64], residuals: tuple[float, float], spikes: float
    ) -> None:
        moments = a.sum(), r.sum(), (a * a).sum(), (r * r).sum(), (a * r).sum()
        self.sums[name] += [a.size, *moments, (np.abs(a) > 1.0).sum(), *residuals, spikes]

    def layers(self) -> tuple[LayerReport, ...]:
        """The layers' reports, in order."""
        return tuple(self._layer(name, sums) for name, sums in self.sums.items())

    def _layer(self, name: str, sums: NDArray[np.float64]) -> LayerReport:
        n, a, r, aa, rr, ar, clipped, half, one, spikes = (float(s) for s in sums)
        spread = max(aa / n - (a / n) ** 2, 0.0) * max(rr / n - (r / n) ** 2, 0.0)
        covariance = ar / n - (a / n) * (r / n)
        error = max(aa - 2 * ar + rr, 0.0)
        return LayerReport(
            name=name,
            ann=a / n,
            snn=r / n,
            correlation=covariance / spread**0.5 if spread > 0 else 0.0,
            error=(error / aa) ** 0.5 if aa > 0 else float(error > 0),
            clipped=clipped / n,
            residual_half=half / n,
            residual_one=one / n,
            rate=spikes / (n * self.network.timesteps),
        )


def _fired(spikes: NDArray[np.bool_], gains: NDArray[np.float64], worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """What neurons fire in all, (C, H, W): spikes (steps, planes·C, H, W), what one is worth (steps, C)."""
    by_plane = spikes.reshape(len(spikes), len(gains), -1, *spikes.shape[2:])
    values = (by_plane * gains[:, None, None, None]).sum(axis=1)
    return np.asarray((values * worth[:, :, None, None]).sum(axis=0))


def first_bad(layers: tuple[LayerReport, ...]) -> str | None:
    """The name of the first layer of neurons whose relative error reaches `BAD`."""
    return next((layer.name for layer in layers if layer.name != OUTPUT and layer.error >= BAD), None)
