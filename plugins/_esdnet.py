"""ESDNet's parts (Song et al., MingTian99/ESDNet) as layers: a spiking network in floats, its T steps side by side.

    block    x <- attention(R(x) + S(x)) + x;   R: LIF - conv 3×3 - bn - LIF - conv 3×3 - bn;   S: conv 3×3 - bn
    down     LIF - conv 3×3 of stride 2 - bn
    up       bilinear ×2 - LIF - conv 3×3 - bn, beside the encoder's of that level; all but the last: LIF - conv 1×1 - bn

LIF: τ = 2, θ = 0.15, hard reset, the input not decayed. S and the attention are not driven by spikes.
"""

from dataclasses import dataclass, field
from typing import Any

from nspike_plugins._keyed import Keys, Parameters

from nspike import Add, Bilinear, Concat, Conv, Leaky, Network, Slice, StepAttention, StepMean, take

THETA = 0.15
KEEP = 0.5
REDUCED = 16
"""Into how many parts attention divides channels for its perceptron."""
_EPS = 1e-5
_MLP = {
    "time1": "ta.sharedMLP.0",
    "time2": "ta.sharedMLP.2",
    "channel1": "ca.sharedMLP.0",
    "channel2": "ca.sharedMLP.2",
}


@dataclass
class Builder:
    """The layers so far, and where in a checkpoint the parameters of each are.

    steps : T. stems, norms : convolution -> the stem of its keys, and of its batch norm's. attentions : layer -> stem.
    """

    steps: int
    layers: list[Any] = field(default_factory=list)
    stems: dict[str, str] = field(default_factory=dict)
    norms: dict[str, str] = field(default_factory=dict)
    attentions: dict[str, str] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """The name of the last layer."""
        return str(self.layers[-1].name)

    def conv(
        self, name: str, source: str, sizes: tuple[int, int], stem: str, norm: str, *, kernel: int = 3, stride: int = 1
    ) -> str:
        """A convolution of each step, of (C_in, C_out) channels, and its batch norm."""
        inputs, outputs = (self.steps * size for size in sizes)
        padding = (1, 1) if stride > 1 else None
        self.layers.append(
            Conv(name, source, inputs, outputs, kernel, False, _EPS, stride, padding=padding, repeats=self.steps)
        )
        self.stems[name], self.norms[name] = stem, norm
        return name

    def fired(self, name: str, source: str, width: int) -> str:
        """The neurons of a current."""
        self.layers.append(Leaky(name, source, self.steps * width, self.steps, THETA, KEEP))
        return name

    def embed(self, channels: int, width: int) -> str:
        """The image's current, the same at every step."""
        self.layers.append(Conv("embed", "image", channels, width, 3, False))
        self.stems["embed"] = "patch_embed.proj"
        self.layers.append(Concat("embed_steps", ("embed",) * self.steps))
        return "embed_steps"

    def blocks(self, name: str, stem: str, source: str, width: int, count: int) -> str:
        """`count` residual blocks; the name of the last."""
        for i in range(count):
            source = self._block(f"{name}_block{i + 1}", f"{stem}.{i}", source, width)
        return source

    def _block(self, name: str, stem: str, source: str, width: int) -> str:
        sizes = (width, width)
        fired = self.fired(f"{name}_lif1", source, width)
        inner = self.conv(f"{name}_conv1", fired, sizes, f"{stem}.residual.1", f"{stem}.residual.2")
        fired = self.fired(f"{name}_lif2", inner, width)
        inner = self.conv(f"{name}_conv2", fired, sizes, f"{stem}.residual.4", f"{stem}.residual.5")
        beside = self.conv(f"{name}_shortcut", source, sizes, f"{stem}.shortcut.0", f"{stem}.shortcut.1")
        gated = f"{name}_attention"
        self.layers += [
            Add(f"{name}_both", (inner, beside)),
            StepAttention(
                gated, f"{name}_both", self.steps * width, self.steps, max(1, self.steps // 4), max(1, width // REDUCED)
            ),
            Add(name, (gated, source)),
        ]
        self.attentions[gated] = f"{stem}.attn"
        return name

    def down(self, name: str, stem: str, source: str, width: int) -> str:
        """Half the size, twice the channels."""
        fired = self.fired(f"{name}_lif", source, width)
        return self.conv(name, fired, (width, 2 * width), f"{stem}.maxpool_conv.1", f"{stem}.maxpool_conv.2", stride=2)

    def up(self, name: str, stem: str, source: str, width: int, skip: str, reduce: str | None) -> str:
        """Twice the size, half the `width` channels, beside `skip`; `reduce` : the keys' stem of what halves both together."""
        half = width // 2
        self.layers.append(Bilinear(f"{name}_large", source))
        fired = self.fired(f"{name}_lif", f"{name}_large", width)
        self.conv(name, fired, (width, half), f"{stem}.up.1", f"{stem}.up.2")
        parts = []
        for t in range(self.steps):
            for part, read in (("up", name), ("skip", skip)):
                parts.append(f"{name}_{part}{t + 1}")
                self.layers.append(Slice(parts[-1], read, t * half, half))
        self.layers.append(Concat(f"{name}_both", tuple(parts)))
        if reduce is None:
            return f"{name}_both"
        fired = self.fired(f"{name}_reduce_lif", f"{name}_both", width)
        return self.conv(f"{name}_reduce", fired, (width, half), f"{reduce}.1", f"{reduce}.2", kernel=1)

    def mean(self, source: str) -> str:
        """The mean over the steps."""
        self.layers.append(StepMean("mean", source, self.steps))
        return "mean"

    def read(self, network: Network, keys: Keys) -> tuple[Network, Parameters]:
        """The network and its parameters, from a checkpoint's keys."""
        wanted = keys.wanted(network, self.stems, norms=self.norms)
        squeezed = {}
        for layer in network.of_kind(StepAttention):
            stem = self.attentions[layer.name]
            for part, shape in layer.parameter_shapes.items():
                key = keys.key(f"{stem}.{_MLP[part]}.weight" if part in _MLP else f"{stem}.sa.conv.weight")
                wanted[f"{layer.name}.{part}"] = key, (*shape, 1, 1, 1) if part in _MLP else shape
                squeezed[f"{layer.name}.{part}"] = shape
        parameters = take(network.name, keys.tensors, wanted)
        return network, parameters | {name: parameters[name].reshape(shape) for name, shape in squeezed.items()}


def counted_by_thop(network: Network) -> tuple[str, ...]:
    """The layers that are of torch.nn types: attention's parts, and what comes after the mean over the steps."""
    after = {"mean"}
    for layer in network.layers:
        if after.intersection(layer.sources):
            after.add(layer.name)
    return tuple(
        layer.name for layer in network.layers if layer.name in after or layer in network.of_kind(StepAttention)
    )
