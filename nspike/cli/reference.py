"""What `audit --reference` measures: the quality of a result, and of the input, against the clean image."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def clean_image(reference: str, pixels: "NDArray[Any]", scale: int | None, max_pixels: int) -> "NDArray[Any]":
    """The clean image of a result. Raises BadInputError where it is of another size than the result will have."""
    from nspike.errors import BadInputError
    from nspike.images.file import read

    clean = read(reference, max_pixels=max_pixels).pixels
    factor = scale or 1
    expected = (factor * pixels.shape[0], factor * pixels.shape[1], *pixels.shape[2:])
    if clean.shape != expected:
        raise BadInputError(
            f"{reference}: is {_size(clean.shape)}, but the result of the image will be {_size(expected)}"
        )
    return clean


def quality(pixels: "NDArray[Any]", image: "NDArray[Any]", clean: "NDArray[Any]") -> dict[str, Any]:
    """ "output" and, where it has the result's size, "input": PSNR, SSIM and MAE as `nspike run --reference` reports them.

    None stands for an infinite PSNR, and for the SSIM of images smaller than its window.
    """
    import numpy as np

    from nspike.degradations.protocols import compare

    unit = float(np.iinfo(clean.dtype).max)
    named = ({"input": pixels} if pixels.shape == image.shape else {}) | {"output": image}
    values: dict[str, Any] = {}
    for name, shown in named.items():
        values[name] = compare(shown, clean, 1.0, unit=unit).figures()
    return values


def in_words(values: dict[str, Any]) -> str:
    """ "PSNR 20.17 -> 28.93 dB, SSIM 0.4512 -> 0.8410", the SSIM under the Gaussian window."""
    ends = [values[name] for name in ("input", "output") if name in values]
    psnr = " -> ".join("infinite" if end["psnr"] is None else f"{end['psnr']:.2f}" for end in ends)
    text = f"PSNR {psnr} dB"
    if all(end["ssim_gauss11"] is not None for end in ends):
        text += f", SSIM {' -> '.join(format(end['ssim_gauss11'], '.4f') for end in ends)}"
    return text


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} {'grey' if len(shape) == 2 else 'RGB'}"
