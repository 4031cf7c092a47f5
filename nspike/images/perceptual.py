"""LPIPS: how different two images look to a trained network (Zhang et al., CVPR 2018), on AlexNet.

    d = Σ_l mean over pixels of Σ_c w_lc·(f_lc(a) - f_lc(b))²,  f_l normalised over the channels of layer l

Computed by the authors' package `lpips` (`pip install "nspike[lpips]"`), which holds w. The weights of AlexNet are a file
that the user names, `torchvision`'s alexnet-owt-*.pth; nothing is downloaded. A figure for tables: PyTorch computes it, so its
last digits may differ between machines.
"""

import hashlib
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError, UsageError

SMALLEST = 63
"""The side in pixels below which AlexNet has nothing left to compare."""

_TRUNK = {"slice1.0": 0, "slice2.3": 3, "slice3.6": 6, "slice4.8": 8, "slice5.10": 10}
"""The convolutions in the package's order -> their numbers in torchvision's `features`."""


class Perceptual:
    """LPIPS with the AlexNet of a file.

    Parameters
    ----------
    weights : a PyTorch file of AlexNet's parameters as torchvision names them, features.0.weight and so on.

    Raises
    ------
    UsageError
        without nspike[lpips].
    BadInputError
        a file that cannot be read or is no AlexNet.
    """

    def __init__(self, weights: str | os.PathLike[str]) -> None:
        if missing := [name for name in ("torch", "torchvision", "lpips") if importlib.util.find_spec(name) is None]:
            raise UsageError(f'LPIPS needs {" and ".join(missing)}: pip install "nspike[lpips]"')
        self.weights = Path(weights)
        try:
            self.sha256 = hashlib.sha256(self.weights.read_bytes()).hexdigest()
        except OSError as error:
            raise BadInputError(f"{weights}: cannot be read: {error.strerror or error}") from error
        self._network = self._load()

    def distance(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
        """LPIPS of two images of one shape, (H, W) or (H, W, 3), black 0 and white 1; None for images below `SMALLEST`."""
        import torch

        if a.shape != b.shape:
            raise BadInputError(f"only images of one size can be compared, not {a.shape} with {b.shape}")
        if min(a.shape[:2]) < SMALLEST:
            return None
        with torch.inference_mode():
            return float(self._network(_tensor(a), _tensor(b)))

    def _load(self) -> Any:
        try:
            import lpips
            import torch
        except Exception as error:  # a torchvision that was built for another torch fails in ways of its own
            raise UsageError(f"lpips cannot be imported, do torch and torchvision belong together? {error}") from error
        try:
            state = torch.load(self.weights, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a file that is no PyTorch file makes of it
            raise BadInputError(f"{self.weights}: is no PyTorch file of parameters") from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's, about how lpips asks for an untrained AlexNet
            network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        own = network.net.state_dict()
        for name, number in _TRUNK.items():
            for part in ("weight", "bias"):
                key, target = f"features.{number}.{part}", own[f"{name}.{part}"]
                value = state.get(key) if isinstance(state, dict) else None
                if value is None or tuple(value.shape) != tuple(target.shape):
                    raise BadInputError(
                        f"{self.weights}: is not torchvision's AlexNet: expected {key} of shape {tuple(target.shape)}"
                    )
                target.copy_(value)
        return network.eval()


def _tensor(image: NDArray[np.float64]) -> Any:
    import torch

    planes = image if image.ndim == 3 else np.stack([image] * 3, axis=2)
    return torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1)[None], np.float32)) * 2 - 1
