"""Conversion of a model to texts and arrays and, with checks, back: the content of a model file, independent of its container."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.architecture import Colour, Task
from nspike.errors import ModelError
from nspike.graph.geometry import parameter_shapes
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking, Trained

Integers = Mapping[str, Mapping[str, NDArray[Any]]]
"""Layer name -> array name -> integers (or finite float64), as the engine uses them."""

_LARGEST = 2**16  # channels; and far more layers than any network has
_MAY_BE_0 = ("first", "batch_norm_eps", "eps")
_UNSAID: dict[str, Any] = {"trained": "plain"}
"""What a description means where it does not say it."""
_PARTS = ("scales", "thresholds", "weights", "biases")


def to_content(model: Model) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """The texts and arrays of a model. Raises ModelError if it is inconsistent or not finite."""
    network, spiking = model.network, model.spiking
    texts = {
        "network": _json(network.to_dict(), "network"),
        "info": _json(_described(model.info), "info"),
    }
    arrays = {f"ann/{name}": np.asarray(array) for name, array in _ordered(model.parameters, ann_shapes(network))}
    if spiking is not None:
        plain = {name: getattr(spiking, name) for name in ("neuron", "head", "timesteps", "neuron_parameters")}
        texts["spiking"] = _json(plain, "spiking")
        for part in _PARTS:
            arrays |= {f"spiking/{part}/{name}": np.asarray(array) for name, array in getattr(spiking, part).items()}
        for head, parameters in spiking.head_parameters.items():
            arrays |= {f"spiking/heads/{head}/{name}": np.asarray(array) for name, array in parameters.items()}
    from_content(texts, arrays)  # nothing is written that could not be read
    return texts, arrays


def from_content(texts: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> Model:
    """The model of these texts and arrays. Raises ModelError on anything missing, unknown, misshapen or not finite."""
    network = read_network(texts)
    groups = _groups(arrays)
    shapes = ann_shapes(network)
    _check_arrays("ann", groups.pop("ann", {}), shapes, np.float32, required=set(shapes))
    parameters = {name: arrays[f"ann/{name}"] for name in shapes}
    spiking = _read_spiking(texts["spiking"], network, groups) if "spiking" in texts else None
    for group in groups:
        raise ModelError(f"unknown group {group!r}")
    return Model(read_info(texts), network, parameters, spiking)


def read_network(texts: Mapping[str, str]) -> Network:
    """The network in a model's texts. Raises ModelError."""
    network = Network.from_dict(_object(texts, "network"))
    if not isinstance(network.name, str) or network.channels not in (1, 3):
        raise ModelError(f"the network {network.name!r} has {network.channels!r} channels; expected 1 or 3")
    for layer in network.layers:
        fields = dataclasses.fields(layer)
        values = {
            f.name: getattr(layer, f.name) for f in fields
        }  # `asdict` would copy them, which takes as long as the rest
        sizes = {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        if not all((n > 0 or (n == 0 and k in _MAY_BE_0)) and n <= _LARGEST for k, n in sizes.items()):
            raise ModelError(f"layer {layer.name!r} of the network has an impossible size")
        if not isinstance(layer.name, str) or not _plain_name(layer.name):
            raise ModelError(f"the network has a layer called {layer.name!r}, which is not a plain name")
        if not all(type(values[f.name]) is int for f in fields if f.type is int):
            raise ModelError(f"layer {layer.name!r} of the network has sizes that are not integers")
    return network


def read_info(texts: Mapping[str, str]) -> Info:
    """The description in a model's texts. Raises ModelError."""
    values = _UNSAID | _object(texts, "info")
    fields = {f.name for f in dataclasses.fields(Info)}
    if set(values) != fields:
        raise ModelError(f"the description of the model has the fields {sorted(values)}; expected {sorted(fields)}")
    info = Info(**values)
    if info.task not in get_args(Task) or info.colour not in get_args(Colour):
        raise ModelError(f"unknown task {info.task!r} or colour {info.colour!r}")
    texts_ok = isinstance(info.name, str) and isinstance(info.licence, str)
    if not texts_ok or not all(isinstance(v, dict) for v in (info.degradation, info.provenance, info.quality)):
        raise ModelError("the description of the model has values of the wrong type")
    if info.trained not in get_args(Trained):
        raise ModelError(f"the model was trained as {info.trained!r}; expected plain or spiking")
    _check_degradation(info.degradation)
    return info


def _described(info: Info) -> dict[str, Any]:
    """A description as plain values; what goes without saying is left out, so that files stay as they were before it."""
    values = {f.name: getattr(info, f.name) for f in dataclasses.fields(Info)}
    return {name: value for name, value in values.items() if name not in _UNSAID or value != _UNSAID[name]}


def _check_degradation(degradation: Mapping[str, Any]) -> None:
    """Raise ModelError for a noise level or scales of another type; other values are only shown."""
    sigma, scales = degradation.get("sigma"), degradation.get("scales", [])
    levels = sigma if isinstance(sigma, list) else [] if sigma is None else [sigma]
    if not all(_is_number(level) and level >= 0 for level in levels):
        raise ModelError("the noise level (sigma) that the model was trained for is no number")
    if not isinstance(scales, list) or not all(type(scale) is int and 0 < scale <= _LARGEST for scale in scales):
        raise ModelError("the scales that the model was trained for are no list of integers from 1")


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def read_spiking_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """The neuron, head, timesteps and neuron parameters in a model's texts. Raises ModelError."""
    values = _object(texts, "spiking")
    if set(values) != {"neuron", "head", "timesteps", "neuron_parameters"}:
        raise ModelError(f"the spiking form has the fields {sorted(values)}")
    if not isinstance(values["neuron"], str) or not isinstance(values["head"], str):
        raise ModelError("the neuron or the head of the spiking form is not a name")
    timesteps = values["timesteps"]
    if type(timesteps) is not int or timesteps < 1:
        raise ModelError(f"T = {timesteps!r}; expected an integer from 1")
    return values


def ann_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the ANN's parameters, in the order of the layers."""
    return {name: shape for layer in network.layers for name, shape in parameter_shapes(layer).items()}


def digest(texts: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over texts (as canonical JSON) and arrays: for each in the order of names, its name, dtype, shape, bytes."""
    sha = hashlib.sha256()
    for name in sorted(texts):
        text = json.dumps(json.loads(texts[name]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        sha.update(f"@{name}\0utf-8\0{len(text)}\0".encode() + text)
    for name in sorted(arrays):
        little = np.ascontiguousarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"))
        shape = ",".join(map(str, arrays[name].shape))
        sha.update(f"{name}\0{little.dtype.str}\0{shape}\0".encode() + little.tobytes())
    return sha.hexdigest()


def integer_arrays(integers: Integers) -> dict[str, NDArray[Any]]:
    """The integers of a model by path; empty arrays are left out. Raises ModelError for an array of another kind."""
    given = {
        f"integers/{layer}/{name}": np.asarray(a) for layer, parts in integers.items() for name, a in parts.items()
    }
    arrays = {path: array for path, array in given.items() if array.size}
    for path, array in arrays.items():
        check_integers(path, array)
    return arrays


def check_integers(path: str, array: NDArray[Any]) -> None:
    """Raise ModelError unless this is integers/LAYER/NAME and holds integers, or finite float64 (a gate's factor)."""
    plain = path.count("/") == 2 and all(map(_plain_name, path.split("/")))
    if not plain or not (array.dtype.kind in "iu" or array.dtype == np.float64) or not np.isfinite(array).all():
        raise ModelError(f"{path} is not an array of a layer's integers (it has dtype {array.dtype})")


def _read_spiking(text: str, network: Network, groups: dict[str, dict[str, NDArray[Any]]]) -> Spiking:
    values = read_spiking_texts({"spiking": text})
    neurons: dict[str, tuple[int, ...]] = {a.name: (a.channels,) for a in network.activations}
    channels = neurons | {OUTPUT: (network.channels,)}
    shapes: dict[str, tuple[dict[str, tuple[int, ...]], type]] = {
        "scales": (channels, np.float64),
        "thresholds": (channels, np.float64),
        "weights": ({conv.name: conv.kernel_shape for conv in network.convs}, np.float32),
        "biases": ({conv.name: (conv.out_channels,) for conv in network.convs}, np.float32),
    }
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for part, (expected, dtype) in shapes.items():
        given = groups.pop(f"spiking/{part}", {})
        positive = part in ("scales", "thresholds")
        _check_arrays(f"spiking/{part}", given, expected, dtype, required=set(channels) if positive else set())
        if positive and not all((array > 0).all() for array in given.values()):
            raise ModelError(f"spiking/{part}: a value is not above zero")
        parts[part] = {name: given[name] for name in expected if name in given}
    heads: dict[str, dict[str, NDArray[Any]]] = {}
    for group in [group for group in groups if group.startswith("spiking/heads/")]:
        given = groups.pop(group)
        _check_arrays(group, given, {name: array.shape for name, array in given.items()}, np.float64, required=set())
        heads[group.removeprefix("spiking/heads/")] = given
    return Spiking(
        values["neuron"],
        values["head"],
        values["timesteps"],
        parts["scales"],
        parts["thresholds"],
        _neuron_parameters(values["neuron_parameters"], neurons),
        heads,
        parts["weights"],
        parts["biases"],
    )


def _neuron_parameters(values: Any, activations: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Neuron -> activation -> parameter -> value, checked."""
    try:
        for layers in values.values():
            for layer, parameters in layers.items():
                if layer not in activations:
                    raise ModelError(f"neuron parameters are given for {layer!r}, which is not a layer of neurons")
                if not all(_is_number(value) for value in parameters.values()):
                    raise ModelError(f"a neuron parameter of layer {layer!r} is not a number, or not a finite one")
        return {neuron: {layer: dict(p) for layer, p in layers.items()} for neuron, layers in values.items()}
    except (AttributeError, TypeError) as error:
        raise ModelError("the neuron parameters are damaged") from error


def _check_arrays(
    group: str,
    given: Mapping[str, NDArray[Any]],
    expected: Mapping[str, tuple[int, ...]],
    dtype: type,
    *,
    required: set[str],
) -> None:
    """Raise ModelError unless names, shapes, dtypes and values are as expected."""
    if missing := sorted(required - set(given)):
        raise ModelError(f"{group}: {', '.join(missing)} missing")
    for name, array in given.items():
        if name not in expected or not _plain_name(name):
            raise ModelError(f"{group}: unknown array {name!r}; expected {', '.join(expected) or 'none'}")
        if array.shape != expected[name] or array.dtype != dtype:
            raise ModelError(
                f"{group}/{name}: {array.dtype} {array.shape}; expected {np.dtype(dtype)} {expected[name]}"
            )
        if not np.isfinite(array).all():
            raise ModelError(f"{group}/{name}: {np.count_nonzero(~np.isfinite(array))} values are not finite")


def _groups(arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays by the folder and the name of their paths."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for path, array in arrays.items():
        group, _, name = path.rpartition("/")
        groups.setdefault(group, {})[name] = array
    return groups


def _ordered(given: Mapping[str, NDArray[Any]], order: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The items in a known order, then those that are not known."""
    return ((name, given[name]) for name in [n for n in order if n in given] + [n for n in given if n not in order])


def _plain_name(name: str) -> bool:
    return bool(name) and "/" not in name and name.isprintable() and name.strip(".") != ""


def _object(texts: Mapping[str, str], name: str) -> dict[str, Any]:
    """A JSON object among the texts, without NaN, infinities or repeated keys."""
    if name not in texts:
        raise ModelError(f"the description {name!r} is missing")
    try:
        values = json.loads(texts[name], parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the description {name!r} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"the description {name!r} is not a JSON object")
    return values


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a finite number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


def _json(values: Any, where: str) -> str:
    try:
        return json.dumps(_simple(values), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the model's {where} cannot be written: {error}") from error


def _simple(value: Any) -> Any:
    """`value` with NumPy scalars, tuples and keys that are no texts made plain."""
    if isinstance(value, Mapping):
        return {str(key): _simple(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
