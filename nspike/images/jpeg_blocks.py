"""How a JPEG file was quantised: the steps of its brightness, and where its blocks of 8×8 pixels begin."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 8
_LUMA_KINDS = {("L", 1), ("RGB", 3)}
_RGB_CODED = 0
"""Adobe's mark for colours that are stored as they are, not as luma and chroma."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The quantisation of luma (of grey images: of the image).

    steps : int64 (8, 8), the quantisation step of each vertical (row) and horizontal (column) frequency of an orthonormal
        DCT, in grey levels
    top, left : row and column of the first whole block, 0 to 7
    """

    steps: NDArray[np.int64]
    top: int = 0
    left: int = 0

    def turned(self, orientation: int, height: int, width: int) -> "Blocks":
        """Those of the image as it is to be seen; `height` and `width` are those that are stored, under this orientation."""
        if orientation >= 5:
            height, width = width, height
        return Blocks(
            self.steps.T if orientation >= 5 else self.steps,
            height % SIDE if orientation in (3, 4, 7, 8) else 0,
            width % SIDE if orientation in (2, 3, 6, 7) else 0,
        )


def blocks_of(image: "Image") -> Blocks | None:
    """The blocks of a JPEG that Pillow has opened; None where its channels are not luma and chroma, or it does not say."""
    layers, tables = getattr(image, "layer", None), getattr(image, "quantization", None)
    if not layers or not tables or (image.mode, len(layers)) not in _LUMA_KINDS:
        return None
    if len(layers) == 3 and image.info.get("adobe_transform") == _RGB_CODED:
        return None
    steps = np.array(tables.get(layers[0][3], ()), np.int64)
    if steps.size != SIDE * SIDE or steps.min() < 1:
        return None
    return Blocks(steps.reshape(SIDE, SIDE))
