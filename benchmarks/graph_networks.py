"""Six small networks that nspike has no plugin for, trained in PyTorch and exported to ONNX.

    python benchmarks/graph_networks.py TRAIN_FOLDER -o FOLDER [--minutes 8] [--only unet ...]

Grey denoisers for sigma 25, and one that enlarges twice (luma): a U-Net with transposed convolutions, an EDSR-like one, a
dilated one with batch norm, a depthwise one, one on the unshuffled image with a noise map, and one with average pooling,
groups, channel shuffle and bilinear enlargement. TRAIN_FOLDER holds images; no test image is among them. Needs torch and
onnx. The state of each is kept in FOLDER, so that it goes on where it was stopped.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

SIGMA = 25 / 255


def conv(i, o, k=3, **options):
    """A convolution that keeps the size."""
    return nn.Conv2d(i, o, k, padding=options.pop("padding", k // 2), **options)


class UNet(nn.Module):
    """Two levels, 2×2 strided convolutions down, 2×2 transposed ones up, skips by concatenation; predicts the noise."""

    def __init__(self, width=16):
        super().__init__()
        w = width
        self.enc1 = nn.Sequential(conv(1, w), nn.ReLU(), conv(w, w), nn.ReLU())
        self.down1 = nn.Sequential(nn.Conv2d(w, 2 * w, 2, 2), nn.ReLU())
        self.enc2 = nn.Sequential(conv(2 * w, 2 * w), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(2 * w, 4 * w, 2, 2), nn.ReLU())
        self.body = nn.Sequential(conv(4 * w, 4 * w), nn.ReLU())
        self.up2 = nn.ConvTranspose2d(4 * w, 2 * w, 2, 2)
        self.dec2 = nn.Sequential(conv(4 * w, 2 * w), nn.ReLU())
        self.up1 = nn.ConvTranspose2d(2 * w, w, 2, 2)
        self.dec1 = nn.Sequential(conv(2 * w, w), nn.ReLU(), conv(w, 1))

    def forward(self, x):
        a = self.enc1(x)
        b = self.enc2(self.down1(a))
        c = self.body(self.down2(b))
        b = self.dec2(torch.cat([self.up2(c), b], 1))
        return x - self.dec1(torch.cat([self.up1(b), a], 1))


class Block(nn.Module):
    """conv, ReLU, conv, and the input."""

    def __init__(self, width):
        super().__init__()
        self.one, self.two = conv(width, width), conv(width, width)

    def forward(self, x):
        return x + self.two(F.relu(self.one(x)))


class EDSR(nn.Module):
    """Eight residual blocks, pixel shuffle by 2."""

    def __init__(self, width=24, blocks=8):
        super().__init__()
        self.head = conv(1, width)
        self.body = nn.Sequential(*[Block(width) for _ in range(blocks)], conv(width, width))
        self.tail = nn.Sequential(conv(width, 4 * width), nn.PixelShuffle(2), conv(width, 1))

    def forward(self, x):
        x = self.head(x)
        return self.tail(x + self.body(x))


class Dilated(nn.Module):
    """IRCNN's dilations 1, 2, 3, 4, 3, 2, 1, with batch norm; predicts the noise."""

    def __init__(self, width=24):
        super().__init__()
        layers = [conv(1, width), nn.ReLU()]
        for d in (2, 3, 4, 3, 2):
            layers += [conv(width, width, padding=d, dilation=d, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.net = nn.Sequential(*layers, conv(width, 1))

    def forward(self, x):
        return x - self.net(x)


class Separable(nn.Module):
    """Depthwise 3×3 and pointwise convolutions, a ReLU after each; predicts the noise."""

    def __init__(self, width=32, blocks=6):
        super().__init__()
        layers = [conv(1, width), nn.ReLU()]
        for _ in range(blocks):
            layers += [conv(width, width, groups=width), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU()]
        self.net = nn.Sequential(*layers, conv(width, 1))

    def forward(self, x):
        return x - self.net(x)


class NoiseMap(nn.Module):
    """FFDNet: four quarter images and a noise map through a chain, and back by pixel shuffle."""

    def __init__(self, width=32, depth=6):
        super().__init__()
        layers = [conv(5, width), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [conv(width, width), nn.ReLU()]
        self.net = nn.Sequential(*layers, conv(width, 4))

    def forward(self, x):
        small = F.pixel_unshuffle(x, 2)
        noise = torch.full_like(small[:, :1], SIGMA)
        return F.pixel_shuffle(self.net(torch.cat([small, noise], 1)), 2)


class Shuffled(nn.Module):
    """Average pooling, grouped convolutions with a channel shuffle, bilinear enlargement, a skip by addition; the noise."""

    def __init__(self, width=32):
        super().__init__()
        self.first = nn.Sequential(conv(1, width), nn.ReLU())
        self.grouped = nn.ModuleList([conv(width, width, groups=4) for _ in range(4)])
        self.join, self.last = (
            conv(width, width),
            nn.Sequential(nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, 1)),
        )

    def forward(self, x):
        a = self.first(x)
        b = F.avg_pool2d(a, 2)
        for layer in self.grouped:
            n, c, h, w = b.shape
            b = F.relu(layer(b)).view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        b = F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        return x - self.last(self.join(a) + b)


NETWORKS = {
    "unet": UNet,
    "edsr": EDSR,
    "dilated": Dilated,
    "separable": Separable,
    "noise_map": NoiseMap,
    "shuffled": Shuffled,
}
SIDE, BATCH = 64, 16
BFLOAT16 = ("unet", "edsr", "noise_map")
"""Those that train in bfloat16; the others gain nothing by it, and the dilated one diverges."""


def grey(path):
    """An image's luma as float32 in [0, 1]."""
    return np.asarray(Image.open(path).convert("L"), np.float32) / 255


def batch(images, draw, enlarges):
    """(input, clean) of random patches; the input of super-resolution is the bicubic reduction."""
    patches = []
    for _ in range(BATCH):
        image = images[draw.integers(len(images))]
        y, x = (draw.integers(n - SIDE + 1) for n in image.shape)
        patch = np.rot90(image[y : y + SIDE, x : x + SIDE], draw.integers(4))
        patches.append(patch[:, ::-1] if draw.random() < 0.5 else patch)
    clean = torch.from_numpy(np.ascontiguousarray(patches))[:, None]
    if enlarges:
        small = [
            Image.fromarray(p).resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC) for p in np.asarray(patches)
        ]
        return torch.from_numpy(np.stack([np.asarray(s) for s in small]))[:, None], clean
    return clean + SIGMA * torch.from_numpy(draw.standard_normal(clean.shape).astype(np.float32)), clean


def train(name, images, folder, minutes):
    """Train one network for so many minutes in all, and export it."""
    state, draw = folder / f"{name}.pt", np.random.default_rng(0)
    torch.manual_seed(0)
    net = NETWORKS[name]().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0)
    done = {"seconds": 0.0, "steps": 0}
    if state.exists():
        kept = torch.load(state, weights_only=False)
        net.load_state_dict(kept["net"]), optimiser.load_state_dict(kept["optimiser"])
        done = kept["done"]
        draw = np.random.default_rng(done["steps"])
    saved = start = time.perf_counter()
    before = done["seconds"]
    while done["seconds"] < 60 * minutes:
        share = done["seconds"] / (60 * minutes)
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * min(1.0, done["steps"] / 100) * (1 + math.cos(math.pi * share)) / 2 + 1e-6
        noisy, clean = batch(images, draw, name == "edsr")
        with torch.autocast("cpu", torch.bfloat16, enabled=name in BFLOAT16):
            loss = (net(noisy.contiguous(memory_format=torch.channels_last)).float() - clean).abs().mean()
        optimiser.zero_grad(), loss.backward(), optimiser.step()
        now = time.perf_counter()
        done["seconds"], done["steps"] = before + now - start, done["steps"] + 1
        if now - saved > 60 or done["seconds"] >= 60 * minutes:
            saved = now
            torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict(), "done": done}, state)
            print(f"{name}: {done['steps']} steps, {done['seconds']:.0f} s, loss {loss.item():.5f}", flush=True)
    net.eval()
    sizes = {2: "height", 3: "width"}
    torch.onnx.export(
        net,
        torch.zeros(1, 1, 48, 48),
        folder / f"{name}.onnx",
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=["restored"],
        dynamic_axes={"image": sizes, "restored": sizes},
    )


def main():
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--only", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = [p for p in sorted(arguments.images.rglob("*")) if p.suffix.lower() in (".png", ".jpg", ".bmp")]
    images = [image for image in map(grey, paths) if min(image.shape) >= SIDE]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        train(name, images, arguments.out, arguments.minutes)


if __name__ == "__main__":
    main()
