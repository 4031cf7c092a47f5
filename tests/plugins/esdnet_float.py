"""ESDNet, and SpikerIR of the same parts, as their PyTorch code computes them, in float64 NumPy from a checkpoint's keys."""

import numpy as np

from tests.plugins.spikerir_float import convolve

EPS, THETA = 1e-5, 0.15


class Checkpoint:
    """A random one. kind : "esdnet" or "spikerir_wide"."""

    def __init__(self, kind, width=4, blocks=1, steps=4, channels=3, seed=0):
        self.kind, self.width, self.blocks, self.steps, self.channels = kind, width, blocks, steps, channels
        self.draw, self.tensors = np.random.default_rng(seed), {}
        levels = 3 if kind == "esdnet" else 4
        self._kernel("patch_embed.proj", width, channels, 3, 3)
        for i in range(1, levels + (kind == "esdnet")):
            self._blocks(f"encoder_level{i}", width << i - 1)
        for i in range(1, levels):
            self._normed(
                f"down{i}_{i + 1}.maxpool_conv.1", f"down{i}_{i + 1}.maxpool_conv.2", width << i, width << i - 1
            )
        self._blocks(f"decoder_level{levels}" if kind == "esdnet" else "latent", width << levels - 1)
        for i in range(levels - 1, 0, -1):
            wide, half = width << i, width << i - 1
            self._normed(f"up{i + 1}_{i}.up.1", f"up{i + 1}_{i}.up.2", half, wide)
            if i > 1:
                self._normed(f"reduce_chan_level{i}.1", f"reduce_chan_level{i}.2", half, wide, 1)
            self._blocks(f"decoder_level{i}", max(half, 2 * width))
        if kind == "esdnet":
            wide, less = 2 * width, 2 * width // 8
            shapes = {"ca.1": (less, wide, 1), "ca.3": (wide, less, 1)}
            shapes |= {"sa.0": (wide, wide, 3), "sa.1": (less, wide, 3), "sa.3": (wide, less, 3)}
            for key, (outputs, inputs, size) in shapes.items():
                self._kernel(f"refinement.{key}", outputs, inputs, size, size, bias=True)
        else:
            self._blocks("refinement", 2 * width)
        self._kernel("output.0", channels, 2 * width, 3, 3, bias=True)

    def _kernel(self, key, *shape, bias=False):
        spread = 1 / np.sqrt(np.prod(shape[1:]))
        self.tensors[f"{key}.weight"] = self.draw.normal(0, spread, shape).astype(np.float32)
        if bias:
            self.tensors[f"{key}.bias"] = self.draw.normal(0, 0.1, shape[0]).astype(np.float32)

    def _normed(self, key, norm, outputs, inputs, size=3):
        self._kernel(key, outputs, inputs, size, size)
        parts = {"weight": (0.1, 0.4), "bias": (-0.1, 0.2), "running_mean": (-0.1, 0.1), "running_var": (0.2, 1.0)}
        for part, ends in parts.items():
            self.tensors[f"{norm}.{part}"] = self.draw.uniform(*ends, outputs).astype(np.float32)
        self.tensors[f"{norm}.num_batches_tracked"] = np.array(3)

    def _blocks(self, stem, wide):
        for i in range(self.blocks):
            name = f"{stem}.{i}"
            for key, norm in (("residual.1", "residual.2"), ("residual.4", "residual.5"), ("shortcut.0", "shortcut.1")):
                self._normed(f"{name}.{key}", f"{name}.{norm}", wide, wide)
            less_t, less_c = max(1, self.steps // 4), max(1, wide // 16)
            self._kernel(f"{name}.attn.ta.sharedMLP.0", less_t, self.steps, 1, 1, 1)
            self._kernel(f"{name}.attn.ta.sharedMLP.2", self.steps, less_t, 1, 1, 1)
            self._kernel(f"{name}.attn.ca.sharedMLP.0", less_c, wide, 1, 1, 1)
            self._kernel(f"{name}.attn.ca.sharedMLP.2", wide, less_c, 1, 1, 1)
            self._kernel(f"{name}.attn.sa.conv", 1, 2, 3, 3)


class Simulation:
    """What it makes of an image float64 (C, H, W): `output`, and `margin`, how near a membrane came to its threshold."""

    def __init__(self, checkpoint, image):
        self.t = {key: array.astype(np.float64) for key, array in checkpoint.tensors.items()}
        self.steps, self.blocks, self.margin, self.rates = checkpoint.steps, checkpoint.blocks, np.inf, []
        esdnet = checkpoint.kind == "esdnet"
        levels = 3 if esdnet else 4
        x = self.conv("patch_embed.proj", np.repeat(image[None], self.steps, axis=0))
        skips = []
        for i in range(1, levels):
            skips.append(self.some(f"encoder_level{i}", x))
            x = self.normed(f"down{i}_{i + 1}.maxpool_conv", 1, self.lif(skips[-1]))[:, :, ::2, ::2]
        for stem in ("encoder_level3", "decoder_level3") if esdnet else ("latent",):
            x = self.some(stem, x)
        for i in range(levels - 1, 0, -1):
            up = self.normed(f"up{i + 1}_{i}.up", 1, self.lif(bilinear(x)))
            x = np.concatenate([up, skips[i - 1]], axis=1)
            if i > 1:
                x = self.normed(f"reduce_chan_level{i}", 1, self.lif(x))
            x = self.some(f"decoder_level{i}", x)
        x = self.refined(x.mean(axis=0)) if esdnet else self.some("refinement", x).mean(axis=0)
        self.output = self.conv("output.0", x[None])[0]

    def conv(self, key, x):
        y = convolve(x, self.t[f"{key}.weight"], 1)
        return y + self.t[f"{key}.bias"][:, None, None] if f"{key}.bias" in self.t else y

    def normed(self, stem, number, x):
        y, norm = self.conv(f"{stem}.{number}", x), f"{stem}.{number + 1}"
        gamma, beta, mean, variance = (
            self.t[f"{norm}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (y - mean) / np.sqrt(variance + EPS) * gamma + beta

    def lif(self, currents):
        v, spikes = np.zeros(currents.shape[1:]), []
        for x in currents:
            u = v - v / 2 + x
            self.margin = min(self.margin, np.abs(u - THETA).min())
            spikes.append((u >= THETA).astype(float))
            v = (1 - spikes[-1]) * u
        self.rates.append(np.mean(spikes))
        return np.stack(spikes)

    def some(self, stem, x):
        for i in range(self.blocks):
            name = f"{stem}.{i}"
            inner = self.normed(f"{name}.residual", 1, self.lif(x))
            inner = self.normed(f"{name}.residual", 4, self.lif(inner))
            x = self.attention(f"{name}.attn", inner + self.normed(f"{name}.shortcut", 0, x)) + x
        return x

    def attention(self, stem, x):
        def mlp(part, values):
            first, second = (self.t[f"{stem}.{part}.sharedMLP.{n}.weight"][:, :, 0, 0, 0] for n in (0, 2))
            return second @ np.maximum(first @ values, 0)

        x = x * sigmoid(mlp("ta", x.mean((1, 2, 3))) + mlp("ta", x.max((1, 2, 3))))[:, None, None, None]
        x = x * sigmoid(mlp("ca", x.mean((0, 2, 3))) + mlp("ca", x.max((0, 2, 3))))[:, None, None]
        pooled = np.stack([x.mean((0, 1)), x.max((0, 1))])
        return np.maximum(x * sigmoid(self.conv(f"{stem}.sa.conv", pooled[None])[0, 0]), 0)

    def refined(self, x):
        a = x.mean((1, 2), keepdims=True)[None]
        a = sigmoid(self.conv("refinement.ca.3", np.maximum(self.conv("refinement.ca.1", a), 0)))[0]
        t = self.conv("refinement.sa.1", self.conv("refinement.sa.0", x[None]))
        t = sigmoid(self.conv("refinement.sa.3", np.maximum(t, 0)))[0]
        return (1 - t) * a + t * x


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bilinear(x):
    """Twice the size, between pixel centres."""
    for axis in (2, 3):
        last = x.shape[axis] - 1
        before = np.take(x, np.clip(np.arange(-1, last), 0, last), axis)
        after = np.take(x, np.clip(np.arange(1, last + 2), 0, last), axis)
        pair = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * (last + 1), *x.shape[axis + 1 :])
    return x
