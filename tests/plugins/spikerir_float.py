"""SpikerIR's small network as PyTorch would run it, in float64 NumPy, from the keys of its checkpoint and not from a graph."""

import itertools

import numpy as np

EPS, TIMESTEPS = 1e-5, 4


def tensors(width=48, group=12, blocks=2, levels=4, channels=3, noise_level=0, seed=0):
    """A random checkpoint, whose layers fire neither always nor never."""
    draw, found = np.random.default_rng(seed), {}

    def kernel(key, *shape, gain=1.0):
        found[f"{key}.weight"] = draw.normal(0, gain / np.sqrt(np.prod(shape[1:])), shape)

    def norm(key, size):
        found[f"{key}.weight"] = draw.uniform(0.1, 0.3, size) * draw.choice([-1, 1], size)
        found[f"{key}.bias"] = draw.normal(0.03, 0.08, size)
        found[f"{key}.running_mean"] = draw.normal(0, 0.2, size)
        found[f"{key}.running_var"] = draw.uniform(0.2, 1.0, size)
        found[f"{key}.num_batches_tracked"] = np.array(7)

    def some(stage, wide):
        for i in range(blocks):
            kernel(f"{stage}.{i}.dw", wide, 1, 3, 3)
            norm(f"{stage}.{i}.bn1", wide)
            kernel(f"{stage}.{i}.gp", wide, group, 1, 1)
            norm(f"{stage}.{i}.bn2", wide)

    kernel("embed", width, channels + noise_level, 3, 3)
    for i in range(1, levels):
        some(f"enc{i}", width << i - 1)
        kernel(f"down{i}.conv", width << i, 4, 1, 1)
        norm(f"down{i}.bn", width << i)
    some("latent", width << levels - 1)
    for i in range(levels - 1, 0, -1):
        kernel(f"up{i}.conv", width << i + 1, 4, 1, 1)
        norm(f"up{i}.bn", width << i - 1)
        some(f"dec{i}", width << i - 1)
    kernel("out", channels, width, 3, 3, gain=0.1)
    found["out.bias"] = draw.normal(0, 0.01, channels)
    return {key: array.astype(np.float32) if array.ndim else array for key, array in found.items()}


def convolve(x, weight, groups):
    """x (T, C, H, W), zero-padded, tap by tap."""
    outputs, each, size, _ = weight.shape
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2)).reshape(
        len(x), groups, each, height + size - 1, -1
    )
    kernel = weight.reshape(groups, -1, each, size, size)
    out = np.zeros((len(x), groups, outputs // groups, height, width))
    for i, j in itertools.product(range(size), repeat=2):
        out += np.einsum("goi,tgihw->tgohw", kernel[..., i, j], padded[..., i : i + height, j : j + width])
    return out.reshape(len(x), outputs, height, width)


def folded(tensors):
    """Stem -> kernel and bias float64, batch norm folded: that of a shuffled channel into its four."""
    found = {}
    for key in tensors:
        if not key.endswith((".dw.weight", ".gp.weight", ".conv.weight", "embed.weight", "out.weight")):
            continue
        stem = key.removesuffix(".weight")
        weight, bias = tensors[key].astype(np.float64), tensors.get(f"{stem}.bias")
        bias = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
        if stem not in ("embed", "out"):
            last = stem.rpartition(".")[2]
            norm = stem.removesuffix(last) + {"dw": "bn1", "gp": "bn2", "conv": "bn"}[last]
            parts = (tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
            times = 4 if stem.startswith("up") else 1
            gamma, beta, mean, variance = (np.repeat(part.astype(np.float64), times) for part in parts)
            factor = gamma / np.sqrt(variance + EPS)
            weight, bias = weight * factor[:, None, None, None], beta - mean * factor
        found[stem] = weight, bias
    return found


def simulate(kernels, image, fire, levels=4):
    """The output (C, H, W), and the spikes of every layer in order: (name, bool (T, C, H, W)).

    kernels : stem -> kernel and bias. fire : (name, current (T, C, H, W)) -> spikes. image : float64 (C, H, W).
    """
    spikes = []

    def lif(name, current):
        spikes.append((name, fire(name, current)))
        return spikes[-1][1].astype(np.float64)

    def conv(stem, x, groups=1):
        weight, bias = kernels[stem]
        return convolve(x, weight, groups) + bias[:, None, None]

    def some(stage, x):
        blocks = sum(key.startswith(f"{stage}.") and key.endswith(".dw") for key in kernels)
        for i in range(blocks):
            name = f"{stage}_block{i + 1}"
            y = lif(f"{name}_lif2", conv(f"{stage}.{i}.dw", lif(f"{name}_lif1", x), x.shape[1]))
            groups = x.shape[1] // kernels[f"{stage}.{i}.gp"][0].shape[1]
            y = conv(f"{stage}.{i}.gp", y, groups)
            t, c, h, w = y.shape
            x = x + y.reshape(t, groups, c // groups, h, w).swapaxes(1, 2).reshape(y.shape)
        return x

    def unshuffled(x):
        t, c, h, w = x.shape
        return x.reshape(t, c, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(t, 4 * c, h // 2, w // 2)

    def shuffled(x):
        t, c, h, w = x.shape
        return x.reshape(t, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(t, c // 4, 2 * h, 2 * w)

    x = np.repeat(conv("embed", image[None]), TIMESTEPS, axis=0)
    skips = []
    for i in range(1, levels):
        skips.append(some(f"enc{i}", x))
        x = conv(f"down{i}.conv", unshuffled(lif(f"down{i}_lif", skips[-1])), skips[-1].shape[1])
    x = some("latent", x)
    for i in range(levels - 1, 0, -1):
        x = shuffled(conv(f"up{i}.conv", lif(f"up{i}_lif", x), x.shape[1] // 4)) + skips.pop()
        x = some(f"dec{i}", x)
    return conv("out", lif("out_lif", x)).mean(axis=0), spikes


def leaky(theta=0.15, tau=2.0, hard=True):
    """SpikingJelly's LIFNode(tau, decay_input=False, v_threshold=theta, v_reset=0.0 or None)."""

    def fire(name, current):
        v, spikes = np.zeros(current.shape[1:]), []
        for x in current:
            u = v * (1 - 1 / tau) + x
            s = u >= theta
            v = np.where(s, 0.0, u) if hard else u - s * theta
            spikes.append(s)
        return np.stack(spikes)

    return fire


def leaky_on_grids(thetas, exponents):
    """The same with hard reset and τ = 2 on integers: halved membranes are rounded to their channel's grid, half up."""

    def fire(name, current):
        k = exponents[name][:, None, None]
        whole = np.ldexp(current, k)
        assert np.array_equal(whole, np.rint(whole)), name
        v, spikes, theta = np.zeros(current.shape[1:], np.int64), [], thetas[name][:, None, None]
        for x in whole.astype(np.int64):
            u = (v + 1 >> 1) + x
            s = u >= theta
            v = np.where(s, 0, u)
            spikes.append(s)
        return np.stack(spikes)

    return fire
