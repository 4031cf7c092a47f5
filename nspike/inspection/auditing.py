"""Auditing: a run whose every spike is digested, its certificate, and the verification of one."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nspike.errors import BadInputError, ModelError, NspikeError, UsageError
from nspike.images import file as images
from nspike.inspection.certificate import certificate, differences
from nspike.model import file as weights
from nspike.model.model import Model
from nspike.model.result import Result
from nspike.registry.parts import head_of, neuron_of, swap, with_neuron_parameters
from nspike.restoration.image import MEMORY, Observer, restore

T = TypeVar("T")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Audit:
    """A digested run: its certificate, as plain values, and the result of the run."""

    certificate: dict[str, Any]
    result: Result


def audit(
    model: Model,
    image: str | os.PathLike[str],
    *,
    model_digest: str | None = None,
    scale: int | None = None,
    tile: int | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Audit:
    """Run `model` on the image's file and certify every spike.

    Parameters
    ----------
    model : with a spiking form; its parts may have been swapped.
    model_digest : of the model as it is in its file, if that is not what `model` is now.
    scale : of a super-resolution; tile, memory, threads, progress, observer : as for `nspike.restoration.image.restore`; none
        of the latter changes the certificate.

    Raises BadInputError, ModelError, UsageError, PluginError.
    """
    pixels = images.read(image, max_pixels=max_pixels)
    neuron, head = neuron_of(model), head_of(model)
    result = restore(
        model,
        pixels.pixels,
        scale=scale,
        tile=tile,
        memory=memory,
        threads=threads,
        digest=True,
        progress=progress,
        observer=observer,
    )
    values = certificate(
        model,
        model_digest or weights.digest(model),
        neuron,
        head,
        result.ledger,
        file_digest=pixels.sha256,
        scale=scale,
        image=result.image,
    )
    return Audit(values, result)


def verify(
    stored: Mapping[str, Any],
    model: Model,
    image: str | os.PathLike[str],
    *,
    tile: int | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    progress: Progress | None = None,
) -> list[str]:
    """Run again what a certificate tells of; each difference in words, an empty list if it holds.

    Parameters
    ----------
    stored : the certificate, as plain values.
    model : the model of its file; the certificate's neuron, head and T are put in.
    image : the image's file.
    tile, memory, threads, max_pixels, progress : as for `nspike.audit`.

    Where the image or the model is another one, that is the only difference, and nothing is run.

    Raises BadInputError for a certificate that is damaged, and what `nspike.audit` raises.
    """
    digest = weights.digest(model)
    named = _part(stored, "model")
    if named.get("digest") != digest:
        return [
            f"model: the certificate is of {named.get('name')!r}, {named.get('digest')}; "
            f"this is {model.info.name!r}, {digest}"
        ]
    file_digest = images.read(image, max_pixels=max_pixels).sha256
    entry = _part(stored, "input")
    if entry.get("file_sha256") != file_digest:
        return [
            f"input: the certificate is of a file with SHA-256 {entry.get('file_sha256')}; {image} has {file_digest}"
        ]
    parameters = _part(stored, "parameters")
    neuron, head = (_value(parameters, "parameters", key, str) for key in ("neuron", "head"))
    timesteps = _value(parameters, "parameters", "timesteps", int)
    scale = None if entry.get("scale") is None else _value(entry, "input", "scale", int)
    try:
        model, _ = swap(model, neuron=neuron, head=head, timesteps=timesteps)
        model = with_neuron_parameters(model, neuron_parameters(parameters))
    except UsageError as error:
        raise BadInputError(f"the certificate's parameters cannot be run: {error}") from error
    found = audit(
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
    return list(differences(stored, found.certificate))


def neuron_parameters(parameters: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Those that a certificate or a trace tells of, by layer. Raises BadInputError where they are no numbers."""
    layers = parameters.get("neuron_parameters")
    if not isinstance(layers, dict) or not all(
        isinstance(own, dict) and all(type(value) is float for value in own.values()) for own in layers.values()
    ):
        raise BadInputError(f"the certificate is damaged: its parameters, neuron_parameters is {layers!r}")
    return layers


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
            return weights.load(path)
    raise ModelError(
        f"no model that comes with nspike has the digest {named.get('digest')}; name the file of {named.get('name')!r} "
        "with --model"
    )


def image_of(stored: Mapping[str, Any], folders: list[Path]) -> Path:
    """The image whose file has the certificate's digest, among those in `folders`.

    Raises UsageError where there is none.
    """
    from hashlib import sha256

    wanted = _part(stored, "input").get("file_sha256")
    for folder in folders:
        try:
            candidates = images.list_images(folder)
        except NspikeError:
            continue
        for path in candidates:
            if sha256(path.read_bytes()).hexdigest() == wanted:
                return path
    raise UsageError(f"name the image that this is of: its file's SHA-256 is {wanted}")
