"""Synthetic checkpoints with the key layouts of the published exports."""

import numpy as np

Tensors = dict[str, np.ndarray]


def chain(
    depth: int, width: int, channels: int = 1, *, stem: str = "model", norm: str = "", bias: str = "all", seed: int = 0
) -> Tensors:
    """A chain of 3×3 convolutions. norm: "", "torch" or "matconvnet"; bias: which convolutions, "all", "ends", "first", ""."""
    rng = np.random.default_rng(seed)
    tensors: Tensors = {}
    numbers = [0, *range(2, 3 * depth - 4, 3), 3 * depth - 4] if norm else [2 * i for i in range(depth)]
    numbers = sorted(set(numbers))
    for i, n in enumerate(numbers):
        reads, out = (width if i else channels), (width if i < depth - 1 else channels)
        key = f"{stem}.{n}"
        tensors[f"{key}.weight"] = rng.normal(0, (2 / (9 * reads)) ** 0.5, (out, reads, 3, 3)).astype(np.float32)
        ends = i in (0, depth - 1)
        if bias == "all" or (bias == "ends" and ends) or (bias == "first" and i == 0):
            tensors[f"{key}.bias"] = rng.normal(0, 0.1, out).astype(np.float32)
        if norm and not ends:
            torch = (f"{stem}.{n + 1}.", ("weight", "bias", "running_mean", "running_var"))
            prefix, parts = torch if norm == "torch" else (f"{key}.bn.", ("gamma", "beta", "mean", "std"))
            for part, low in zip(parts, (0.5, -0.1, -0.1, 0.5), strict=True):
                tensors[prefix + part] = rng.uniform(low, low + 1, out).astype(np.float32)
            if norm == "torch":
                tensors[prefix + "num_batches_tracked"] = np.array(7)
    return tensors


def vdsr(depth: int, width: int, *, stem: str = "", bias: bool = False) -> Tensors:
    """The names of pytorch-vdsr."""
    source = chain(depth, width, stem="x", bias="all" if bias else "")
    names = ["input", *(f"residual_layer.{i}.conv" for i in range(depth - 2)), "output"]
    renamed = {f"x.{2 * i}": stem + name for i, name in enumerate(names)}
    return {f"{renamed[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": array for key, array in source.items()}


def aod(stem: str = "conv", *, bias: bool = True, seed: int = 0) -> Tensors:
    """AOD-Net, of weights that give a plausible K."""
    rng = np.random.default_rng(seed)
    tensors: Tensors = {}
    for i, (reads, kernel) in enumerate(((3, 1), (3, 3), (6, 5), (6, 7), (12, 3)), start=1):
        tensors[f"{stem}{i}.weight"] = rng.normal(0, 1 / (reads * kernel**2) ** 0.5, (3, reads, kernel, kernel)).astype(
            np.float32
        )
        if bias:
            tensors[f"{stem}{i}.bias"] = rng.uniform(0.1, 0.4, 3).astype(np.float32)
    return tensors
