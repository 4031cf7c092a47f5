"""The networks of published repositories, built in PyTorch with their keys: what they compute is what nspike computes."""

import itertools

import numpy as np
import pytest
from safetensors.numpy import save_file

import nspike
from nspike.ann.run import run
from nspike.graph.mode import restored

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def conv(inputs, outputs, kernel=3, *, bias=True, dilation=1):
    return nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=bias)


def chain(sizes, act=nn.ReLU, dilations=None):
    layers = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        layers += [conv(inputs, outputs, dilation=1 if dilations is None else dilations[i]), act()]
    return nn.Sequential(*layers[:-1])


class Srcnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(1, 8, 9), conv(8, 6, 5), conv(6, 1, 5)

    def forward(self, x):
        return self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))


class Fsrcnn(nn.Module):
    def __init__(self, scale):
        super().__init__()
        mid = [conv(8, 4, 1), nn.PReLU(4), conv(4, 4), nn.PReLU(4), conv(4, 4), nn.PReLU(4), conv(4, 8, 1), nn.PReLU(8)]
        self.first_part = nn.Sequential(conv(1, 8, 5), nn.PReLU(8))
        self.mid_part = nn.Sequential(*mid)
        self.last_part = nn.ConvTranspose2d(8, 1, 9, stride=scale, padding=4, output_padding=scale - 1)

    def forward(self, x):
        return self.last_part(self.mid_part(self.first_part(x)))


class Espcn(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.first_part = nn.Sequential(conv(1, 8, 5), nn.Tanh(), conv(8, 6), nn.Tanh())
        self.last_part = nn.Sequential(conv(6, scale**2), nn.PixelShuffle(scale))

    def forward(self, x):
        return self.last_part(self.first_part(x))


class MeanShift(nn.Conv2d):
    def __init__(self, sign):
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3).reshape(3, 3, 1, 1)
        self.bias.data = sign * 255 * torch.tensor([0.4488, 0.4371, 0.4040])


class EdsrBlock(nn.Module):
    def __init__(self, width, scale):
        super().__init__()
        self.body, self.scale = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width)), scale

    def forward(self, x):
        return x + self.body(x) * self.scale


class Edsr(nn.Module):
    """On values up to 255."""

    def __init__(self, width, blocks, scale):
        super().__init__()
        up = []
        for _ in range(scale // 2 if scale != 3 else 1):
            factor = 3 if scale == 3 else 2
            up += [conv(width, width * factor**2), nn.PixelShuffle(factor)]
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.Sequential(conv(3, width))
        of_blocks = [EdsrBlock(width, 0.1 if width == 256 else 1) for _ in range(blocks)]
        self.body = nn.Sequential(*of_blocks, conv(width, width))
        self.tail = nn.Sequential(nn.Sequential(*up), conv(width, 3))

    def forward(self, x):
        x = self.head(self.sub_mean(x * 255))
        return self.add_mean(self.tail(x + self.body(x))) / 255


class BasicBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class BasicEdsr(nn.Module):
    def __init__(self, width, blocks):
        super().__init__()
        self.conv_first, self.conv_after_body, self.conv_last = conv(3, width), conv(width, width), conv(width, 3)
        self.body = nn.Sequential(*(BasicBlock(width) for _ in range(blocks)))
        self.upsample = nn.Sequential(conv(width, 4 * width), nn.PixelShuffle(2))

    def forward(self, x):
        mean = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1)
        x = self.conv_first((x - mean) * 255)
        return self.conv_last(self.upsample(x + self.conv_after_body(self.body(x)))) / 255 + mean


class Residual(nn.Module):
    def __init__(self, sizes, dilations=None):
        super().__init__()
        self.model = chain(sizes, dilations=dilations)

    def forward(self, x):
        return x - self.model(x)


class Ffdnet(nn.Module):
    def __init__(self, channels, width, depth):
        super().__init__()
        self.model = chain([4 * channels + 1, *[width] * (depth - 1), 4 * channels])

    def forward(self, x, sigma):
        x = F.pixel_unshuffle(x, 2)
        return F.pixel_shuffle(self.model(torch.cat([x, torch.full_like(x[:, :1], sigma)], 1)), 2)


class ResBlock(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.res = nn.Sequential(conv(width, width, bias=bias), nn.ReLU(), conv(width, width, bias=bias))

    def forward(self, x):
        return x + self.res(x)


class Drunet(nn.Module):
    def __init__(self, channels, widths, blocks, bias):
        super().__init__()

        def some(width):
            return [ResBlock(width, bias) for _ in range(blocks)]

        self.m_head, self.m_tail = conv(channels + 1, widths[0], bias=bias), conv(widths[0], channels, bias=bias)
        for i in (1, 2, 3):
            less, more = widths[i - 1], widths[i]
            down = nn.Sequential(*some(less), nn.Conv2d(less, more, 2, 2, bias=bias))
            up = nn.Sequential(nn.ConvTranspose2d(more, less, 2, 2, bias=bias), *some(less))
            self.add_module(f"m_down{i}", down)
            self.add_module(f"m_up{i}", up)
        self.m_body = nn.Sequential(*some(widths[3]))

    def forward(self, x, sigma):
        x1 = self.m_head(torch.cat([x, torch.full_like(x[:, :1], sigma)], 1))
        x2 = self.m_down1(x1)
        x3 = self.m_down2(x2)
        x4 = self.m_down3(x3)
        x = self.m_up3(self.m_body(x4) + x4)
        return self.m_tail(self.m_up1(self.m_up2(x + x3) + x2) + x1)


class Double(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        parts = [
            conv(inputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            conv(outputs, outputs),
            nn.BatchNorm2d(outputs),
        ]
        self.double_conv = nn.Sequential(*parts, nn.ReLU())

    def forward(self, x):
        return self.double_conv(x)


class Unet(nn.Module):
    def __init__(self, channels, width, levels):
        super().__init__()
        self.levels = levels
        self.inc = Double(channels, width)
        for i in range(1, levels + 1):
            wide = width << i
            down, up = nn.Module(), nn.Module()
            down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), Double(wide // 2, wide))
            wide = width << (levels - i + 1)
            up.up, up.conv = nn.ConvTranspose2d(wide, wide // 2, 2, 2), Double(wide, wide // 2)
            self.add_module(f"down{i}", down)
            self.add_module(f"up{i}", up)
        self.outc = nn.Module()
        self.outc.conv = nn.Conv2d(width, channels, 1)

    def forward(self, x):
        skips = [self.inc(x)]
        for i in range(1, self.levels + 1):
            skips.append(getattr(self, f"down{i}").maxpool_conv(skips[-1]))
        x = skips.pop()
        for i in range(1, self.levels + 1):
            up = getattr(self, f"up{i}")
            x = up.conv(torch.cat([skips.pop(), up.up(x)], 1))
        return self.outc.conv(x)


class Prn(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv0, self.conv = nn.Sequential(conv(6, width), nn.ReLU()), nn.Sequential(conv(width, 3))
        for i in range(1, 6):
            block = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width), nn.ReLU())
            self.add_module(f"res_conv{i}", block)

    def forward(self, image):
        x = image
        for _ in range(6):
            x = self.conv0(torch.cat([image, x], 1))
            for i in range(1, 6):
                x = F.relu(getattr(self, f"res_conv{i}")(x) + x)
            x = self.conv(x) + image
        return x


DILATED = (1, 2, 3, 4, 3, 2, 1)

CASES = {
    "srcnn": (Srcnn, {}, "srcnn"),
    **{f"fsrcnn x{s}": (lambda s=s: Fsrcnn(s), {"scales": [s]}, "fsrcnn") for s in (2, 3, 4)},
    **{f"espcn x{s}": (lambda s=s: Espcn(s), {}, "espcn") for s in (2, 3)},
    **{f"edsr x{s}": (lambda s=s: Edsr(8, 2, s), {}, "edsr") for s in (2, 3, 4)},
    "edsr wide": (lambda: Edsr(256, 1, 2), {}, "edsr"),
    "edsr of BasicSR": (lambda: BasicEdsr(8, 2), {}, "edsr"),
    "ircnn": (lambda: Residual([1, *[8] * 6, 1], DILATED), {}, "ircnn"),
    "ffdnet": (lambda: Ffdnet(1, 8, 4), {"sigma": 30.0}, "ffdnet"),
    "ffdnet rgb": (lambda: Ffdnet(3, 8, 4), {"sigma": 30.0}, "ffdnet"),
    "drunet": (lambda: Drunet(3, (4, 6, 8, 10), 2, False), {"sigma": 30.0}, "drunet"),
    "drunet gray": (lambda: Drunet(1, (4, 8, 16, 32), 1, True), {"sigma": 30.0}, "drunet"),
    "unet": (lambda: Unet(3, 4, 2), {}, "unet"),
    "prn": (lambda: Prn(6), {}, "prn"),
}


def imported(tmp_path, module, network, degradation):
    tensors = {name: array.numpy() for name, array in module.state_dict().items() if array.ndim}
    save_file(tensors, tmp_path / "net.safetensors")
    return nspike.import_checkpoint(tmp_path / "net.safetensors", network, degradation=degradation)


def random_norms(module):
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 1.5)
            norm.running_var.uniform_(0.5, 1.5)
            norm.running_mean.normal_(0, 0.2)
            norm.bias.data.normal_(0, 0.2)


@pytest.mark.parametrize("name", CASES)
def test_computes_what_pytorch_does(tmp_path, name):
    make, degradation, network = CASES[name]
    torch.manual_seed(0)
    module = make().eval()
    random_norms(module)
    model = imported(tmp_path, module, network, degradation)
    image = np.random.default_rng(0).random((1, model.network.channels, 24, 40), np.float32)
    level = (degradation["sigma"] / 255,) if "sigma" in degradation else ()
    with torch.no_grad():
        expected = module(torch.from_numpy(image), *level).numpy()
    output = run(model.network, model.parameters, image)
    output = output if model.network.scale > 1 else restored(model.network.mode, image, output)
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() < 2e-5
    assert model.info.provenance["architecture"] == network


def test_networks_for_other_tasks_are_told_no_noise_level(tmp_path):
    torch.manual_seed(0)
    module = Drunet(3, (4, 6, 8, 10), 2, False).eval()
    imported(tmp_path, module, "drunet", {})
    model = nspike.import_checkpoint(tmp_path / "net.safetensors", "drunet", task="derain")
    assert (model.info.task, model.network.takes_noise_level) == ("derain", False)
    image = np.random.default_rng(0).random((1, 3, 16, 24), np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(image), 0.0).numpy()
    assert np.abs(run(model.network, model.parameters, image) - expected).max() < 2e-5


def test_one_of_ircnn_s_networks_is_chosen_by_the_noise_level(tmp_path):
    torch.manual_seed(0)
    nets = [Residual([1, *[4] * 6, 1], DILATED) for _ in range(3)]
    tensors = {f"{i}.{name}": array.numpy() for i, net in enumerate(nets) for name, array in net.state_dict().items()}
    path = tmp_path / "net.safetensors"
    save_file(tensors, path)
    for sigma, number in ((2, 0), (3, 1), (4, 1), (6, 2)):
        model = nspike.import_checkpoint(path, "ircnn", degradation={"sigma": float(sigma)})
        assert np.array_equal(model.parameters["conv1.weight"], tensors[f"{number}.model.0.weight"])
    with pytest.raises(nspike.BadInputError, match="no network for a noise level of 7"):
        nspike.import_checkpoint(path, "ircnn", degradation={"sigma": 7.0})
    with pytest.raises(
        nspike.BadInputError, match=r'3 noise levels; say for which one: .* from Python degradation=."sigma": 25'
    ):
        nspike.import_checkpoint(path, "ircnn")


def test_files_are_recognised(tmp_path):
    """Of all networks only the right one can read each, or its keys decide."""
    from nspike.contracts.architecture import recognise
    from nspike.registry.plugins import registry

    for make, _, network in CASES.values():
        tensors = {name: array.numpy() for name, array in make().state_dict().items() if array.ndim}
        expected = "dncnn" if network == "ircnn" else network  # the same keys and shapes; the usual one is taken
        assert recognise(tensors, registry().networks.values()).name == expected
