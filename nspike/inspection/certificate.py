"""The certificate of a run: who ran what on what, and every spike's digest, as JSON that is the same bytes everywhere.

It holds nothing that depends on threads, tiles, kernels, time or paths. With the model's file and the image it holds all
that is needed to run a declared neuron again: docs/reference/certificate.md has every field, and
docs/check_certificate.py does it.
Verifying runs the model again on the same image and compares; the first difference is named by layer and step, in the
order in which the engine works.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts import answers
from nspike.contracts.course import course
from nspike.contracts.head import Head
from nspike.contracts.ledger import LayerLedger, Ledger
from nspike.contracts.neuron import NEVER, Neuron
from nspike.errors import BadInputError
from nspike.graph.layer import Constant
from nspike.graph.network import Network
from nspike.integer.dynamics import dynamics
from nspike.integer.rounding import neurons_of
from nspike.model.model import OUTPUT, Model

FORMAT = "nspike certificate"
VERSION = 2
LARGEST = 64 << 20
"""No certificate is as large as this many bytes."""
DEEPEST = 8
"""Nor nested as deep as this."""


def certificate(
    model: Model,
    model_digest: str,
    neuron: Neuron,
    head: Head,
    ledger: Ledger,
    *,
    file_digest: str | None,
    scale: int | None,
    image: NDArray[Any],
) -> dict[str, Any]:
    """The certificate of a run with digests.

    Parameters
    ----------
    model, neuron, head : what ran; model_digest is that of the model as it is in its file.
    ledger : of a run with `digest=True`.
    file_digest : SHA-256 of the image's file, if it came from one; scale : of a super-resolution.
    image : the result, uint8, uint16 or float64.
    """
    spiking = model.spiking
    assert spiking is not None
    stored = spiking.neuron_parameters.get(neuron.name, {})
    parameters = {a.name: neuron.values(stored.get(a.name)) for a in model.network.activations}
    parameters = {name: {key: value + 0.0 for key, value in own.items()} for name, own in parameters.items()}  # no -0.0
    neurons = neurons_of(model.network, neuron)
    head_arrays = {**head.initial(model.network.channels), **spiking.head_parameters.get(head.name, {})}
    channels, height, width = ledger.shape
    return {
        "format": FORMAT,
        "version": VERSION,
        "input": {
            "file_sha256": file_digest,
            "plane_sha256": ledger.plane_digest,
            "planes": ledger.planes,
            "channels": channels,
            "height": height,
            "width": width,
            **_unpadded(image, model.network.scale, height, width),
            "scale": scale,
        },
        "model": {"name": model.info.name, "digest": model_digest},
        "parameters": {
            "neuron": neuron.name,
            "neuron_planes": list(neuron.planes),
            **_if_any("neuron_digits", neuron.digits),
            **_if_any("signed_layers", [name for name, each in neurons.items() if each != neuron]),
            "neuron_parameters": parameters,
            "neuron_steps": _steps(neurons, parameters, ledger.timesteps),
            "head": head.name,
            "head_fires": head.fires,
            "head_size": head.kernel,
            "head_parameters": {name: hash_array(np.asarray(head_arrays[name])) for name in sorted(head_arrays)},
            "timesteps": ledger.timesteps,
            "post_steps": ledger.post_steps,
            **_if_any("noise_levels", noise_levels(model.network)),
        },
        "layers": [_layer(layer, ledger.timesteps) for layer in ledger.layers],
        "work": {
            "analog_macs": ledger.analog_macs,
            "analog_macs_paper": ledger.analog_macs_paper,
            "output_additions": ledger.output_additions,
            "head_synops": ledger.head_synops,
            "head_synops_paper": ledger.head_synops_paper,
            "head_macs": ledger.head_macs,
            "ann_macs": ledger.ann_macs,
            "ann_macs_paper": ledger.ann_macs_paper,
            **_if_any("current_additions", sum(ledger.current_additions)),
        },
        "totals": {"spikes": ledger.spikes, "synops": ledger.synops, "synops_paper": ledger.synops_paper},
        "output": {"dtype": image.dtype.name, "shape": list(image.shape), "sha256": hash_array(image)},
    }


def _if_any(key: str, value: Any) -> dict[str, Any]:
    """A key that only certificates of some networks have."""
    return {key: value} if value else {}


def _unpadded(image: NDArray[Any], scale: int, height: int, width: int) -> dict[str, int]:
    """The size of the image, from that of the result, where the input plane was padded to a larger one."""
    own = image.shape[0] // scale, image.shape[1] // scale
    return {} if own == (height, width) else {"image_height": own[0], "image_width": own[1]}


def noise_levels(network: Network) -> dict[str, list[float]]:
    """The values of the planes that tell the network the noise level, by layer; 1.0 is white."""
    told = (layer for layer in network.of_kind(Constant) if layer.meaning == "sigma")
    return {layer.name: [value + 0.0 for value in layer.values] for layer in told}


def _steps(
    neurons: Mapping[str, Neuron], parameters: Mapping[str, dict[str, float]], timesteps: int
) -> dict[str, Any] | None:
    """The values of declared neurons at each step, by layer, which decide the spikes. None for those with their own kernel."""
    if any(neuron.step is not None for neuron in neurons.values()):
        return None
    return {name: _of_neuron(neurons[name], values, timesteps) for name, values in parameters.items()}


def _of_neuron(neuron: Neuron, values: Mapping[str, float], timesteps: int) -> dict[str, Any]:
    steps = range(1, timesteps + neuron.post_steps + 1)
    return {
        "initial": answers.initial(neuron, values) + 0.0,
        "fires": [None if f == NEVER else f for f in (answers.fire(neuron, values, t, timesteps) for t in steps)],
        "amplitudes": [answers.amplitude(neuron, values, t, timesteps) for t in steps],
        **_dynamics(neuron, values, timesteps),
    }


def _dynamics(neuron: Neuron, values: Mapping[str, float], timesteps: int) -> dict[str, Any]:
    """The leak, the hard reset and the most spikes at a step, where the neuron has them."""
    own = dynamics(neuron, course(neuron, values, timesteps))
    told: dict[str, Any] = {"keep": own.keep, "input_factor": own.input_factor} if own.leaks else {}
    if own.to_zero:
        told["reset"] = "zero"
    if neuron.strict:
        told["strict"] = True
    if len(neuron.planes) > 1:
        told["most_spikes"] = own.most
    return told


def _layer(layer: LayerLedger, timesteps: int) -> dict[str, Any]:
    steps = [
        {
            "step": t + 1,
            "post": t >= timesteps,
            "events": [int(n) for n in layer.events[:, t]],
            "synops": int(layer.synops[t]),
            "synops_paper": int(layer.synops_paper[t]),
            "neuron_updates": int(layer.neuron_updates[t]),
            "bias_additions": int(layer.bias_additions[t]),
            "sha256": layer.digests[t],
        }
        for t in range(layer.events.shape[1])
    ]
    return {"name": layer.name, "shape": list(layer.shape), "steps": steps}


def hash_array(array: NDArray[Any]) -> str:
    """SHA-256 of an array's bytes in C order, little-endian."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data if little.size else b"").hexdigest()


def dumps(values: Mapping[str, Any]) -> str:
    """The certificate as JSON text, the same for equal certificates."""
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a certificate's file. Raises BadInputError as `loads` does, or where it cannot be read."""
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise BadInputError(f"{path} cannot be read: it is not a regular file")
        with open(path, "rb") as stream:
            return loads(stream.read(LARGEST + 1), os.fspath(path))
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise BadInputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def loads(text: str | bytes, origin: str) -> dict[str, Any]:
    """Read a certificate. Raises BadInputError for anything else, or one of a newer nspike; `origin` names it.

    Text of which two readers could think differently is no certificate: a key that stands twice, NaN or a number past
    float64, -0, another encoding than UTF-8, nesting deeper than any certificate's.
    """
    try:
        if len(text) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        values = json.loads(
            text if isinstance(text, str) else text.decode(),
            object_pairs_hook=_once,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
        _shallow(values, DEEPEST)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{origin} is no certificate: it is not JSON ({error})") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BadInputError(f"{origin} is no certificate: expected JSON written by `nspike audit`")
    version = values.get("version")
    if type(version) is not int or version != VERSION:
        raise BadInputError(
            f"{origin} is a certificate of version {version!r}; this nspike reads version {VERSION}. Verify it "
            "with the nspike that wrote it, or make a new one (nspike audit IMAGE --json FILE)"
        )
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


def _whole(text: str) -> int:
    if text == "-0":
        raise ValueError("-0 is no number of a certificate")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or (not number and text.startswith("-")):
        raise ValueError(f"{text} is no number of a certificate")
    return number


def _shallow(values: Any, depth: int) -> None:
    if isinstance(values, dict | list):
        if not depth:
            raise ValueError("it is nested deeper than a certificate")
        for value in values.values() if isinstance(values, dict) else values:
            _shallow(value, depth - 1)


def differences(stored: Mapping[str, Any], computed: Mapping[str, Any]) -> Iterator[str]:
    """Every difference in words, in the order of the work: input, model, parameters, layer by layer and step by step."""
    for key in ("input", "model", "parameters"):
        yield from _compare(key, stored.get(key), computed[key])
    yield from _layers(stored.get("layers"), computed["layers"])
    for key in ("work", "totals", "output"):
        yield from _compare(key, stored.get(key), computed[key])
    for key in stored:
        if key not in computed:
            yield f"{key}: not part of a certificate"


def _layers(stored: Any, computed: list[dict[str, Any]]) -> Iterator[str]:
    if not isinstance(stored, list) or len(stored) != len(computed):
        yield f"layers: the certificate lists {len(stored) if isinstance(stored, list) else 'no'} layers, not {len(computed)}"
        return
    for theirs, ours in zip(stored, computed, strict=True):
        name = "the output layer" if ours["name"] == OUTPUT else f"layer {ours['name']}"
        steps = theirs.get("steps") if isinstance(theirs, dict) else None
        if not isinstance(steps, list) or len(steps) != len(ours["steps"]):
            yield f"{name}: the certificate has other steps"
            continue
        for key in ("name", "shape"):
            yield from _compare(f"{name}, {key}", theirs.get(key), ours[key])
        for their_step, our_step in zip(steps, ours["steps"], strict=True):
            yield from _compare(f"{name}, step {our_step['step']}", their_step, our_step)
        for key in theirs:
            if key not in ours:
                yield f"{name}: {key} is not part of a certificate"


def _compare(where: str, stored: Any, computed: Any) -> Iterator[str]:
    if isinstance(computed, dict) and isinstance(stored, dict):
        for key, value in computed.items():
            yield from _compare(f"{where}, {key}", stored.get(key), value)
        for key in stored:
            if key not in computed:
                yield f"{where}: {key} is not part of a certificate"
    elif json.dumps(stored) != json.dumps(computed):  # distinguishes 1 from 1.0 and true, in lists too
        yield f"{where}: the certificate says {stored!r}, this run {computed!r}"
