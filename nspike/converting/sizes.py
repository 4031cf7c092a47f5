"""Calibration images cut to sizes that a network runs on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError
from nspike.graph.network import Network

Plane = NDArray[np.float32]


def checked(
    network: Network, images: Sequence[Plane], targets: Sequence[Plane] | None
) -> tuple[list[Plane], list[Plane] | None]:
    """The images (C, H, W) cut to multiples of the size multiple, right and below, and the targets likewise.

    Raises BadInputError for images or targets that do not fit.
    """
    multiple, scale = network.size_multiple, network.scale
    for what, given in (("images", images), ("targets", [] if targets is None else targets)):
        if not _arrays(given):
            raise BadInputError(f"the calibration {what} are no list of arrays ({network.channels}, H, W)")
    if not len(images):
        raise BadInputError("a conversion needs at least one calibration image")
    for i, image in enumerate(images):
        if image.ndim != 3 or len(image) != network.channels or 0 in image.shape:
            raise BadInputError(f"calibration image {i} is {image.shape}, expected ({network.channels}, H, W)")
        if not np.all(np.isfinite(image)):
            raise BadInputError(f"calibration image {i} holds NaN or infinity")
        if min(image.shape[1:]) < multiple:
            raise BadInputError(
                f"calibration image {i} is {image.shape[1]}×{image.shape[2]}; the network runs on multiples of {multiple}"
            )
    expected = [(p.shape[0], p.shape[1] * scale, p.shape[2] * scale) for p in images]
    if targets is not None and [t.shape for t in targets] != expected:
        times = f"{scale} times " if scale > 1 else ""
        raise BadInputError(f"the clean images are not of {times}the shapes of the calibration images")
    sides = [tuple(side - side % multiple for side in image.shape[1:]) for image in images]
    cut = [image[:, :height, :width] for image, (height, width) in zip(images, sides, strict=True)]
    if targets is None:
        return cut, None
    return cut, [t[:, : scale * height, : scale * width] for t, (height, width) in zip(targets, sides, strict=True)]


def _arrays(given: object) -> bool:
    if isinstance(given, list | tuple):
        return all(isinstance(each, np.ndarray) for each in given)
    return isinstance(given, np.ndarray)


def side_of(network: Network, side: int) -> int:
    """The largest multiple of the size multiple up to `side`; the size multiple if that is larger."""
    multiple = network.size_multiple
    return max(side - side % multiple, multiple)
