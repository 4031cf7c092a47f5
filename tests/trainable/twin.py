"""A spiking network of any layers in PyTorch, float64, from the rounded integers and the definitions, one layer after another.

Values are those of the integers, gradients those of the floats: rounding is passed straight through, the firing test has a
surrogate. Neurons: if, mprn, mprn_beta, and their signed forms. Head: membrane.
"""

import numpy as np

from nspike.graph import layer as kinds
from nspike.graph.arrange import parts
from nspike.graph.values import values
from nspike.integer.normalise import threshold_factors
from nspike.integer.rounding import build
from nspike.integer.spike_channels import inputs
from nspike.model.model import OUTPUT


class Twin:
    """A `DifferentiableNetwork` in PyTorch. `run` gives the restored images and the rates; `parameters` the tensors."""

    def __init__(self, torch, net, pixels):
        self.torch, self.net, self.model = torch, net, net.to_model()
        self.network, self.integers = self.model.network, build(self.model, net.neuron, net.head)
        self.parameters = {
            name: torch.tensor(t.data.astype(np.float64), requires_grad=True) for name, t in net.parameters().items()
        }
        self.values = self.model.spiking.neuron_parameters[net.neuron.name]
        self.factors = threshold_factors(self.network, self.model.spiking)
        self.writers = {writer.name: writer for writer in self.integers.writers}
        self.fused = {stage.layer.name: stage for stage in self.integers.stages if stage.fused}
        self.carries = values(self.network.layers)
        self.pixels = pixels
        self.steps = range(1, self.integers.steps + 1)

        class Fire(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return (x >= 0).double()

            @staticmethod
            def backward(ctx, g):
                return g * torch.as_tensor(net.surrogate(ctx.saved_tensors[0].numpy()))

        self.fire = Fire.apply

    def through(self, exact, value):
        """`exact` forward, the gradient of `value` backward."""
        return value + (self.torch.as_tensor(np.asarray(exact)) - value).detach()

    def own(self, name, key, default=None):
        return self.parameters.get(f"{name}.{key}", self.values.get(name, {}).get(key, default))

    def fires(self, name, t):
        if t <= self.integers.timesteps or name == OUTPUT:
            return 1.0
        if self.net.neuron.name == "mprn":
            return 0.5 * self.torch.sigmoid(self.torch.as_tensor(self.own(name, "beta"))) + 0.5
        return self.own(name, "alpha")

    def worth(self, name, t):
        late = self.net.neuron.name == "mprn_beta" and t > self.integers.timesteps and name != OUTPUT
        return self.own(name, "beta") if late else 1.0

    # ----- layers -----

    def run(self):
        known = {kinds.IMAGE: self.torch.as_tensor(self.pixels / 65535.0)}
        for layer in self.network.layers:
            known[layer.name] = self.layer(layer, known)
        output, _ = self.neurons(self.integers.stage(OUTPUT), known[self.network.output])
        image = known[kinds.IMAGE]
        restored = output
        if self.network.mode != "image":
            restored = image + (output if self.network.mode == "add" else -output)
        rates = {}
        for a in self.network.activations:
            up_to = known[a.name][: self.integers.timesteps]
            planes = up_to[0].shape[1] // a.channels
            rates[a.name] = sum(s.mean() for s in up_to) / self.integers.timesteps * planes
        return restored, rates

    def layer(self, layer, known):
        if isinstance(layer, kinds.Activation):
            return self.neurons(self.integers.stage(layer.name), known[layer.source])
        if isinstance(layer, kinds.Conv):
            return self.conv(layer, known)
        if isinstance(layer, kinds.Gate):
            return self.gate(layer, known)
        if isinstance(layer, kinds.Constant):
            plane = np.rint(np.array(layer.values) * 65535) / 65535
            like = known[layer.source]
            return self.torch.as_tensor(plane)[None, :, None, None].expand(len(like), -1, *like.shape[2:])
        read = [known[source] for source in layer.sources]
        if self.carries[layer.name] == "image":
            return self.moved(layer, read, 1)
        if self.carries[layer.name] == "spikes" and len(layer.sources) > 1:
            return [self.torch.cat(each, dim=1) for each in zip(*read, strict=True)]  # part after part
        planes = 1
        if self.carries[layer.name] == "spikes":
            planes = len(self.integers.planes(layer.name))
            read = [[self.plane_major(layer, each, planes) for each in read[0]]]
        return [self.moved(layer, each, planes) for each in zip(*read, strict=True)]

    def plane_major(self, layer, spikes, planes):
        """The parts of a concatenation, each plane-major, as one that is."""
        widths = [planes * self.network.widths[part] for part in parts(self.network, layer.name)]
        split = [x.reshape(len(x), planes, -1, *x.shape[2:]) for x in spikes.split(widths, dim=1)]
        return self.torch.cat(split, dim=2).flatten(1, 2)

    def moved(self, layer, read, planes):
        torch, f, x = self.torch, self.torch.nn.functional, read[0]
        count = len(x)
        if planes > 1:
            x = x.reshape(count * planes, -1, *x.shape[2:])
        if isinstance(layer, kinds.Add):
            return sum(read)
        if isinstance(layer, kinds.Concat):
            return torch.cat(read, dim=1)
        y = {
            kinds.AveragePool: lambda: f.avg_pool2d(x, layer.size),
            kinds.Bilinear: lambda: f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
            kinds.PixelShuffle: lambda: f.pixel_shuffle(x, layer.factor),
            kinds.PixelUnshuffle: lambda: f.pixel_unshuffle(x, layer.factor),
            kinds.ChannelShuffle: lambda: f.channel_shuffle(x, layer.groups),
            kinds.Slice: lambda: x[:, layer.first : layer.first + layer.channels],
            kinds.Nearest: lambda: x.repeat_interleave(layer.factor, 2).repeat_interleave(layer.factor, 3),
        }[type(layer)]()
        return y.reshape(count, -1, *y.shape[2:])

    def numbers(self, name):
        """Integer weights, biases, exponents."""
        if name in self.writers:
            writer = self.writers[name]
            return writer.weights, writer.bias, writer.exponent
        integer = self.fused[name].integer
        return integer.weights, integer.bias, integer.exponent

    def biases(self, name):
        _, bias, k = self.numbers(name)
        exact = np.ldexp(bias.astype(float), -k)[:, None, None]
        if f"{name}.bias" not in self.parameters:
            return self.torch.as_tensor(exact)
        return self.through(exact, self.parameters[f"{name}.bias"][:, None, None])

    def correlate(self, conv, x, weight):
        before, after = conv.pads
        x = self.torch.nn.functional.pad(x, (before, after, before, after))
        return self.torch.nn.functional.conv2d(
            x, weight, stride=conv.stride, dilation=conv.dilation, groups=conv.groups
        )

    def conv(self, conv, known):
        torch, timesteps, smooth = self.torch, self.integers.timesteps, self.parameters[f"{conv.name}.weight"]
        weights, _, k = self.numbers(conv.name)
        unit, bias = np.ldexp(1.0, -k), self.biases(conv.name)
        if self.carries.get(conv.source, "image") == "image":
            image = known[conv.source]
            whole = self.correlate(conv, torch.round(image * 65535), torch.as_tensor(weights[0].astype(float)))
            exact = np.rint(whole.numpy() / 65535.0) * unit[:, None, None]
            current = self.through(exact, self.correlate(conv, image, smooth)) + bias
            return [current if t <= timesteps else torch.zeros_like(current) for t in self.steps]
        read = inputs(self.network, conv.name, conv.groups, self.integers.planes)
        currents = []
        for t in self.steps:
            exact = weights[min(int(t > timesteps), len(weights) - 1)] * unit[:, None, None, None]
            amplitudes = [self.amplitude(part, t) for part in read.parts]
            rows = []
            for group, kernel in enumerate(smooth.chunk(conv.groups)):
                local = read.channels[group] - group * conv.in_channels // conv.groups
                worth = torch.stack([amplitudes[part] for part in read.part[group]]) * torch.as_tensor(
                    read.gains[group]
                )
                rows.append(kernel[:, local] * worth[:, None, None])
            spikes = known[conv.source][t - 1][:, read.places.ravel()]
            current = self.correlate(conv, spikes, self.through(exact, torch.cat(rows)))
            currents.append(current + bias if t <= timesteps else current)
        return currents

    def amplitude(self, part, t):
        names = [a.name for a in self.network.activations]
        name = part if part in names else self.network.activations_into(part)[0].name
        return self.torch.as_tensor(self.worth(name, t), dtype=self.torch.float64)

    def gate(self, gate, known):
        part = self.writers.get(gate.name) or self.fused[gate.name]
        _, _, k = self.numbers(gate.name)
        unit = np.ldexp(1.0, -k)[:, None, None]
        worth = self.torch.as_tensor(np.rint((self.pixels / 65535.0 - 1) * part.gate[:, None, None] / unit) * unit)
        bias = self.biases(gate.name)
        return [known[gate.source][t - 1] * worth + (bias if t <= self.integers.timesteps else 0) for t in self.steps]

    # ----- neurons -----

    def neurons(self, stage, currents):
        """The spikes of every step, planes side by side; of the output layer, what the head reads."""
        torch, name, k = self.torch, stage.name, stage.integer.exponent
        threshold = self.parameters.get(f"{name}.threshold", torch.ones(1, dtype=torch.float64))
        factor = torch.as_tensor(self.factors[name])
        smooth = torch.as_tensor(self.net._neurons[name].ratio) * threshold * factor
        theta = self.through(np.ldexp(stage.integer.theta.astype(float), -k), smooth)[:, None, None]
        start = np.ldexp(stage.v0.astype(float), -k)[:, None, None]
        initial = self.own(name, "v_init", 0.0) if name != OUTPUT else 0.0
        v = self.through(start, initial * theta).expand_as(currents[0])
        fired = []
        for t, current in zip(self.steps, currents, strict=True):
            u = v + current
            if name == OUTPUT:
                v = u
                continue
            at = self.through(
                np.ldexp(stage.threshold[t - 1].astype(float), -k)[:, None, None], self.fires(name, t) * theta
            )
            spent = self.through(
                np.ldexp(stage.reset[t - 1].astype(float), -k)[:, None, None], self.worth(name, t) * theta
            )
            signs = [1.0, -1.0] if len(stage.neuron.planes) == 2 else [1.0]
            spikes = [self.fire((sign * u - at) / factor[:, None, None]) for sign in signs]
            v = u - spent * sum(sign * s for sign, s in zip(signs, spikes, strict=True))
            fired.append(torch.cat(spikes, dim=1))
        if name != OUTPUT:
            return fired
        scale = torch.as_tensor(self.integers.output_scale)[:, None, None]
        return (v - torch.as_tensor(start)) / self.integers.timesteps * scale, None
