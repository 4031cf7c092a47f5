"""A network of any layers on one image, in float64, layer by layer: slow, and short enough to be read."""

import numpy as np
from scipy.special import erf

from nspike.graph import layer as kinds
from nspike.graph import plain_layer as plain

FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
}


def output(network, parameters, image):
    """The network's output before its mode; image (C, H, W), of multiples of the size multiple."""
    p = {name: np.asarray(array, np.float64) for name, array in parameters.items()}
    values = {kinds.IMAGE: np.asarray(image, np.float64)}
    for layer in network.layers:
        values[layer.name] = RUN[type(layer)](layer, [values[source] for source in layer.sources], p)
    result = values[network.output]
    return np.maximum(result, 0) if network.rectify else result


def restored(network, parameters, image):
    """The restored image, not clipped; an image of any size, padded by reflection."""
    multiple = network.size_multiple
    height, width = image.shape[1:]
    padded = pad(image, multiple)
    result = output(network, parameters, padded)
    result = {"image": result, "add": padded + result, "subtract": padded - result}[network.mode] if network.scale == 1 else result
    return result[:, : height * network.scale, : width * network.scale]


def pad(image, multiple):
    height, width = image.shape[1:]
    return np.pad(image, ((0, 0), (0, -height % multiple), (0, -width % multiple)), "reflect")


def conv(layer, read, p):
    (x,) = read
    w, (before, after) = p[f"{layer.parameters}.weight"], layer.pads
    stride, height, width = layer.stride, *x.shape[1:]
    x = np.pad(x, ((0, 0), (before, after), (before, after)))
    out = np.zeros((layer.out_channels, height // stride, width // stride))
    each, inputs = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    for y in range(layer.kernel):
        for z in range(layer.kernel):
            top, left = y * layer.dilation, z * layer.dilation
            part = x[:, top : top + height : stride, left : left + width : stride][:, : height // stride, : width // stride]
            for g in range(layer.groups):
                kernel = w[g * each : (g + 1) * each, :, y, z]
                out[g * each : (g + 1) * each] += np.tensordot(kernel, part[g * inputs : (g + 1) * inputs], 1)
    if layer.bias:
        out += p[f"{layer.parameters}.bias"][:, None, None]
    if layer.batch_norm_eps is not None:
        gamma, beta, mean, var = (p[f"{layer.name}.bn_{n}"][:, None, None] for n in ("weight", "bias", "mean", "var"))
        out = (out - mean) / np.sqrt(var + layer.batch_norm_eps) * gamma + beta
    return out


def activation(layer, read, p):
    ceiling = np.inf if layer.ceiling is None else np.array(layer.ceiling)[:, None, None]
    return np.clip(read[0], -ceiling if layer.signed else 0, ceiling)


def shuffle(x, r):
    c, h, w = x.shape
    return x.reshape(c // r**2, r, r, h, w).transpose(0, 3, 1, 4, 2).reshape(c // r**2, h * r, w * r)


def unshuffle(x, r):
    c, h, w = x.shape
    return x.reshape(c, h // r, r, w // r, r).transpose(0, 2, 4, 1, 3).reshape(c * r**2, h // r, w // r)


def channel_shuffle(x, groups):
    c, h, w = x.shape
    return x.reshape(groups, c // groups, h, w).swapaxes(0, 1).reshape(c, h, w)


def bilinear(x):
    for axis in (1, 2):
        edge = np.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(3)], "edge")
        before, after = (np.take(edge, range(k, k + x.shape[axis]), axis) for k in (0, 2))
        pair = np.stack([before / 4 + 3 * x / 4, 3 * x / 4 + after / 4], axis + 1)
        x = pair.reshape([n * 2 if i == axis else n for i, n in enumerate(x.shape)])
    return x


def blocks(x, size):
    c, h, w = x.shape
    return x.reshape(c, h // size, size, w // size, size)


def pointwise(layer, read, p):
    (x,) = read
    if layer.function in ("leaky_relu", "prelu"):
        slope = layer.slope if layer.function == "leaky_relu" else p[f"{layer.name}.weight"][:, None, None]
        return np.where(x < 0, x * slope, x)
    return FUNCTIONS[layer.function](x)


def layer_norm(layer, read, p):
    (x,) = read
    mean = x.mean(0) if layer.bias else 0
    made = (x - mean) / np.sqrt(x.var(0) + layer.eps) * p[f"{layer.name}.weight"][:, None, None]
    return made + p[f"{layer.name}.bias"][:, None, None] if layer.bias else made


RUN = {
    kinds.Conv: conv,
    kinds.Activation: activation,
    kinds.Concat: lambda layer, read, p: np.concatenate(read),
    kinds.Add: lambda layer, read, p: sum(read),
    kinds.PixelShuffle: lambda layer, read, p: shuffle(read[0], layer.factor),
    kinds.PixelUnshuffle: lambda layer, read, p: unshuffle(read[0], layer.factor),
    kinds.ChannelShuffle: lambda layer, read, p: channel_shuffle(read[0], layer.groups),
    kinds.Slice: lambda layer, read, p: read[0][layer.first : layer.first + layer.channels],
    kinds.Nearest: lambda layer, read, p: read[0].repeat(layer.factor, 1).repeat(layer.factor, 2),
    kinds.Bilinear: lambda layer, read, p: bilinear(read[0]),
    kinds.AveragePool: lambda layer, read, p: blocks(read[0], layer.size).mean((2, 4)),
    kinds.Constant: lambda layer, read, p: np.broadcast_to(
        np.array(layer.values)[:, None, None], (len(layer.values), *read[0].shape[1:])
    ),
    plain.Pointwise: pointwise,
    plain.MaxPool: lambda layer, read, p: blocks(read[0], layer.size).max((2, 4)),
    plain.GlobalPool: lambda layer, read, p: read[0].mean((1, 2), keepdims=True),
    plain.LayerNorm: layer_norm,
    plain.Multiply: lambda layer, read, p: read[0] * read[1],
}
