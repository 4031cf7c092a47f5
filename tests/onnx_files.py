"""Make the ONNX files under tests/data/onnx with PyTorch: python -m tests.onnx_files FOLDER

Small networks with random weights, exported by both of PyTorch's exporters at several opsets. Needs torch, onnx, onnxscript.
"""

import sys
from pathlib import Path

EXPORTS = {
    "unet": [("torchscript", 11), ("dynamo", 18)],
    "edsr": [("torchscript", 13), ("dynamo", 21)],
    "ircnn": [("torchscript", 17), ("dynamo", 20)],
    "depthwise": [("torchscript", 12), ("dynamo", 19)],
    "noise_map": [("torchscript", 17), ("dynamo", 18)],
    "ffdnet": [("torchscript", 16), ("dynamo", 18)],
    "norms": [("torchscript", 11), ("dynamo", 18)],
    "attention": [("torchscript", 17), ("dynamo", 20)],
    "fixed": [("torchscript", 14), ("dynamo", 18)],
}
"""Network -> (exporter, opset) of each file NETWORK_EXPORTER_OPSET.onnx."""


def networks():
    """Name -> (module, example inputs)."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class UNet(nn.Module):
        """Two levels, transposed convolutions, concatenated skips, padding to what it finds, as is usual."""

        def __init__(self):
            super().__init__()
            self.inc, self.down = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
            self.deep = nn.Conv2d(16, 16, 3, stride=2, padding=1)
            self.up1, self.up2 = (
                nn.ConvTranspose2d(16, 16, 2, stride=2),
                nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            )
            self.mid, self.out = nn.Conv2d(32, 16, 3, padding=1), nn.Conv2d(16, 1, 1)

        def forward(self, x):
            a = F.relu(self.inc(x))
            b = F.relu(self.down(F.avg_pool2d(a, 2)))
            c = F.relu(self.deep(b))
            up = self.up1(c)
            dy, dx = b.shape[2] - up.shape[2], b.shape[3] - up.shape[3]
            up = F.pad(up, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            d = F.relu(self.mid(torch.cat([b, up], 1)))
            return x - self.out(torch.cat([a, F.relu(self.up2(d))], 1))

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )

        def forward(self, x):
            return x + 0.1 * self.body(x)

    class Edsr(nn.Module):
        """Mean taken off and put back, residual blocks, a long skip, pixel shuffle."""

        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.4488, 0.4371, 0.404]).reshape(1, 3, 1, 1))
            self.head = nn.Conv2d(3, 8, 3, padding=1)
            self.body = nn.Sequential(Block(8), Block(8), nn.Conv2d(8, 8, 3, padding=1))
            self.tail = nn.Sequential(nn.Conv2d(8, 32, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(8, 3, 3, padding=1))

        def forward(self, x):
            x = self.head(x - self.mean)
            return (self.tail(x + self.body(x)) + self.mean).clamp(0, 1)

    class Ircnn(nn.Sequential):
        def __init__(self):
            layers = []
            for i, dilation in enumerate((1, 2, 3, 4, 2, 1)):
                sizes = (1 if i == 0 else 8, 1 if i == 5 else 8)
                layers += [nn.Conv2d(*sizes, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            super().__init__(*layers[:-1])

        def forward(self, x):
            return x - super().forward(x)

    class Depthwise(nn.Module):
        """MobileNet-like: rectangular kernels, groups, channel shuffle, ReLU6, nearest and bilinear enlargement."""

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1, stride=2)
            self.across, self.along = (
                nn.Conv2d(8, 8, (1, 5), padding=(0, 2), groups=8),
                nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8),
            )
            self.grouped, self.point = nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 8, 1)
            self.last = nn.Conv2d(11, 3, 3, padding=1)

        def forward(self, x):
            y = F.relu6(self.first(x))
            y = F.relu6(self.point(self.along(self.across(y))))
            n, c, h, w = y.shape
            y = F.relu(self.grouped(y)).reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
            up = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            up = up + F.interpolate(self.point(y), scale_factor=2, mode="nearest")
            return x + self.last(torch.cat([F.relu(up), x], 1))

    class NoiseMap(nn.Module):
        """DRUNet-like: the noise level as an input of its own."""

        def __init__(self):
            super().__init__()
            self.head, self.down = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 16, 2, stride=2)
            self.res = nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False)
            )
            self.up, self.tail = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(8, 3, 3, padding=1)

        def forward(self, x, sigma):
            h = self.head(torch.cat([x, sigma.expand(-1, 1, x.shape[2], x.shape[3])], 1))
            d = self.down(h)
            return self.tail(h + self.up(d + self.res(d)))

    class Ffdnet(nn.Module):
        """Pixel unshuffle, a plane of the noise level at half the size, batch norm."""

        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(5, 12, 3, padding=1), nn.ReLU(),
                nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
                nn.Conv2d(12, 4, 3, padding=1),
            )  # fmt: skip

        def forward(self, x):
            y = F.pixel_unshuffle(x, 2)
            level = torch.full((y.shape[0], 1, y.shape[2], y.shape[3]), 15 / 255)
            return F.pixel_shuffle(self.body(torch.cat([y, level], 1)), 2)

    class Norms(nn.Module):
        """Batch norm where it can be folded and where it cannot, PReLU, leaky ReLU, dropout, strided unshuffle by slices."""

        def __init__(self):
            super().__init__()
            self.before, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, padding=1)
            self.norm, self.prelu, self.one = nn.BatchNorm2d(8), nn.PReLU(8), nn.PReLU()
            self.up, self.upnorm = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(8)
            self.drop, self.last = nn.Dropout(), nn.Conv2d(8, 1, 5, padding=2)

        def forward(self, x):
            parts = [x[:, :, i::2, j::2] for i in range(2) for j in range(2)]
            y = self.prelu(self.norm(self.conv(self.before(torch.cat(parts, 1)))))
            y = self.one(self.upnorm(self.up(self.drop(y))))
            return torch.relu(self.last(F.leaky_relu(y, 0.2)) / 4 + 0.5)

    class Attention(nn.Module):
        """Channel attention, a simple gate, layer norm, GELU, SiLU, hard swish, max pooling: a plain network alone."""

        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.LayerNorm(8)
            self.squeeze = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.Sigmoid()
            )
            self.mid, self.last = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

        def forward(self, x):
            y = self.norm(F.gelu(self.first(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            a, b = y.chunk(2, 1)
            y = a * b
            y = self.mid(y * self.squeeze(y))
            y = F.hardswish(F.silu(F.max_pool2d(y, 2)))
            return x - self.last(F.interpolate(torch.tanh(y), scale_factor=2, mode="nearest"))

    class Fixed(nn.Module):
        """For one size of image alone, and its output enlarged by 3."""

        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 9, 3, padding=1)

        def forward(self, x):
            return F.pixel_shuffle(self.last(F.relu(self.first(x))), 3)

    gray, rgb = torch.rand(1, 1, 16, 24), torch.rand(1, 3, 16, 24)
    return {
        "unet": (UNet(), (gray,)),
        "edsr": (Edsr(), (rgb,)),
        "ircnn": (Ircnn(), (gray,)),
        "depthwise": (Depthwise(), (rgb,)),
        "noise_map": (NoiseMap(), (rgb, torch.full((1, 1, 1, 1), 0.1))),
        "ffdnet": (Ffdnet(), (gray,)),
        "norms": (Norms(), (gray,)),
        "attention": (Attention(), (gray,)),
        "fixed": (Fixed(), (gray,)),
    }


def without_notes(path):
    """Take out what exporters note about the source, its paths among it."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def main(folder):
    """Write the files."""
    import torch

    torch.manual_seed(0)
    made = networks()
    for name, (module, inputs) in made.items():
        for norm in module.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                for values in (norm.weight.data, norm.running_var):
                    values.uniform_(0.5, 1.5)
                norm.bias.data.normal_(0, 0.2)
                norm.running_mean.normal_(0, 0.2)
        module.eval()
        names = ["x", "sigma"][: len(inputs)]
        free = {} if name == "fixed" else {"x": {0: "n", 2: "h", 3: "w"}}
        for exporter, opset in EXPORTS[name]:
            path = str(Path(folder, f"{name}_{exporter}_{opset}.onnx"))
            if exporter == "torchscript":
                torch.onnx.export(
                    module, inputs, path, opset_version=opset, input_names=names, output_names=["y"], dynamic_axes=free,
                    dynamo=False,
                )  # fmt: skip
            else:
                sizes = {
                    0: torch.export.Dim.DYNAMIC,
                    2: 8 * torch.export.Dim("h", min=2),
                    3: 8 * torch.export.Dim("w", min=2),
                }
                shapes = None if name == "fixed" else ({2: sizes[2], 3: sizes[3]}, None)[: len(inputs)]
                torch.onnx.export(
                    module, inputs, path, opset_version=opset, input_names=names, output_names=["y"], dynamic_shapes=shapes,
                    dynamo=True, external_data=False, verbose=False,
                )  # fmt: skip
            without_notes(path)
            sys.stdout.write(f"{path}: {Path(path).stat().st_size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1])
