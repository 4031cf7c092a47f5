"""Model files: HDF5, one per model, self-describing and checked before anything runs.

A file begins with 512 bytes that HDF5 leaves free: a line with the format's version, and the SHA-256 of all that follows.
So a damaged file is known before the HDF5 library sees it. Then, in HDF5: the attributes `network`, `info` and, of a
converted model, `spiking` (JSON), `digest` (of the content), and arrays in PyTorch's OIHW order, gzip and shuffle:

    ann/CONV.weight, ...            the ANN's parameters, float32
    spiking/scales/LAYER            λ, float64; likewise spiking/thresholds
    spiking/heads/HEAD/NAME         the heads' parameters, float64
    spiking/weights/CONV            normalised kernels changed by training, float32; likewise spiking/biases
    integers/LAYER/NAME             what follows from these by rounding, for independent checkers
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nspike.errors import ModelError, NspikeError
from nspike.files import hdf5 as _hdf5
from nspike.files.atomic import write_bytes
from nspike.files.foreign import read_bytes
from nspike.graph.layer import IMAGE
from nspike.graph.network import Network
from nspike.model import content as _model_content
from nspike.model.content import Integers
from nspike.model.model import Info, Model
from nspike.runtime.version import VERSION as NSPIKE

VERSION = 2
"""The version of the format that is written, and the newest that is read.

Format 1 called the network's input "picture"; it is read, and what is read from it has the digest of format 2.
"""

_NEEDS = "0.1.0"  # the first nspike that reads VERSION
_HEADER = re.compile(rb"nspike model file, format (\d{1,9}), needs nspike (\S{1,40}) or later\nsha256 ([0-9a-f]{64})\n")

_KNOWN = {"network", "info", "spiking", "digest", "writer", "receptive_radius", "size_multiple", "integers_digest"}


@dataclass(frozen=True)
class FileInfo:
    """The metadata of a model file, without its arrays.

    neuron, head and timesteps are None for an ANN that has not been converted; writer is the nspike that wrote the file.
    """

    path: Path
    size: int
    version: int
    writer: str
    digest: str
    info: Info
    network: Network
    neuron: str | None
    head: str | None
    timesteps: int | None
    integers: bool


def save(path: str | os.PathLike[str], model: Model, integers: Integers | None = None) -> None:
    """Write a model file; complete, or not at all.

    Parameters
    ----------
    path : the target, replaced if it exists.
    model : checked first, so that whatever is written can be read.
    integers : layer name -> array name -> integers that follow from the model; empty arrays are left out.

    Raises
    ------
    ModelError
        the model is inconsistent or holds values that are not finite.
    OutputError
        the file cannot be written; nothing is left behind.
    """
    write_bytes(path, to_bytes(model, integers))


def to_bytes(model: Model, integers: Integers | None = None) -> bytes:
    """The bytes of a model file, as `save` writes them. Raises ModelError as it does."""
    texts, arrays = _model_content.to_content(model)
    attributes: dict[str, str | int] = {
        "writer": f"nspike {NSPIKE}",
        "digest": _model_content.digest(texts, arrays),
        "receptive_radius": model.network.radius,
        "size_multiple": model.network.size_multiple,
        **texts,
    }
    if integers:
        whole = _model_content.integer_arrays(integers)
        attributes["integers_digest"] = _model_content.digest({}, whole)
        arrays = arrays | whole
    body = _hdf5.write(attributes, arrays)[_hdf5.HEADER_BYTES :]
    checksum = hashlib.sha256(body).hexdigest()
    header = f"nspike model file, format {VERSION}, needs nspike {_NEEDS} or later\nsha256 {checksum}\n".encode()
    return header.ljust(_hdf5.HEADER_BYTES, b"\0") + body


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model file.

    Raises
    ------
    ModelError
        that names the file: it is missing, no model file, of a newer version, damaged, or inconsistent.
    """
    return load_whole(path)[0]


def load_integers(path: str | os.PathLike[str]) -> dict[str, dict[str, NDArray[Any]]]:
    """The integers in a model file by layer and name, empty if it has none. Raises ModelError as `load` does."""
    return load_whole(path)[1]


def load_whole(path: str | os.PathLike[str]) -> tuple[Model, dict[str, dict[str, NDArray[Any]]]]:
    """The model in a file, and the integers beside it by layer and name, none if there are none.

    Both have the digests that the file gives them. That the integers follow from the model is for
    `nspike.integer.rounding.check_stored` to say, which knows the neuron. Raises ModelError as `load` does.
    """
    return _whole(path, *_read(Path(path)))


def from_bytes(data: bytes, where: str) -> Model:
    """The model of the bytes of a model file; `where` they are is for the error. Raises ModelError as `load` does."""
    return _whole(where, *_unpacked(where, data))[0]


def _whole(
    path: str | os.PathLike[str], version: int, attributes: _hdf5.Attributes, arrays: _hdf5.Arrays
) -> tuple[Model, dict[str, dict[str, NDArray[Any]]]]:
    """The model and the integers of a file's content."""
    plain = {name: array for name, array in arrays.items() if not name.startswith("integers/")}
    try:
        texts = _texts(attributes)
        model = _model_content.from_content(_renamed(texts, version), plain)
        if _model_content.digest(texts, plain) != attributes.get("digest"):
            raise ModelError("the content's digest differs from the one in the file")
        if (
            attributes.get("receptive_radius") != model.network.radius
            or attributes.get("size_multiple") != model.network.size_multiple
        ):
            raise ModelError("the receptive radius or size multiple in the file is not the network's")
        return model, _integers(attributes, {name: array for name, array in arrays.items() if name not in plain})
    except NspikeError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:
        raise _damaged(path, error) from error


def _integers(attributes: _hdf5.Attributes, whole: _hdf5.Arrays) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays integers/LAYER/NAME by layer and name. Raises ModelError where their digest differs."""
    if (_model_content.digest({}, whole) if whole else None) != attributes.get("integers_digest"):
        raise ModelError("the digest of the integers differs from the one in the file")
    integers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in whole.items():
        _model_content.check_integers(name, array)
        _, layer, part = name.split("/")
        integers.setdefault(layer, {})[part] = array
    return integers


def read_info(path: str | os.PathLike[str]) -> FileInfo:
    """The metadata of a model file; the arrays are not unpacked. Raises ModelError as `load` does."""
    path = Path(path)
    version, attributes, _ = _read(path, datasets=False)
    try:
        texts = _renamed(_texts(attributes), version)
        spiking = _model_content.read_spiking_texts(texts) if "spiking" in texts else {}
        return FileInfo(
            path=path,
            size=path.stat().st_size,
            version=version,
            writer=str(attributes.get("writer", "")),
            digest=str(attributes.get("digest", "")) if version == VERSION else digest(load(path)),
            info=_model_content.read_info(texts),
            network=_model_content.read_network(texts),
            neuron=spiking.get("neuron"),
            head=spiking.get("head"),
            timesteps=spiking.get("timesteps"),
            integers="integers_digest" in attributes,
        )
    except NspikeError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:
        raise _damaged(path, error) from error


def digest(model: Model) -> str:
    """The SHA-256 of a model's content, as in its file: names, dtypes, shapes and values of everything but integers.

    The integers follow from what it covers, and a file with others is refused (`nspike.integer.rounding.check_stored`).
    Raises ModelError if the model is inconsistent.
    """
    return _model_content.digest(*_model_content.to_content(model))


def _texts(attributes: _hdf5.Attributes) -> dict[str, str]:
    if unknown := sorted(set(attributes) - _KNOWN):
        raise ModelError(f"unknown attribute {unknown[0]!r}")
    return {name: str(attributes[name]) for name in ("network", "info", "spiking") if name in attributes}


def _renamed(texts: dict[str, str], version: int) -> dict[str, str]:
    """The attribute texts of an older format, with the names of format `VERSION`."""
    if version == VERSION:
        return texts
    network = json.loads(texts.get("network", "{}"))
    for layer in network.get("layers", ()):
        if layer.get("source") == "picture":
            layer["source"] = IMAGE
    return texts | {"network": json.dumps(network)}


def _read(path: Path, *, datasets: bool = True) -> tuple[int, _hdf5.Attributes, _hdf5.Arrays]:
    try:
        data = read_bytes(path, _hdf5.MAX_BYTES)
    except _hdf5.Refused as refused:
        raise ModelError(f"{path}: {refused}; expected a model file") from refused
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{path}: cannot be read: {reason}") from error
    return _unpacked(path, data, datasets=datasets)


def _unpacked(
    path: str | os.PathLike[str], data: bytes, *, datasets: bool = True
) -> tuple[int, _hdf5.Attributes, _hdf5.Arrays]:
    version = _version(path, data)
    try:
        return version, *_hdf5.read(data, datasets=datasets)
    except _hdf5.Refused as refused:
        raise ModelError(f"{path}: not allowed in a model file: {refused}") from refused
    except Exception as error:  # a damaged file can make the library raise anything
        raise _damaged(path, error) from error


def _version(path: str | os.PathLike[str], data: bytes) -> int:
    """The format's version of a file whose header and checksum are right."""
    match = _HEADER.match(data)
    if match is None:
        hint = "the file is empty" if not data else "import a trained network's file with `nspike import` first"
        raise ModelError(f"{path}: not an nspike model file; {hint}")
    version = int(match[1])
    if not 1 <= version <= VERSION:
        raise ModelError(
            f"{path}: has the model format {version}, which needs nspike {match[2].decode(errors='replace')} or "
            f"later; this is nspike {NSPIKE}, which reads formats 1 to {VERSION}"
        )
    if match[2] != _NEEDS.encode() or data[match.end() : _hdf5.HEADER_BYTES].strip(b"\0"):
        raise ModelError(f"{path}: damaged in its header; fetch or make it again")
    if hashlib.sha256(data[_hdf5.HEADER_BYTES :]).hexdigest().encode() != match[3]:
        raise ModelError(f"{path}: damaged: its checksum differs (cut short or changed); fetch or make it again")
    return version


def _damaged(path: str | os.PathLike[str], error: Exception) -> ModelError:
    detail = " ".join(str(error).split())[:200]
    return ModelError(f"{path}: damaged ({type(error).__name__}: {detail}); fetch or make it again")
