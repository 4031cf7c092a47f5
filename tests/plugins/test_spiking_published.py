"""Spiking networks built in PyTorch with the keys that they are published with: nspike computes what they do."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import nspike
from nspike.ann.run import run as plain
from tests.plugins import spikerir_float as floats
from tests.plugins.esdnet_float import Checkpoint

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Lif(nn.Module):
    """SpikingJelly's LIFNode(tau=2, decay_input=False, v_threshold=0.15, v_reset=0) on (T, N, C, H, W)."""

    def forward(self, x):
        v, spikes = torch.zeros_like(x[0]), []
        for current in x:
            v = v - v / 2 + current
            spikes.append((v - 0.15 >= 0).to(x.dtype))
            v = (1 - spikes[-1]) * v
        return torch.stack(spikes)


class Seq(nn.Module):
    """A layer of (N, C, H, W) at every step; its parameters have the layer's own names."""

    def forward(self, x):
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Conv(Seq, nn.Conv2d):
    pass


class Norm(Seq, nn.BatchNorm2d):
    pass


def conv(inputs, outputs, kernel=3, stride=1, groups=1):
    return Conv(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def attend(channels, ratio):
    return nn.Sequential(
        nn.Conv3d(channels, channels // ratio, 1, bias=False),
        nn.ReLU(),
        nn.Conv3d(channels // ratio, channels, 1, bias=False),
    )


class Shared(nn.Module):
    def __init__(self, channels, ratio):
        super().__init__()
        self.sharedMLP = attend(channels, ratio)
        self.avg_pool, self.max_pool = nn.AdaptiveAvgPool3d(1), nn.AdaptiveMaxPool3d(1)

    def forward(self, x):
        return torch.sigmoid(self.sharedMLP(self.avg_pool(x)) + self.sharedMLP(self.max_pool(x)))


class Attention(nn.Module):
    def __init__(self, steps, channels):
        super().__init__()
        self.ta, self.ca = Shared(steps, min(4, steps)), Shared(channels, min(16, channels))
        self.sa = nn.Module()
        self.sa.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, x):
        x = x.transpose(0, 1)
        x = self.ta(x) * x
        x = self.ca(x.transpose(1, 2)).transpose(1, 2) * x
        flat = x.flatten(1, 2)
        pooled = torch.cat([flat.mean(1, keepdim=True), flat.max(1, keepdim=True)[0]], 1)
        return torch.relu(torch.sigmoid(self.sa.conv(pooled).unsqueeze(1)) * x).transpose(0, 1)


class Block(nn.Module):
    def __init__(self, steps, width):
        super().__init__()
        parts = [Lif(), conv(width, width), Norm(width), Lif(), conv(width, width), Norm(width)]
        self.residual = nn.Sequential(*parts)
        self.shortcut = nn.Sequential(conv(width, width), Norm(width))
        self.attn = Attention(steps, width)

    def forward(self, x):
        return self.attn(self.residual(x) + self.shortcut(x)) + x


class Down(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.maxpool_conv = nn.Sequential(Lif(), conv(width, 2 * width, stride=2), Norm(2 * width))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up = nn.Sequential(Lif(), conv(width, width // 2), Norm(width // 2))

    def forward(self, x):
        return self.up(torch.stack([F.interpolate(step, scale_factor=2, mode="bilinear") for step in x]))


class Refinement(nn.Module):
    def __init__(self, width):
        super().__init__()
        less = width // 8
        self.ca = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, less, 1), nn.ReLU(), nn.Conv2d(less, width, 1), nn.Sigmoid()
        )
        parts = [nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, less, 3, 1, 1), nn.ReLU()]
        self.sa = nn.Sequential(*parts, nn.Conv2d(less, width, 3, 1, 1), nn.Sigmoid())

    def forward(self, x):
        a, t = self.ca(x), self.sa(x)
        return torch.mul(1 - t, a) + torch.mul(t, x)


class Net(nn.Module):
    """ESDNet, or SpikerIR of its parts."""

    def __init__(self, kind, width, steps, channels=3):
        super().__init__()
        self.esdnet, self.steps = kind == "esdnet", steps
        self.levels = 3 if self.esdnet else 4
        self.patch_embed = nn.Module()
        self.patch_embed.proj = conv(channels, width)

        def some(wide):
            return nn.Sequential(Block(steps, wide))

        for i in range(1, self.levels):
            self.add_module(f"encoder_level{i}", some(width << i - 1))
            self.add_module(f"down{i}_{i + 1}", Down(width << i - 1))
        deep = width << self.levels - 1
        self.names = ("encoder_level3", "decoder_level3") if self.esdnet else ("latent",)
        for name in self.names:
            self.add_module(name, some(deep))
        for i in range(self.levels - 1, 0, -1):
            wide, half = width << i, width << i - 1
            self.add_module(f"up{i + 1}_{i}", Up(wide))
            if i > 1:
                self.add_module(f"reduce_chan_level{i}", nn.Sequential(Lif(), conv(wide, half, 1), Norm(half)))
            self.add_module(f"decoder_level{i}", some(max(half, 2 * width)))
        self.refinement = Refinement(2 * width) if self.esdnet else some(2 * width)
        self.output = nn.Sequential(nn.Conv2d(2 * width, channels, 3, 1, 1))

    def forward(self, image):
        x, skips = self.patch_embed.proj(image.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)), []
        for i in range(1, self.levels):
            skips.append(getattr(self, f"encoder_level{i}")(x))
            x = getattr(self, f"down{i}_{i + 1}")(skips[-1])
        for name in self.names:
            x = getattr(self, name)(x)
        for i in range(self.levels - 1, 0, -1):
            x = torch.cat([getattr(self, f"up{i + 1}_{i}")(x), skips[i - 1]], dim=2)
            x = getattr(self, f"reduce_chan_level{i}")(x) if i > 1 else x
            x = getattr(self, f"decoder_level{i}")(x)
        x = self.refinement(x.mean(0)) if self.esdnet else self.refinement(x).mean(0)
        return self.output(x)


@pytest.mark.parametrize(("kind", "width", "seed"), [("esdnet", 8, 29), ("spikerir_wide", 4, 15)])
def test_networks_of_esdnets_parts(tmp_path, kind, width, seed):
    """The seeds are those of test_esdnet.py, with which no membrane is near its threshold."""
    module = Net(kind, width, 4).double().eval()
    found = Checkpoint(kind, width=width, seed=seed).tensors
    module.load_state_dict({key: torch.as_tensor(array) for key, array in found.items()})
    save_file(found, tmp_path / "net.safetensors")
    model = nspike.import_checkpoint(tmp_path / "net.safetensors", kind)
    image = np.random.default_rng(5).random((3, 16, 24)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(image[None]).double()).numpy()
    np.testing.assert_allclose(plain(model.network, model.parameters, image[None]), expected, atol=1e-5)


class LiteBlock(nn.Module):
    def __init__(self, width, group):
        super().__init__()
        self.dw, self.bn1 = conv(width, width, groups=width), Norm(width)
        self.gp, self.bn2 = conv(width, width, 1, groups=width // group), Norm(width)
        self.lif, self.groups = Lif(), width // group

    def forward(self, x):
        y = self.bn2(self.gp(self.lif(self.bn1(self.dw(self.lif(x))))))
        t, n, c, h, w = y.shape
        return x + y.view(t * n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(t, n, c, h, w)


class Step(nn.Module):
    """Half the size (down) or twice (up)."""

    def __init__(self, width, down):
        super().__init__()
        self.conv = conv(4 * width if down else width, 2 * width, 1, groups=width if down else width // 4)
        self.bn, self.down, self.lif = Norm(2 * width if down else width // 2), down, Lif()

    def forward(self, x):
        x = self.lif(x)
        return self.bn(self.conv(F.pixel_unshuffle(x, 2))) if self.down else self.bn(F.pixel_shuffle(self.conv(x), 2))


class Lite(nn.Module):
    def __init__(self, width=48, group=12, blocks=2):
        super().__init__()
        self.embed, self.out = conv(3, width), nn.Conv2d(width, 3, 3, padding=1)
        wide = {1: width, 2: 2 * width, 3: 4 * width, 4: 8 * width}
        for i, name in [(1, "enc1"), (2, "enc2"), (3, "enc3"), (4, "latent"), (3, "dec3"), (2, "dec2"), (1, "dec1")]:
            self.add_module(name, nn.Sequential(*(LiteBlock(wide[i], group) for _ in range(blocks))))
        for i in (1, 2, 3):
            self.add_module(f"down{i}", Step(wide[i], True))
            self.add_module(f"up{i}", Step(wide[i + 1], False))

    def forward(self, image):
        x, skips = self.embed(image.unsqueeze(0).repeat(4, 1, 1, 1, 1)), []
        for i in (1, 2, 3):
            skips.append(getattr(self, f"enc{i}")(x))
            x = getattr(self, f"down{i}")(skips[-1])
        x = self.latent(x)
        for i in (3, 2, 1):
            x = getattr(self, f"dec{i}")(getattr(self, f"up{i}")(x) + skips[i - 1])
        return self.out(Lif()(x).flatten(0, 1)).unflatten(0, (4, 1)).mean(0)


def test_the_small_spikerir():
    """What the engine is compared with in test_spikerir_lite.py."""
    module, found = Lite().double().eval(), floats.tensors()
    assert sum(parameter.numel() for parameter in module.parameters()) == 65475
    module.load_state_dict({key: torch.as_tensor(array) for key, array in found.items()})
    image = np.random.default_rng(3).integers(0, 256, (3, 32, 40)) / 255.0
    with torch.no_grad():
        expected = module(torch.from_numpy(image[None])).numpy()
    simulated, _ = floats.simulate(floats.folded(found), image, floats.leaky())
    np.testing.assert_allclose(simulated, expected[0], atol=1e-10)
