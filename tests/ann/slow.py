"""The plain network in float64 as its definitions say it, whole and slow."""

import math
from dataclasses import replace

import numpy as np

from nspike.graph.layer import IMAGE, Conv


def convolve(conv, x, weight, bias):
    before, after = conv.pads
    padded = np.pad(x, ((0, 0), (before, after), (before, after)))
    height, width = (side // conv.stride for side in x.shape[1:])
    out = np.zeros((conv.out_channels, height, width))
    inner, each = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    for o in range(conv.out_channels):
        for i in range(inner):
            plane = padded[o // each * inner + i]
            for dy in range(conv.kernel):
                for dx in range(conv.kernel):
                    y, x0 = dy * conv.dilation, dx * conv.dilation
                    part = plane[y :: conv.stride, x0 :: conv.stride][:height, :width]
                    out[o] += weight[o, i, dy, dx] * part
    return out + bias[:, None, None]


def _conv(layer, network, p, x):
    if layer.repeats > 1:
        count = layer.repeats
        one = replace(
            layer, in_channels=layer.in_channels // count, out_channels=layer.out_channels // count, repeats=1
        )
        return np.concatenate([_conv(one, network, p, part) for part in np.split(x, count)])
    weight = np.asarray(p[f"{layer.parameters}.weight"], np.float64)
    bias = np.asarray(p[f"{layer.parameters}.bias"], np.float64) if layer.bias else np.zeros(layer.out_channels)
    y = convolve(layer, x, weight, bias)
    if layer.batch_norm_eps is not None:
        gamma, beta, mean, var = (
            np.repeat(np.asarray(p[f"{layer.name}.bn_{part}"], np.float64), layer.normed_together)[:, None, None]
            for part in ("weight", "bias", "mean", "var")
        )
        y = (y - mean) / np.sqrt(var + layer.batch_norm_eps) * gamma + beta
    return y


def _activation(layer, network, p, x):
    y = x if layer.signed else np.maximum(x, 0)
    if layer.ceiling is None:
        return y
    top = np.broadcast_to(np.asarray(layer.ceiling, float), (layer.channels,))[:, None, None]
    least = -top if layer.signed else 0 * top
    if layer.levels is None:
        return np.clip(y, least, top)
    return (
        top * np.clip(np.floor(y * layer.levels / top + 0.5), layer.levels * least / top, layer.levels) / layer.levels
    )


def _pixel_shuffle(layer, network, p, x):
    r = layer.factor
    out = np.zeros((len(x) // r**2, x.shape[1] * r, x.shape[2] * r))
    for c in range(len(out)):
        for i in range(r):
            for j in range(r):
                out[c, i::r, j::r] = x[c * r**2 + i * r + j]
    return out


def _pixel_unshuffle(layer, network, p, x):
    r = layer.factor
    return np.stack([x[c, i::r, j::r] for c in range(len(x)) for i in range(r) for j in range(r)])


def _channel_shuffle(layer, network, p, x):
    out, each = np.zeros_like(x), len(x) // layer.groups
    for i in range(layer.groups):
        for j in range(each):
            out[j * layer.groups + i] = x[i * each + j]
    return out


def _bilinear(layer, network, p, x):
    for axis in (1, 2):
        x = np.moveaxis(x, axis, 0)
        n = len(x)
        out = np.zeros((2 * n, *x.shape[1:]))
        for j in range(n):
            out[2 * j] = x[max(j - 1, 0)] / 4 + 3 * x[j] / 4
            out[2 * j + 1] = 3 * x[j] / 4 + x[min(j + 1, n - 1)] / 4
        x = np.moveaxis(out, 0, axis)
    return x


def _blocks(layer, x):
    s = layer.size
    return x.reshape(len(x), x.shape[1] // s, s, x.shape[2] // s, s)


def _middle(f, x):
    taken = slice(f // 2 - 1, f // 2 + 1)
    return x.reshape(len(x), x.shape[1] // f, f, x.shape[2] // f, f)[:, :, taken, :, taken]


def _pointwise(layer, network, p, x):
    sigmoid = 1 / (1 + np.exp(-x))
    return {
        "leaky_relu": lambda: np.where(x < 0, x * layer.slope, x),
        "prelu": lambda: np.where(x < 0, x * np.asarray(p[f"{layer.name}.weight"], float)[:, None, None], x),
        "sigmoid": lambda: sigmoid,
        "tanh": lambda: np.tanh(x),
        "gelu": lambda: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
        "silu": lambda: x * sigmoid,
        "hard_sigmoid": lambda: np.clip(x + 3, 0, 6) / 6,
        "hard_swish": lambda: x * np.clip(x + 3, 0, 6) / 6,
        "complement": lambda: 1 - x,
    }[layer.function]()


def _layer_norm(layer, network, p, x):
    weight = np.asarray(p[f"{layer.name}.weight"], float)[:, None, None]
    scale = np.sqrt(x.var(axis=0) + layer.eps)
    if not layer.bias:
        return weight * x / scale
    return weight * (x - x.mean(axis=0)) / scale + np.asarray(p[f"{layer.name}.bias"], float)[:, None, None]


def _attention(layer, network, p, q, k, v):
    out, each = np.zeros_like(v), layer.channels // layer.heads
    for head in range(layer.heads):
        part = slice(head * each, (head + 1) * each)
        a, b = (x[part].reshape(each, -1) for x in (q, k))
        a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
        score = np.exp(a @ b.T * float(p[f"{layer.name}.temperature"][head]))
        score /= score.sum(axis=1, keepdims=True)
        out[part] = (score @ v[part].reshape(each, -1)).reshape(v[part].shape)
    return out


def _leaky(layer, network, p, x):
    v, spikes = 0.0, []
    for current in np.split(x, layer.steps):
        u = layer.keep * v + current
        spikes.append(u >= layer.threshold)
        v = np.where(spikes[-1], 0.0, u)
    return np.concatenate(spikes).astype(float)


def _step_attention(layer, network, p, x):
    """Gate after gate, as Yao et al. have it."""
    own = {part: np.asarray(p[f"{layer.name}.{part}"], float) for part in layer.parameter_shapes}

    def gate(kind, *pooled):
        answers = [own[f"{kind}2"] @ np.maximum(own[f"{kind}1"] @ values, 0) for values in pooled]
        return 1 / (1 + np.exp(-sum(answers)))

    y = x.reshape(layer.steps, -1, *x.shape[1:])
    y = y * gate("time", y.mean((1, 2, 3)), y.max((1, 2, 3)))[:, None, None, None]
    y = y * gate("channel", y.mean((0, 2, 3)), y.max((0, 2, 3)))[None, :, None, None]
    z = y.reshape(x.shape)
    conv = Conv("", "", 2, 1, layer.kernel)
    place = convolve(conv, np.stack([z.mean(0), z.max(0)]), own["space"], np.zeros(1))
    return np.maximum(z / (1 + np.exp(-place)), 0)


def _prompt(layer, network, p, x, scores):
    shares = np.exp(scores[:, 0, 0])
    planes = np.einsum("k,kcij->cij", shares / shares.sum(), np.asarray(p[f"{layer.name}.weight"], float))
    out = np.zeros((layer.channels, *x.shape[1:]))
    for y in range(x.shape[1]):
        for z in range(x.shape[2]):
            for c in range(layer.channels):
                at = [
                    min(max((i + 0.5) * layer.size / n - 0.5, 0), layer.size - 1)
                    for i, n in zip((y, z), x.shape[1:], strict=True)
                ]
                for i in range(layer.size):
                    for j in range(layer.size):
                        share = max(0, 1 - abs(at[0] - i)) * max(0, 1 - abs(at[1] - j))
                        out[c, y, z] += share * planes[c, i, j]
    return out


def _frequency_split(layer, network, p, x, shares):
    """By Fourier transforms of all, whose middle is moved to the middle of the array."""
    height, width = x.shape[1:]
    half = [
        int(np.float32(side // layer.block) * np.float32(s))
        for side, s in zip(x.shape[1:], shares.ravel(), strict=True)
    ]
    mask = np.zeros((height, width))
    y, z = height // 2, width // 2
    mask[y - half[0] : y + half[0], z - half[1] : z + half[1]] = 1
    moved = np.fft.fftshift(np.fft.fft2(x), axes=(1, 2))
    parts = [np.abs(np.fft.ifft2(np.fft.ifftshift(moved * m, axes=(1, 2)))) for m in (mask, 1 - mask)]
    return np.concatenate(parts)


SLOW = {
    "Conv": _conv,
    "Activation": _activation,
    "Concat": lambda layer, network, p, *read: np.concatenate(read),
    "Add": lambda layer, network, p, *read: sum(read),
    "Gate": lambda layer, network, p, x, image: x * (image - 1) + 1,
    "PixelShuffle": _pixel_shuffle,
    "PixelUnshuffle": _pixel_unshuffle,
    "ChannelShuffle": _channel_shuffle,
    "Slice": lambda layer, network, p, x: x[layer.first : layer.first + layer.channels],
    "Nearest": lambda layer, network, p, x: np.kron(x, np.ones((1, layer.factor, layer.factor))),
    "Bilinear": _bilinear,
    "AveragePool": lambda layer, network, p, x: _blocks(layer, x).mean((2, 4)),
    "Constant": lambda layer, network, p, x: np.array(layer.values)[:, None, None] + np.zeros((1, *x.shape[1:])),
    "Pointwise": _pointwise,
    "MaxPool": lambda layer, network, p, x: _blocks(layer, x).max((2, 4)),
    "GlobalPool": lambda layer, network, p, x: getattr(x, layer.function)((1, 2), keepdims=True),
    "LayerNorm": _layer_norm,
    "Multiply": lambda layer, network, p, x, y: x * y,
    "Attention": _attention,
    "Leaky": _leaky,
    "StepAttention": _step_attention,
    "StepMean": lambda layer, network, p, x: sum(np.split(x, layer.steps)) / layer.steps,
    "Shrink": lambda layer, network, p, x: _middle(layer.factor, x).mean((2, 4)),
    "ChannelPool": lambda layer, network, p, x: np.stack([x.max(0), x.mean(0)]),
    "Prompt": _prompt,
    "FrequencySplit": _frequency_split,
}


def run(network, parameters, image):
    """Every layer's value float64 (C, h, w) by name, on an image (C, H, W); the output under "output" too."""
    values = {IMAGE: np.asarray(image, np.float64)}
    for layer in network.layers:
        kind = type(layer).__name__
        read = [values[source] for source in layer.sources] + ([values[IMAGE]] if kind == "Gate" else [])
        values[layer.name] = SLOW[kind](layer, network, parameters, *read)
    out = values[network.output]
    return values | {"output": np.maximum(out, 0) if network.rectify else out}
