"""Auditing: a run whose every spike is digested, its certificate, and the verification of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nspike.errors import BadInputError, ModelError, NspikeError, UsageError
from nspike.graph.layer import Constant
from nspike.images import file as images
from nspike.inspection.certificate import certificate, differences, noise_levels
from nspike.integer.grid import IMAGE_GAIN
from nspike.model import file as weights
from nspike.model.model import ImageLike, Model, expect_model
from nspike.model.result import Result
from nspike.registry.parts import head_of, neuron_of, spiking_of, swap
from nspike.restoration.execute import MEMORY
from nspike.restoration.image import restore
from nspike.restoration.inputs import is_path, read_input
from nspike.restoration.opening import load_file
from nspike.restoration.way import LARGEST_SCALE, scale_of
from nspike.runtime.caller import way

if TYPE_CHECKING:
    from nspike.engine.run import Observer

T = TypeVar("T")
Progress = Callable[[int, int], None]
INEXACT = "nspike inexact run, which certifies nothing"


@dataclass(frozen=True, eq=False)
class Audit:
    """A digested run: its certificate, as plain values, and the result of the run."""

    certificate: dict[str, Any]
    result: Result

    def __repr__(self) -> str:
        digest = self.certificate["output"]["sha256"]
        return f"<Audit of model {self.certificate['model']['name']}, output {digest[:12]}: {self.result!r}>"


def audit(
    model: Model,
    image: ImageLike,
    *,
    model_digest: str | None = None,
    scale: int | None = None,
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    progress: Progress | None = None,
    observer: "Observer | None" = None,
    inexact: bool = False,
) -> Audit:
    """Run `model` on an image and certify every spike.

    Parameters
    ----------
    model : with a spiking form; its parts may have been swapped.
    image : its file, or an array as for `nspike.restore`, whose certificate names no file. Alpha is not certified.
    model_digest : of the model as it is in its file, if that is not what `model` is now.
    scale : of a super-resolution; tile, memory, threads, progress, observer : as for `nspike.restore`; none
        of the latter changes the certificate.
    inexact : run a neuron whose kernel computes with floats, too. The result then holds for this run alone: its
        `format` is `INEXACT`, and nothing reads it as a certificate.

    Raises BadInputError, ModelError, UsageError, PluginError.
    """
    expect_model(model)
    source = read_input(image, max_pixels=max_pixels)
    neuron, head, scale = neuron_of(model), head_of(model), scale_of(model, scale)
    result = restore(
        model,
        source.pixels,
        scale=scale,
        tile=tile,
        memory=memory,
        threads=threads,
        digest=True,
        progress=progress,
        observer=observer,
        inexact=inexact,
    )
    values = certificate(
        model,
        model_digest or weights.digest(model),
        neuron,
        head,
        result.ledger,
        file_digest=source.sha256,
        scale=scale,
        image=result.image,
    )
    return Audit(values | {"format": INEXACT} if inexact else values, result)


def verify(
    stored: Mapping[str, Any],
    model: Model,
    image: ImageLike,
    *,
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    progress: Progress | None = None,
) -> list[str]:
    """Run a certificate's inference again and list every difference in words; an empty list if it holds.

    Parameters
    ----------
    stored : the certificate, as plain values.
    model : the model of its file; the certificate's neuron with its parameters, head and T are put in.
    image : the image's file, or the array of a certificate that names no file.
    tile, memory, threads, max_pixels, progress : as for `nspike.audit`.

    Where the image or the model is another one, or the scale none that the model has, that is the only difference, and
    nothing is run.

    Raises BadInputError where the certificate is damaged or names what cannot be run, PluginError for a neuron or head
    that is not there, and what `nspike.audit` raises.
    """
    expect_model(model)
    digest = weights.digest(model)
    named = _part(stored, "model")
    if named.get("digest") != digest:
        return [
            f"model: the certificate is of {named.get('name')!r}, {named.get('digest')}; "
            f"this is {model.info.name!r}, {digest}"
        ]
    file_digest = read_input(image, max_pixels=max_pixels).sha256
    entry = _part(stored, "input")
    if entry.get("file_sha256") != file_digest:
        theirs = f"a file with SHA-256 {entry['file_sha256']}" if entry.get("file_sha256") else "an array"
        ours = f"{image} has {file_digest}" if is_path(image) else "this is an array"
        return [f"input: the certificate is of {theirs}; {ours}"]
    scale = entry.get("scale")
    if not _is_scale_of(model, scale):
        own = model.network.scale
        enlarges = f"enlarges, by {own}" if own > 1 else f"enlarges, by 1 to {LARGEST_SCALE}"
        needs = enlarges if own > 1 or model.info.task == "superres" else "keeps the image's size"
        return [f"input, scale: the certificate says {scale!r}; model {model.info.name} {needs}"]
    model = with_parts(model, _part(stored, "parameters"))
    rerun = audit(
        model,
        image,
        model_digest=digest,
        scale=scale,
        tile=tile,
        memory=memory,
        threads=threads,
        max_pixels=max_pixels,
        progress=progress,
    )
    return list(differences(stored, rerun.certificate))


def _is_scale_of(model: Model, scale: Any) -> bool:
    """Whether a certificate of `model` may say this scale."""
    if model.network.scale > 1:
        return type(scale) is int and scale == model.network.scale
    if model.info.task != "superres":
        return scale is None
    return type(scale) is int and 1 <= scale <= LARGEST_SCALE


def with_parts(model: Model, parameters: Mapping[str, Any]) -> Model:
    """The model with the neuron and its parameters, the head, T and noise level that a certificate or a trace declares.

    Raises BadInputError where they are damaged or cannot be run, PluginError for a neuron or head that is not there.
    """
    neuron, head = (_value(parameters, "parameters", key, str) for key in ("neuron", "head"))
    timesteps = _value(parameters, "parameters", "timesteps", int)
    declared = _value(parameters, "parameters", "neuron_parameters", dict)
    try:
        model, _ = swap(model, neuron=neuron, head=head, timesteps=timesteps)
        known = {a.name: neuron_of(model).values() for a in model.network.activations}
        if set(declared) != set(known):
            raise BadInputError("the certificate is damaged: its neuron_parameters are not by layer of neurons")
        for layer, expected in known.items():
            values = declared[layer]
            if not isinstance(values, dict) or set(values) != set(expected):
                raise BadInputError(
                    f"the certificate is damaged: the neuron_parameters of layer {layer} are not those of neuron {neuron}"
                )
            for name, value in values.items():
                if type(value) not in (int, float):
                    raise BadInputError(
                        f"the certificate is damaged: its neuron_parameters, {layer}, {name} is {value!r}"
                    )
            neuron_of(model).values(values)
    except (UsageError, OverflowError) as error:
        raise BadInputError(f"the certificate's parameters cannot be run: {error}") from error
    spiking = spiking_of(model)
    model = model.with_spiking(replace(spiking, neuron_parameters={**spiking.neuron_parameters, neuron: declared}))
    return _told(model, parameters.get("noise_levels"))


def _told(model: Model, levels: Any) -> Model:
    """The model with the noise levels of a certificate, where they are some that its network can be told."""
    known = noise_levels(model.network)
    told = {
        name: tuple(values)
        for name, values in (levels.items() if isinstance(levels, dict) else ())
        if isinstance(values, list)
        and len(values) == len(known.get(name, ()))
        and all(type(value) is float and 0 <= value <= IMAGE_GAIN for value in values)
    }

    def changed(layer: Constant) -> Constant:
        return replace(layer, values=told.get(layer.name, layer.values))

    return replace(model, network=model.network.changed(Constant, changed)) if told else model


def _part(stored: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = stored.get(key)
    if not isinstance(part, dict):
        raise BadInputError(f"the certificate is damaged: it has no {key!r}")
    return part


def _value(part: Mapping[str, Any], owner: str, key: str, kind: type[T]) -> T:
    value = part.get(key)
    if type(value) is not kind:
        raise BadInputError(f"the certificate is damaged: its {owner}, {key} is {value!r}")
    return value


def model_of(stored: Mapping[str, Any]) -> Model:
    """The shipped model that a certificate names by its digest. Raises ModelError where none has it."""
    from nspike.model import shipped as models

    named = _part(stored, "model")
    for _, path in models.shipped():
        if weights.read_info(path).digest == named.get("digest"):
            return load_file(path)
    raise ModelError(
        f"no model that comes with nspike has the digest {named.get('digest')}; give the file of {named.get('name')!r}, "
        + way("--model FILE", "model=FILE")
    )


def image_of(stored: Mapping[str, Any], folders: list[Path]) -> Path:
    """The image whose file has the certificate's digest, among those in `folders`.

    Raises UsageError where there is none.
    """
    from hashlib import sha256

    wanted = _part(stored, "input").get("file_sha256")
    for folder in folders:
        try:
            candidates = images.list_images(folder, dangling=[])
        except NspikeError:
            continue
        for path in candidates:
            if sha256(path.read_bytes()).hexdigest() == wanted:
                return path
    raise UsageError(f"name the image that this is of: its file's SHA-256 is {wanted}")
