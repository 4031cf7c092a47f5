"""Whether an imported network computes what the framework did that it comes from: nothing in a file says it all."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError, DifferenceError
from nspike.files.foreign import Refused, open_regular
from nspike.graph.mode import restored
from nspike.model.model import Model, check_plain

TOLERANCE = 1e-3
"""Of black to white: float32 sums in another order differ by less than a hundredth of it, another network by far more."""

_MAX_BYTES = 2**31


@dataclass(frozen=True)
class Check:
    """How far the outputs are apart, of black to white.

    largest, mean : of the absolute differences; of : "image" where the framework's output is the restored image,
    "network" where it is what the network adds to it or takes from it.
    """

    largest: float
    mean: float
    of: str


def check_output(model: Model, given: str | os.PathLike[str], expected: str | os.PathLike[str]) -> Check:
    """Run the plain network of `model` on an array and compare with what the framework made of it.

    Parameters
    ----------
    given, expected : .npy files of floats, black 0 and white 1: (C, H, W), (N, C, H, W), or (H, W) of one channel. The
        output is the restored image, or the network's own output before it is added or subtracted.

    Raises
    ------
    BadInputError
        that names the file: it is no such array, or the shapes do not suit.
    DifferenceError
        a value differs by more than `TOLERANCE`.
    """
    from nspike.ann.run import run
    from nspike.graph.folding import fold_batch_norm

    check_plain(model, "leave out --check")
    image, output = _array(model, given), _array(model, expected)
    network, parameters = fold_batch_norm(model.network, model.parameters)
    scale, multiple = network.scale, network.size_multiple
    shape = (*image.shape[:2], image.shape[2] * scale, image.shape[3] * scale)
    if shape != output.shape:
        raise BadInputError(f"{expected}: is {output.shape}; expected {shape}, as {given} is {image.shape}")
    if image.shape[2] % multiple or image.shape[3] % multiple:
        raise BadInputError(f"{given}: is {image.shape}; expected a height and a width that {multiple} divides")
    raw = run(network, parameters, image)
    ways = ({"image": restored(network.mode, image, raw)} if scale == 1 else {}) | {"network": raw}
    checks = [Check(*_apart(values, output), name) for name, values in ways.items()]
    best = min(checks, key=lambda check: check.largest)
    if not best.largest <= TOLERANCE:
        raise DifferenceError(
            f"{expected}: differs from what the imported network makes of {given} by up to {best.largest:.3g}, on average "
            f"{best.mean:.3g} (allowed: {TOLERANCE:g}): it is another architecture, or the file holds other weights"
        )
    return best


def _apart(a: NDArray[Any], b: NDArray[Any]) -> tuple[float, float]:
    difference = np.abs(a.astype(np.float64) - b)
    return float(difference.max()), float(difference.mean())


def _array(model: Model, path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """The array of a .npy file as float32 (N, C, H, W)."""
    try:
        with open_regular(path, _MAX_BYTES) as stream:
            values = np.lib.format.read_array(stream, allow_pickle=False)
    except Refused as refused:
        raise BadInputError(f"{path}: {refused}; expected a .npy file") from refused
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can make NumPy raise anything
        raise BadInputError(f"{path}: is no array of numbers in a .npy file ({error})") from error
    channels = model.network.channels
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 3:
        values = values[None]
    if values.dtype.kind != "f" or values.ndim != 4 or values.shape[1] != channels or not values.size:
        raise BadInputError(
            f"{path}: is {values.dtype} {values.shape}; expected floats (N, {channels}, H, W), black 0 and white 1"
        )
    if not np.isfinite(values).all():
        raise BadInputError(f"{path}: holds values that are not finite")
    return np.ascontiguousarray(values, np.float32)
