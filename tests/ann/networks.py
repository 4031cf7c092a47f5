"""Random networks of all kinds of layers, and parameters for them."""

from fractions import Fraction

import numpy as np

from nspike.graph.geometry import parameter_shapes
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Constant,
    Conv,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.graph.plain_layer import (
    FUNCTIONS,
    Attention,
    ChannelPool,
    FrequencySplit,
    GlobalPool,
    LayerNorm,
    Leaky,
    MaxPool,
    Multiply,
    Pointwise,
    Prompt,
    Shrink,
    StepAttention,
    StepMean,
)


class _Builder:
    def __init__(self, seed, plain):
        self.draw = np.random.default_rng(seed)
        self.channels = int(self.draw.choice([1, 3]))
        self.plain = plain
        self.layers = []
        self.known = {IMAGE: (self.channels, Fraction(1))}

    def add(self, layer, channels, scale):
        self.layers.append(layer)
        self.known[layer.name] = (channels, scale)
        return layer.name

    def pick(self, fits=lambda channels, scale: True):
        """One of the tensors that fit, late ones more often; None if there is none."""
        names = [name for name, (channels, scale) in self.known.items() if scale is not None and fits(channels, scale)]
        return names[min(len(names) - 1, int(len(names) * self.draw.random() ** 0.5))] if names else None

    def conv(self, name, source, out=None, kernel=None):
        channels, scale = self.known[source]
        groups = int(self.draw.choice([1, 1, channels, 2 if channels % 2 == 0 else 1]))
        if out is not None:
            groups = 1
        out = groups * int(self.draw.integers(1, 1 + max(1, 12 // groups))) if out is None else out
        kernel = int(self.draw.choice([1, 2, 3, 3, 5])) if kernel is None else kernel
        dilation = int(self.draw.choice([1, 1, 2]))
        stride = int(self.draw.choice([1, 1, 2])) if scale > Fraction(1, 4) and kernel > 1 else 1
        span = dilation * (kernel - 1)
        total = int(self.draw.integers(max(0, span + 1 - stride), span + 1))
        before = int(self.draw.integers(0, total + 1))
        padding = None if self.draw.random() < 0.5 else (before, total - before)
        norm = 1e-3 if self.draw.random() < 0.2 else None
        layer = Conv(
            name, source, channels, out, kernel, bool(self.draw.integers(2)), norm, stride, dilation, groups, padding
        )
        return self.add(layer, out, scale / stride)

    def step(self, i):
        name, draw = f"layer{i}", self.draw
        source = self.pick()
        channels, scale = self.known[source]
        kinds = ["conv"] * 4 + ["act"] * 3 + ["add", "add", "concat", "slice", "channels", "constant", "tied"]
        kinds += ["shuffle", "unshuffle", "nearest", "bilinear", "average"]
        if self.plain:
            kinds += ["pointwise"] * 3 + ["max", "norm", "attention", "squeeze", "multiply"]
            kinds += ["leaky", "gates", "mean", "repeated"]
            kinds += ["shrink", "spatial", "prompt", "split"]
        kind = draw.choice(kinds)
        if kind == "conv":
            self.conv(name, source)
        elif kind == "act":
            ceiling = [None, None, (0.5,), tuple(draw.uniform(0.2, 1.0, channels).tolist())][draw.integers(4)]
            levels = int(draw.integers(2, 6)) if ceiling is not None and draw.random() < 0.3 and self.plain else None
            self.add(Activation(name, source, channels, ceiling, levels, bool(draw.random() < 0.3)), channels, scale)
        elif kind == "tied":
            free = [
                c
                for c in self.layers
                if isinstance(c, Conv) and c.tied is None and c.batch_norm_eps is None and c.repeats == 1
            ]
            owner = free[draw.integers(len(free))] if free else None
            read = self.pick(
                lambda c, s: owner is not None and (c, s) == (owner.in_channels, self.known[owner.source][1])
            )
            if owner is not None and read is not None:
                fields = (owner.in_channels, owner.out_channels, owner.kernel, owner.bias, None)
                more = (owner.stride, owner.dilation, owner.groups, owner.padding, owner.name)
                self.add(Conv(name, read, *fields, *more), *self.known[owner.name])
        elif kind in ("add", "multiply"):
            other = self.pick(lambda *each: each == (channels, scale))
            layer = Add(name, (source, other)) if kind == "add" else Multiply(name, (source, other))
            self.add(layer, channels, scale)
        elif kind == "concat":
            other = self.pick(lambda c, s: s == scale and c + channels < 24)
            if other is not None:
                self.add(Concat(name, (source, other)), channels + self.known[other][0], scale)
        elif kind == "slice":
            first = int(draw.integers(channels))
            taken = int(draw.integers(1, channels - first + 1))
            self.add(Slice(name, source, first, taken), taken, scale)
        elif kind == "channels":
            groups = int(draw.choice([g for g in range(1, channels + 1) if channels % g == 0]))
            self.add(ChannelShuffle(name, source, groups), channels, scale)
        elif kind == "constant":
            values = tuple(draw.uniform(0, 1, 2).tolist())
            self.add(Constant(name, source, values), 2, scale)
        elif kind == "shuffle" and channels % 4 == 0 and scale < 2:
            self.add(PixelShuffle(name, source, 2), channels // 4, scale * 2)
        elif kind == "unshuffle" and scale > Fraction(1, 4) and channels <= 4:
            self.add(PixelUnshuffle(name, source, 2), channels * 4, scale / 2)
        elif kind in ("nearest", "bilinear") and scale < 2:
            layer = Nearest(name, source, 2) if kind == "nearest" else Bilinear(name, source)
            self.add(layer, channels, scale * 2)
        elif kind in ("average", "max") and scale > Fraction(1, 4):
            layer = AveragePool(name, source, 2) if kind == "average" else MaxPool(name, source, 2)
            self.add(layer, channels, scale / 2)
        elif kind == "pointwise":
            self.add(Pointwise(name, source, channels, str(draw.choice(FUNCTIONS)), 0.2), channels, scale)
        elif kind == "norm":
            self.add(LayerNorm(name, source, channels, bool(draw.integers(2)), 1e-3), channels, scale)
        elif kind == "attention":
            heads = int(draw.choice([h for h in (1, 2, 3) if channels % h == 0]))
            names = tuple(self.pick(lambda *each: each == (channels, scale)) for _ in range(3))
            self.add(Attention(name, names, channels, heads), channels, scale)
        elif kind in ("leaky", "gates", "mean", "repeated"):
            steps = int(draw.choice([t for t in (1, 2, 3, 4) if channels % t == 0]))
            layer, out = {
                "leaky": lambda: (Leaky(name, source, channels, steps, 0.3, 0.75), channels),
                "gates": lambda: (StepAttention(name, source, channels, steps, 1, 2), channels),
                "mean": lambda: (StepMean(name, source, steps), channels // steps),
                "repeated": lambda: (Conv(name, source, channels, 2 * steps, 3, repeats=steps), 2 * steps),
            }[kind]()
            self.add(layer, out, scale)
        elif kind == "squeeze":
            self.add(GlobalPool(f"{name}.pool", source, str(draw.choice(["mean", "max"]))), channels, None)
            self.add(Pointwise(f"{name}.gate", f"{name}.pool", channels, "sigmoid"), channels, None)
            self.add(Multiply(name, (source, f"{name}.gate")), channels, scale)

        elif kind == "shrink" and scale > Fraction(1, 4):
            self.add(Shrink(name, source, 2), channels, scale / 2)
        elif kind == "spatial":
            self.add(ChannelPool(f"{name}.pool", source), 2, scale)
            self.add(Conv(f"{name}.gate", f"{name}.pool", 2, 1, 3), 1, scale)
            self.add(Multiply(name, (source, f"{name}.gate")), channels, scale)
        elif kind == "prompt":
            self.add(GlobalPool(f"{name}.pool", source), channels, None)
            self.add(Conv(f"{name}.scores", f"{name}.pool", channels, 3, 1), 3, None)
            self.add(Prompt(name, (source, f"{name}.scores"), 4, 3, int(draw.integers(1, 6))), 4, scale)
        elif kind == "split" and channels < 12:
            self.add(GlobalPool(f"{name}.pool", source), channels, None)
            self.add(Conv(f"{name}.rate", f"{name}.pool", channels, 2, 1), 2, None)
            self.add(Pointwise(f"{name}.share", f"{name}.rate", 2, "sigmoid"), 2, None)
            self.add(
                FrequencySplit(name, (source, f"{name}.share"), channels, int(draw.choice([2, 3, 5]))),
                2 * channels,
                scale,
            )

    def finish(self, scale_to_one):
        source = self.layers[-1].name if self.layers else IMAGE
        if self.known[source][1] is None:
            source = IMAGE
        i = 0
        while self.known[source][1] < 1:
            i += 1
            channels, scale = self.known[source]
            source = self.add(Nearest(f"up{i}", source, 2), channels, scale * 2)
        while scale_to_one and self.known[source][1] > 1:
            i += 1
            channels, scale = self.known[source]
            source = self.add(Conv(f"down{i}", source, channels, channels, 3, stride=2), channels, scale / 2)
        draw = self.draw.random()
        ends = bool(self.layers) and source == self.layers[-1].name
        if ends and self.known[source][0] == self.channels and draw < 0.3:
            return source
        channels, scale = self.known[source]
        source = self.add(Conv("tail", source, channels, self.channels, 3), self.channels, scale)
        if draw > 0.7:
            source = self.add(Activation("end", source, self.channels), self.channels, scale)
        return source


def random_network(seed, *, plain=False, steps=14):
    """A network of convertible layers, and with `plain` of all; its size multiple is a power of two."""
    builder = _Builder(seed, plain)
    for i in range(steps):
        builder.step(i)
    mode = "image" if builder.draw.random() < 0.5 else str(builder.draw.choice(["add", "subtract"]))
    output = builder.finish(mode != "image")
    return Network("random", builder.channels, tuple(builder.layers), output, mode, bool(builder.draw.random() < 0.2))


def random_parameters(network, seed=0):
    """Parameters of a spread with which values stay about as large as they are."""
    draw = np.random.default_rng(seed)
    parameters = {}
    for layer in network.layers:
        for name, shape in parameter_shapes(layer).items():
            part = name.rsplit(".", 1)[1]
            if len(shape) == 4:
                values = draw.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
            elif part in ("bn_var", "temperature", "bn_weight"):
                values = draw.uniform(0.5, 1.5, shape)
            else:
                values = draw.normal(0, 0.2, shape)
            parameters[name] = values.astype(np.float32)
    return parameters
