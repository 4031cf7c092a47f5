"""From an ANN to a spiking network: fold batch norm, find scales and thresholds, and report what was kept."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.ann import run as ann
from nspike.contracts.converter import Calibration, Converter, Scales
from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.contracts.plugin_code import called, shortened
from nspike.converting.best import best_options, fit_windows, of_layer, with_release
from nspike.converting.compensating import compensate
from nspike.converting.lowering import lower
from nspike.converting.origin import of_plain
from nspike.converting.regression import fit as fit_layers
from nspike.converting.regression import fitted_convs, left_out
from nspike.converting.report import Comparison, ConversionReport, first_bad
from nspike.converting.sizes import checked, side_of
from nspike.converting.spike_by_spike import layer_by_layer
from nspike.converting.tying import tied
from nspike.engine import run as engine
from nspike.engine.program import program_of
from nspike.engine.tile import LayerSpikes
from nspike.engine.window import Part
from nspike.errors import PluginError, UsageError
from nspike.graph.mode import restored
from nspike.graph.network import Network
from nspike.images.metrics import psnr
from nspike.images.plane import to_plane
from nspike.integer import reference as floatsim
from nspike.integer.grid import MOST_STEPS
from nspike.model.model import OUTPUT, Model, Spiking
from nspike.runtime.words import counted

Plane = NDArray[np.float32]

CROPS = 12
"""How many crops the report is measured on, at least where there are as many images."""
CROP = 48


def convert(
    model: Model,
    images: Sequence[Plane],
    *,
    converter: Converter,
    neuron: Neuron,
    head: Head,
    options: Mapping[str, Any] | None = None,
    neuron_parameters: Mapping[str, float] | None = None,
    timesteps: int | None = None,
    targets: Sequence[Plane] | None = None,
    fit: bool = False,
    report: bool = True,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Model, ConversionReport]:
    """Convert an ANN to spikes: its network is lowered (`nspike.converting.lowering`), then scaled.

    Parameters
    ----------
    model : with the ANN's parameters; a spiking form that it may have is replaced.
    images : float32 (C, H, W) each, what the network will be given: degraded images in [0, 1]. What is over a multiple of the
        network's size multiple is left out. None for a converter that does not calibrate.
    converter, options : how scales are found, and its options.
    neuron, neuron_parameters : of every layer but the output, and its parameters, which go before the converter's. Where
        they leave it open, signed layers start empty and release at θ/2, whatever the converter says (`best.SIGNED`).
    head : what reads the output layer.
    timesteps : T; by default what the converter says.
    targets : the clean images, for the report's PSNR; without them it is taken against the ANN's output.
    fit : take what `nspike.converting.best` takes where nothing is said, and fit kernels and biases layer by layer; the
        output layer to the targets, or to the ANN's output without them. Nothing is fitted after a converter that does not
        calibrate, or fit. Kernels that read spikes which are digits are rounded as `nspike.converting.compensating` says.
    report : False leaves the report empty but for its note. Simulating the crops in floats takes most of a fast conversion.
    progress : called with (images done, images in all), calibration and report together; a layer that is fitted, and a crop
        of the report, which is simulated in floats too, count as all the images once more.

    Returns
    -------
    (Model, ConversionReport)
        The model has the lowered network; converter, options and what rounding costs are in its provenance and quality.

    Raises UsageError for options or T out of range and for layers that have no spiking form, BadInputError for images that
    do not fit, PluginError for a converter that breaks its contract.
    """
    finer = fit and converter.calibrates and neuron.digits
    fit = fit and converter.calibrates and converter.fits
    if converter.calibrates and model.info.trained == "spiking":
        raise UsageError(
            f"converter {converter.name} goes by what the plain network computes, and model {model.info.name} was trained as a "
            "spiking one; take it as it is, with the converter direct and the threshold, neuron and T of its training"
        )
    timesteps = converter.timesteps if timesteps is None else timesteps
    values = converter.values(best_options(converter, options) if fit else options)
    if not 1 <= timesteps <= MOST_STEPS - neuron.post_steps:
        raise UsageError(f"T = {timesteps} is out of range; with {neuron.name} 1 to {MOST_STEPS - neuron.post_steps}")
    neuron.values(neuron_parameters)
    given = dict(neuron_parameters or {})
    network, parameters = lower(model.network, model.parameters)
    images, targets = _images(converter, network, images, targets)
    crops = _crops(network, images, targets) if report else []
    done, total = 0, len(images) * (1 + finer + (len(fitted_convs(network)) if fit else 0) + len(crops))

    def step(count: int = 1) -> None:
        nonlocal done
        done += count
        if progress:
            progress(min(done, total), total)

    def activations() -> Iterator[dict[str, Plane]]:
        for image in images:
            yield from ann.activations(network, parameters, [image], threads=threads)
            step()

    simulate = partial(layer_by_layer, network, parameters, images)
    given_to = Calibration(network, parameters, timesteps, activations, simulate)
    try:
        answer = called(f"converter {converter.name}", converter.scales, given_to, values)
    except PluginError as error:
        if str(error).startswith(f"converter {converter.name}"):
            raise
        raise PluginError(f"converter {converter.name}: {error}") from error
    _check_scales(converter, network, answer)
    names = {parameter.name for parameter in neuron.parameters}
    for_all = {name: v for name, v in answer.neuron_parameters.items() if name in names}
    for_one = {name: v for name in names if (v := answer.neuron_parameters.get(f"{neuron.name}.{name}")) is not None}
    own = for_all | for_one | given
    if fit:
        own = with_release(neuron, own)
    arrays = head.arrays(network.channels)
    spiking = Spiking(
        neuron=neuron.name,
        head=head.name,
        timesteps=timesteps,
        scales=tied(network, answer.scales),
        thresholds=answer.thresholds,
        neuron_parameters={neuron.name: {a.name: of_layer(neuron, a, own, given) for a in network.activations}},
        head_parameters={head.name: arrays} if arrays else {},
    )
    converted = replace(model, network=network, parameters=parameters, spiking=spiking)
    kept = of_plain(model)
    if fit:
        degraded, clean = fit_windows(images, targets, network.size_multiple)
        done = len(images)
        converted = fit_layers(converted, degraded, clean, progress=lambda *_: step(len(images)))
        kept["fitted"] = {"windows": len(degraded), "to": "ann" if clean is None else "targets"}
    if finer:
        converted = compensate(converted, neuron, head, activations)
    if not converter.calibrates:
        note = (
            f"nothing is calibrated, fitted or compared: with {converter.name} the network is taken as it was trained"
        )
        provenance = {**kept, "converter": converter.name, "converter_options": values}
        info = replace(model.info, provenance=provenance, trained="spiking")
        return replace(converted, info=info), ConversionReport(note=note)
    found = ConversionReport(note="how well the layers are carried was not measured")
    if report:
        found = measure(converted, crops, neuron=neuron, head=head, threads=threads, progress=lambda: step(len(images)))
    found = replace(found, output_fitted_to=kept.get("fitted", {}).get("to", "none"))
    if fit and (others := left_out(network)):
        listed = ", ".join(others)
        found = replace(found, note="; ".join(filter(None, [found.note, f"layers that are not fitted: {listed}"])))
    quality = {"psnr_to_ann": found.psnr_to_ann, "rounding": found.rounding, "rounding_error": found.rounding_error}
    info = replace(
        model.info,
        provenance={**kept, "converter": converter.name, "converter_options": values},
        quality={**model.info.quality, **{k: v for k, v in quality.items() if v is not None and math.isfinite(v)}},
    )
    return replace(converted, info=info), found


def _images(
    converter: Converter, network: Network, images: Sequence[Plane], targets: Sequence[Plane] | None
) -> tuple[list[Plane], list[Plane] | None]:
    """The images as `checked` gives them, and none where none are wanted."""
    if converter.calibrates:
        return checked(network, images, targets)
    if len(images) or targets is not None:
        raise UsageError(f"converter {converter.name} takes no images: it finds nothing on them; leave them out")
    return [], None


def measure(
    model: Model,
    crops: Sequence[tuple[Plane, Plane | None]],
    *,
    neuron: Neuron,
    head: Head,
    threads: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> ConversionReport:
    """The report of a converted model on `crops`, each a degraded image (C, H, W) and the clean one or none.

    A neuron with a kernel of its own is not simulated in floats: its layers are those of the engine's run, without what is
    left in the membranes, and the change by rounding is not known.
    """
    network = model.network
    assert model.spiking is not None
    exact = floatsim.from_model(model, neuron, head) if neuron.step is None else None
    measured = exact if exact is not None else program_of(model, neuron, head).integers
    comparison = Comparison(measured, model.spiking.scales)
    agreement, changes = [], []
    clean = all(target is not None for _, target in crops)
    for image, target in crops:
        captured: dict[str, Any] = {a.name: None for a in network.activations}
        output = ann.run(network, model.parameters, image[None], threads=threads, capture=captured)[0]
        restored = _restored(network, output, image)
        spikes: dict[str, NDArray[np.bool_]] | None = None if exact is not None else {}
        rounded = _rounded(model, image, neuron, head, threads, spikes)
        integers = _restored(network, rounded, image)
        values = {**{name: answer[0] for name, answer in captured.items()}, OUTPUT: output}
        agreement.append(psnr(integers, restored, 1.0))
        if spikes is not None:
            comparison.add_engine(values, spikes, rounded)
        if exact is not None:
            run = floatsim.simulate(exact, image.astype(np.float64))
            comparison.add(values, run)
            against = target if clean and target is not None else restored
            before = psnr(_restored(network, run.output, image), against, 1.0)
            after = psnr(integers, against, 1.0)
            changes.append(0.0 if before == after else after - before)
        progress()
    notes = []
    if exact is None:
        notes.append(
            f"neuron {neuron.name} has a kernel of its own: what is left in its membranes and the change by rounding are not "
            "measured"
        )
    elif len(crops) < CROPS:
        notes.append(f"only {counted(len(crops), 'image')}: the change by rounding wants at least {CROPS}")
    layers = comparison.layers()
    return ConversionReport(
        layers=layers,
        first_bad=first_bad(layers),
        psnr_to_ann=float(np.mean(agreement)),
        rounding=float(np.mean(changes)) if changes else None,
        rounding_error=float(np.std(changes, ddof=1) / math.sqrt(len(changes))) if len(changes) > 1 else None,
        rounding_against="target" if clean else "ann",
        crops=len(crops),
        note="; ".join(notes),
    )


def _rounded(
    model: Model,
    image: Plane,
    neuron: Neuron,
    head: Head,
    threads: int | None,
    spikes: dict[str, NDArray[np.bool_]] | None,
) -> NDArray[np.float64]:
    """The output (C, H, W) of the integer network, which is what will run; its spikes by layer are put into `spikes`."""
    shapes, scale = model.network.shapes(*image.shape[1:]), model.network.scale
    shapes[OUTPUT] = shapes[model.network.output]
    output = np.empty(shapes[OUTPUT])

    def sink(part: Part) -> None:
        output[:, *part.core.scaled(Fraction(scale)).slices] = part.output

    def observer(seen: LayerSpikes) -> None:
        assert spikes is not None
        part = seen.dense()
        whole = spikes.setdefault(seen.layer, np.zeros((*part.shape[:2], *shapes[seen.layer][1:]), np.bool_))
        whole[:, :, *seen.core.slices] = part

    watched = None if spikes is None else observer
    engine.run(program_of(model, neuron, head), to_plane(image)[None], sink=sink, threads=threads, observer=watched)
    return output


def _restored(network: Network, output: NDArray[Any], image: Plane) -> NDArray[np.float64]:
    """The restored image, clipped to [0, 1]."""
    return np.asarray(np.clip(restored(network.mode, image.astype(np.float64), output), 0.0, 1.0), np.float64)


def _crops(
    network: Network, images: Sequence[Plane], targets: Sequence[Plane] | None
) -> list[tuple[Plane, Plane | None]]:
    """The middles of up to `CROPS` images, spread evenly over the sequence."""
    chosen = sorted({round(i * (len(images) - 1) / max(1, CROPS - 1)) for i in range(min(CROPS, len(images)))})
    if len(images) <= CROPS:
        chosen = list(range(len(images)))
    crop = side_of(network, CROP)

    def middle(plane: Plane, scale: int) -> Plane:
        size = scale * crop
        top, left = (max(0, (side // scale - crop) // 2) * scale for side in plane.shape[1:])
        return np.ascontiguousarray(plane[:, top : top + size, left : left + size], np.float32)

    return [(middle(images[i], 1), middle(targets[i], network.scale) if targets is not None else None) for i in chosen]


def _check_scales(converter: Converter, network: Network, answer: Scales) -> None:
    """Check what a converter returned."""
    expected = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    if not isinstance(answer, Scales):
        raise PluginError(f"converter {converter.name} gave {type(answer).__name__}; expected nspike.Scales")
    for what, arrays in (("scales", answer.scales), ("thresholds", answer.thresholds)):
        if not isinstance(arrays, Mapping):
            raise PluginError(f"converter {converter.name}: {what} is {shortened(arrays)}; expected arrays by layer")
        for name, channels in expected.items():
            array = arrays.get(name)
            if (
                not isinstance(array, np.ndarray)
                or array.dtype.kind not in "fiu"
                or array.shape != (channels,)
                or not np.all(np.isfinite(array))
                or not np.all(array > 0)
            ):
                raise PluginError(f"converter {converter.name}: {what} of {name!r} must be {channels} positive numbers")
        if len(arrays) != len(expected):
            raise PluginError(
                f"converter {converter.name}: {what} for unknown layers {sorted(set(arrays) - set(expected))}"
            )
    own: Any = answer.neuron_parameters
    if not isinstance(own, Mapping) or not all(isinstance(v, Real) and math.isfinite(v) for v in own.values()):
        raise PluginError(
            f"converter {converter.name}: neuron_parameters is {shortened(own)}; expected finite numbers by name"
        )
