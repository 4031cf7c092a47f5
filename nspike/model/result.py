"""What a run gives: the restored image, and what it cost."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import Ledger
from nspike.images import file as images
from nspike.images.plane import to_pixels


@dataclass(frozen=True, eq=False)
class Result:
    """A restored image.

    Parameters
    ----------
    image : of the input's dtype and channels, alpha included; float64 in [0, 1] for a float input
    ledger : what it cost; of the plain ANN, a ledger without layers that holds the ANN's multiply-accumulates alone
    seconds : the network's time, from pixels to pixels
    icc_profile, exif, dpi : of the input's file, if it came from one; `save` writes them
    """

    image: NDArray[Any]
    ledger: Ledger
    seconds: float
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the image in the format that the suffix of `path` names; complete, or not at all. A file is replaced.

        Floats are rounded to 8 bits, as all floats with black 0 and white 1 are. BMP holds no EXIF and no colour profile.

        Raises
        ------
        OutputError
            an unknown suffix, 16 bits or alpha in a format that cannot hold them, a file that cannot be written.
        """
        pixels = self.image if self.image.dtype.kind == "u" else to_pixels(self.image, np.uint8)
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        alpha = np.ascontiguousarray(pixels[..., -1]) if channels in (2, 4) else None
        pixels = pixels.reshape(*pixels.shape[:2], channels)
        pixels = np.ascontiguousarray(pixels[..., :3] if channels > 2 else pixels[..., 0])
        images.write(path, images.ImageData(pixels, alpha, self.icc_profile, self.exif, self.dpi))

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image.shape))
        counts = f"{self.ledger.spikes:,} spikes, " if self.ledger.layers else ""
        return f"<Result {shape} {self.image.dtype}: {counts}{self.seconds:.2f} s>"
