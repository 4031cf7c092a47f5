"""`spikerir_lite` trained directly in PyTorch, through T = 4 steps, on a GPU: how the shipped spikerir models were made.

    python benchmarks/train_spikerir.py DATA -o FOLDER --task denoise --minutes 4 [--start FOLDER/denoise.pth]
    nspike import FOLDER/denoise.pth --network spikerir_lite --sigma 0 --sigma 55 -o plain.h5
    nspike convert plain.h5 --converter direct --option theta=1 --plugin if --set v_init=0.5 -T 4 --head membrane -o model.h5

DATA holds BSDS500_train, BSDS500_test, Middlebury_RGBD and, for motion, Levin_kernels. The last 20 images of BSDS500_test are
held out; deraining leaves BSDS500_train out, for Rain100L shares images with it. Neurons integrate and fire with soft reset,
from half full; L1 + 0.1·FFT; AdamW, cosine, the last part on frozen batch norm, so that what is exported is what was trained.
Grouped convolutions run as dense ones, and a step as one CUDA graph: 16.5 ms for 32 patches of 64² on one H200. Without a GPU
it runs too, slowly. Needs torch (and triton with a GPU), pillow and h5py.
"""

import argparse
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _cuda_graph import captured
from PIL import Image
from torch import nn

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

T = 4
V0 = 0.5
SLOPE = 2.0
"""Of the sigmoid surrogate, in units of the threshold."""
HELD_OUT = 20
SIDE = 31
"""Of blur kernels, in pixels."""
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
HALF = torch.bfloat16 if CUDA else torch.float32
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.benchmark = True


class Heaviside(torch.autograd.Function):
    """1 from 0 on; its gradient that of a sigmoid."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        p = torch.sigmoid(SLOPE * ctx.saved_tensors[0])
        return grad * SLOPE * p * (1 - p)


def fire_slowly(x):
    """Currents (T·N, C, H, W), T first, in units of the threshold -> spikes."""
    currents = x.view(T, -1, *x.shape[1:])
    v, spikes = torch.full_like(currents[0], V0, dtype=torch.float32), []
    for t in range(T):
        u = v + currents[t].float()
        spikes.append(Heaviside.apply(u - 1.0))
        v = u - spikes[-1]
    return torch.stack(spikes).view(x.shape).to(HALF)


if triton is not None and CUDA:

    @triton.jit
    def _forward(x_ptr, s_ptr, size, v0, steps: tl.constexpr, block: tl.constexpr):
        at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
        inside = at < size
        v = tl.zeros((block,), tl.float32) + v0
        for t in tl.static_range(steps):
            u = v + tl.load(x_ptr + t * size + at, mask=inside, other=0.0).to(tl.float32)
            s = (u >= 1.0).to(tl.float32)
            v = u - s
            tl.store(s_ptr + t * size + at, s.to(s_ptr.dtype.element_ty), mask=inside)

    @triton.jit
    def _backward(x_ptr, g_ptr, d_ptr, size, v0, slope, steps: tl.constexpr, block: tl.constexpr):
        """Membranes again for every step, from the last one back: cheaper than keeping them."""
        at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
        inside = at < size
        carried = tl.zeros((block,), tl.float32)
        for back in tl.static_range(steps):
            v = tl.zeros((block,), tl.float32) + v0
            u = v
            for t in tl.static_range(steps - back):
                u = v + tl.load(x_ptr + t * size + at, mask=inside, other=0.0).to(tl.float32)
                v = u - (u >= 1.0).to(tl.float32)
            p = 1.0 / (1.0 + tl.exp(-slope * (u - 1.0)))
            phi = slope * p * (1.0 - p)
            here = (steps - 1 - back) * size + at
            g = tl.load(g_ptr + here, mask=inside, other=0.0).to(tl.float32)
            carried = g * phi + carried * (1.0 - phi)
            tl.store(d_ptr + here, carried.to(d_ptr.dtype.element_ty), mask=inside)

    class Fire(torch.autograd.Function):
        """The same in one kernel each way; x dense in any format."""

        @staticmethod
        def forward(ctx, x):
            spikes, size = torch.empty_like(x, dtype=HALF), x.numel() // T
            _forward[(triton.cdiv(size, 1024),)](x, spikes, size, V0, T, 1024)
            ctx.save_for_backward(x)
            return spikes

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            if grad.stride() != x.stride():
                grad = torch.empty_like(x, dtype=grad.dtype).copy_(grad)
            out, size = torch.empty_like(x), x.numel() // T
            _backward[(triton.cdiv(size, 1024),)](x, grad, out, size, V0, SLOPE, T, 1024)
            return out

    fire = Fire.apply
else:
    fire = fire_slowly


def packed(x):
    """Channels last, which the GPU's convolutions want."""
    return x.contiguous(memory_format=torch.channels_last) if CUDA else x


class Norm(nn.Module):
    """Batch norm over time, batch and pixels; `order` : which of its channels each of the input is."""

    frozen = False

    def __init__(self, channels, gain):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(gain)))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x, order=None):
        everything = self.running_mean, self.running_var, self.weight, self.bias
        mean, variance, weight, bias = everything if order is None else [each[order] for each in everything]
        live = self.training and not Norm.frozen
        y = F.batch_norm(x, mean, variance, weight, bias, live, 0.1, 1e-5)
        if live and order is not None:
            with torch.no_grad():
                self.running_mean[order], self.running_var[order] = mean, variance
        return y


class Sparse(nn.Module):
    """A grouped convolution, run as a dense one with zeros: `places` of its weights in the dense kernel."""

    def __init__(self, shape, dense, places, **options):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape) * math.sqrt(2.0 / math.prod(shape[1:])))
        self.register_buffer("places", places, persistent=False)
        self.dense, self.options = dense, options

    def forward(self, spikes):
        kernel = torch.zeros(math.prod(self.dense), device=spikes.device, dtype=spikes.dtype)
        kernel = kernel.index_copy(0, self.places, self.weight.reshape(-1).to(spikes.dtype)).view(self.dense)
        return F.conv2d(spikes, packed(kernel), **self.options)


def depthwise(c):
    """3×3."""
    at = torch.arange(c)
    return Sparse((c, 1, 3, 3), (c, c, 3, 3), ((at * c + at)[:, None] * 9 + torch.arange(9)).reshape(-1), padding=1)


def grouped(inputs, outputs, groups, order=None):
    """1×1; `order` : which of its outputs stands where."""
    within, at = inputs // groups, torch.arange(outputs)
    place = at if order is None else torch.argsort(order)
    first = at // (outputs // groups) * within
    places = (place * inputs + first)[:, None] + torch.arange(within)
    return Sparse((outputs, within, 1, 1), (outputs, inputs, 1, 1), places.reshape(-1))


def halved(c):
    """Pixel unshuffle, then 1×1 with 4 inputs and 2 outputs a group: 2×2 of stride 2."""
    at = torch.arange(2 * c)
    places = ((at * c + at // 2)[:, None] * 4 + torch.arange(4)).reshape(-1)
    return Sparse((2 * c, 4, 1, 1), (2 * c, c, 2, 2), places, stride=2)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        shuffled = torch.arange(c).view(c // 12, 12).t().reshape(-1)
        self.dw, self.bn1 = depthwise(c), Norm(c, 1.0)
        self.gp, self.bn2 = grouped(c, c, c // 12, shuffled), Norm(c, 0.4)
        self.register_buffer("order", shuffled, persistent=False)

    def forward(self, x):
        return x + self.bn2(self.gp(fire(self.bn1(self.dw(fire(x))))), self.order)


class Down(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv, self.bn = halved(c), Norm(2 * c, 1.0)

    def forward(self, x):
        return self.bn(self.conv(fire(x))).float()


class Up(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv, self.bn = grouped(c, 2 * c, c // 4), Norm(c // 2, 0.7)

    def forward(self, x, skip):
        return skip + self.bn(packed(F.pixel_shuffle(self.conv(fire(x)), 2)))


class Lite(nn.Module):
    """The network; images (N, 3, H, W), sides multiples of 8; `told` : a fourth plane holds the noise level."""

    def __init__(self, w=48, told=False):
        super().__init__()
        self.embed = nn.Conv2d(4 if told else 3, w, 3, padding=1, bias=False)
        self.out = nn.Conv2d(w, 3, 3, padding=1)
        for level, c in enumerate((w, 2 * w, 4 * w), 1):
            setattr(self, f"enc{level}", nn.Sequential(Block(c), Block(c)))
            setattr(self, f"dec{level}", nn.Sequential(Block(c), Block(c)))
            setattr(self, f"down{level}", Down(c))
            setattr(self, f"up{level}", Up(2 * c))
        self.latent = nn.Sequential(Block(8 * w), Block(8 * w))
        with torch.no_grad():
            self.embed.weight.mul_(2.0)
            self.out.weight.mul_(0.3)
            self.out.bias.zero_()

    def forward(self, image):
        x = packed(F.conv2d(packed(image), packed(self.embed.weight), padding=1).repeat(T, 1, 1, 1))
        skips = []
        for level in (1, 2, 3):
            skips.append(getattr(self, f"enc{level}")(x))
            x = getattr(self, f"down{level}")(skips[-1])
        x = self.latent(x)
        for level in (3, 2, 1):
            x = getattr(self, f"dec{level}")(getattr(self, f"up{level}")(x, skips.pop()))
        rate = fire(x).view(T, -1, *x.shape[1:]).float().mean(0)
        return image[:, :3] + F.conv2d(packed(rate), packed(self.out.weight), self.out.bias, padding=1)


def read_images(paths):
    """uint8 (N, 3, 321, 481), upright ones turned."""

    def one(path):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        return (pixels if len(pixels) == 321 else np.rot90(pixels)).transpose(2, 0, 1).copy()

    with ThreadPoolExecutor() as pool:
        return torch.from_numpy(np.stack(list(pool.map(one, paths)))).to(DEVICE)


def read_scenes(folder):
    """Images uint8 (N, 3, 370, 413) and depths (N, 370, 413) between 0.3 and 1.5."""
    images, depths = [], []
    for path in sorted(folder.glob("*_view1.png")):
        images.append(np.asarray(Image.open(path).convert("RGB"))[:370, :413].transpose(2, 0, 1).copy())
        disparity = np.asarray(Image.open(str(path).replace("view1", "disp1")).convert("L"), np.float64)[:370, :413]
        known = disparity > 0
        inverse = 1.0 / np.where(known, disparity, disparity[known].min())
        depths.append(0.3 + 1.2 * (inverse - inverse.min()) / np.ptp(inverse))
    return torch.from_numpy(np.stack(images)).to(DEVICE), torch.from_numpy(np.float32(depths)).to(DEVICE)


def splat(y, x):
    """A kernel of points, each shared by four pixels, its sum 1."""
    kernel = np.zeros((SIDE, SIDE))
    y, x = y + SIDE // 2, x + SIDE // 2
    inside = (y >= 0) & (y < SIDE - 1) & (x >= 0) & (x < SIDE - 1)
    y, x = y[inside], x[inside]
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        np.add.at(kernel, (top + dy, left + dx), np.abs(1 - dy - (y - top)) * np.abs(1 - dx - (x - left)))
    return kernel / kernel.sum()


def line(length, angle):
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, max(1, math.ceil(8 * length)))
    return splat(-along * math.sin(angle), along * math.cos(angle))


def camera_path(draw):
    """A walk with inertia, 2 to 14 pixels from its middle."""
    velocity = np.cumsum(draw.normal(size=(400, 2)) * draw.uniform(0.02, 0.3), 0) + draw.normal(size=2) * draw.uniform(
        0.5, 3
    )
    place = np.cumsum(velocity, 0)
    place -= place.mean(0)
    place *= draw.uniform(2, 14) / max(np.abs(place).max(), 1e-9)
    return splat(place[:, 0], place[:, 1])


def disc(radius):
    fine = (np.arange(SIDE * 8) + 0.5) / 8 - SIDE / 2
    kernel = (fine[:, None] ** 2 + fine**2 <= radius**2).reshape(SIDE, 8, SIDE, 8).mean((1, 3))
    return kernel / kernel.sum()


def levin(folder):
    """The measured kernels, turned and mirrored."""
    import h5py

    with h5py.File(next(folder.glob("*.mat"))) as file:
        cells = [file[name][()] for name in file if not name.startswith("#") and file[name].dtype == object]
        found = [np.array(file[reference], float) for cell in cells for reference in cell.ravel()]
    for kernel in found:
        for turned in [np.rot90(each, r) for each in (kernel, kernel.T) for r in range(4)]:
            framed = np.zeros((SIDE, SIDE))
            y, x = ((SIDE - side) // 2 for side in turned.shape)
            framed[y : y + turned.shape[0], x : x + turned.shape[1]] = turned
            yield framed / framed.sum()


def kernels(task, data):
    draw = np.random.default_rng(7)
    if task == "motion":
        made = [
            camera_path(draw) if draw.random() < 0.65 else line(draw.uniform(3, 26), draw.uniform(0, math.pi))
            for _ in range(1500)
        ]
        made += 4 * list(levin(data / "Levin_kernels"))
    elif task == "defocus":
        made = [disc(radius) for radius in np.linspace(0.6, 7.0, 300)]
    else:
        made = [line(draw.uniform(7, 27), math.pi / 2 + draw.uniform(-0.8, 0.8)) for _ in range(800)]
        made = [kernel / kernel.max() for kernel in made]
    return torch.from_numpy(np.float32(made)).to(DEVICE)


def crops(pool, n, size, maps=None):
    """n patches (n, 3, size, size) of uint8 images in [0, 1], and of maps (N, H, W); flipped and transposed at random."""
    count, _, height, width = pool.shape
    which = torch.randint(count, (n,), device=DEVICE)
    along = torch.arange(size, device=DEVICE)
    at = []
    for side in (height, width):
        flip = torch.randint(2, (n, 1), device=DEVICE) > 0
        first = torch.randint(side - size + 1, (n, 1), device=DEVICE)
        at.append(first + torch.where(flip, size - 1 - along, along))
    y, x = at[0][:, :, None], at[1][:, None, :]
    turned = torch.rand((n, 1, 1, 1), device=DEVICE) < 0.5
    patches = pool[which[:, None, None], :, y, x].permute(0, 3, 1, 2).float() / 255
    patches = torch.where(turned, patches.transpose(2, 3), patches)
    if maps is None:
        return patches
    values = maps[which[:, None, None], y, x][:, None]
    return patches, torch.where(turned, values.transpose(2, 3), values)


def convolve(images, kernel):
    """Each of (n, C, H, W) with its own kernel (n, SIDE, SIDE): what needs no border."""
    size = images.shape[2:]
    product = torch.fft.rfft2(images) * torch.fft.rfft2(kernel[:, None], s=size)
    return torch.fft.irfft2(product, s=size)[:, :, SIDE - 1 :, SIDE - 1 :]


def between(n, low, high):
    return low + (high - low) * torch.rand((n, 1, 1, 1), device=DEVICE)


def smooth_depth(n, size):
    y = torch.linspace(-0.5, 0.5, size, device=DEVICE)[None, None, :, None]
    x = y.transpose(2, 3)
    depth = between(n, 0.3, 1.5) + between(n, -0.6, 0.6) * y + between(n, -0.4, 0.4) * x
    for _ in range(3):
        wave = between(n, -1, 1) * y + between(n, -1, 1) * x
        depth = depth + between(n, 0, 0.12) * torch.cos(2 * math.pi * wave + between(n, 0, 2 * math.pi))
    return depth.clamp_min(0.03)


def with_level(images, level):
    """Images with a plane of their noise level, over 255."""
    return torch.cat([images, level.expand(len(images), 1, *images.shape[2:])], 1)


class Data:
    """Pairs of one task."""

    def __init__(self, task, folder, told=False):
        self.told = told
        paths = sorted((folder / "BSDS500_test").glob("*.jpg"))
        others = [] if task == "derain" else sorted((folder / "BSDS500_train").glob("*.jpg"))
        self.task, self.pool, self.held = (
            task,
            read_images(others + paths[:-HELD_OUT]),
            read_images(paths[-HELD_OUT:]),
        )
        if task == "dehaze":
            self.scenes, self.depths = read_scenes(folder / "Middlebury_RGBD")
        if task in ("motion", "defocus", "derain"):
            self.kernels = kernels(task, folder)

    def some_kernels(self, n):
        return self.kernels[torch.randint(len(self.kernels), (n,), device=DEVICE)]

    def draw(self, pool, n, size):
        """(degraded, clean), (n, 3, size, size)."""
        return getattr(self, self.task if self.task in ("denoise", "derain", "dehaze") else "blur")(pool, n, size)

    def denoise(self, pool, n, size):
        clean, level = crops(pool, n, size), between(n, 0, 55 / 255)
        noisy = clean + level * torch.randn_like(clean)
        return (with_level(noisy, level) if self.told else noisy), clean

    def blur(self, pool, n, size):
        wide, edge = crops(pool, n, size + SIDE - 1), SIDE // 2
        blurred = convolve(wide, self.some_kernels(n))
        blurred = blurred + between(n, 0, 2 / 255) * torch.randn_like(blurred)
        return blurred.clamp(0, 1), wide[:, :, edge:-edge, edge:-edge]

    def derain(self, pool, n, size):
        clean, wide = crops(pool, n, size), (n, 1, size + SIDE - 1, size + SIDE - 1)
        rain = torch.zeros((n, 1, size, size), device=DEVICE)
        for share in (1.0, 0.4):
            there = (torch.rand((n, 1, 1, 1), device=DEVICE) < share).float()
            drops = (torch.rand(wide, device=DEVICE) < between(n, 0.0008, 0.012)) * torch.rand(wide, device=DEVICE)
            rain = rain + there * convolve(drops, self.some_kernels(n)).clamp(0, 1) * between(n, 0.15, 0.9)
        return (clean + rain).clamp(0, 1), clean

    def dehaze(self, pool, n, size):
        half = n // 2
        clean, depth = crops(self.scenes, half, size, self.depths)
        clean = torch.cat([clean, crops(pool, n - half, size)])
        through = torch.exp(-between(n, 0.4, 1.6) * torch.cat([depth, smooth_depth(n - half, size)]))
        return clean * through + between(n, 0.7, 1.0) * (1 - through), clean


def loss_of(output, clean):
    """L1 + 0.1·FFT, the mean modulus of the difference's spectrum."""
    spectrum = torch.fft.rfft2(output - clean)
    return (output - clean).abs().mean() + 0.1 * torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-12).mean()


def psnr(output, clean):
    error = (output.clamp(0, 1).mul(255).round() / 255 - clean).pow(2).mean((1, 2, 3))
    return (-10 * torch.log10(error)).mean().item()


@torch.no_grad()
def validate(net, data):
    """Mean PSNR on the held-out images: by sigma, or after and before."""
    net.eval()
    if data.task == "denoise":
        clean, scores = data.held[:, :, :320, :480].float() / 255, {}
        for sigma in (15, 25, 50):
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).to(DEVICE)
            noisy = clean + noise * (sigma / 255)
            if data.told:
                noisy = with_level(noisy, torch.full((1, 1, 1, 1), sigma / 255, device=DEVICE))
            scores[sigma] = psnr(torch.cat([net(part) for part in noisy.split(4)]), clean)
    else:
        torch.manual_seed(5)
        pairs = [data.draw(data.held, 8, 256) for _ in range(6)]
        scores = {"output": float(np.mean([psnr(net(x), c) for x, c in pairs]))}
        scores["input"] = float(np.mean([psnr(x, c) for x, c in pairs]))
    net.train()
    return scores


def train(data, seconds, net, lr, batch, size, frozen, most):
    """Train for that many seconds, or `most` steps; the number of steps."""
    begun = time.monotonic()
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim == 1]
    rate = torch.tensor(0.0, device=DEVICE)
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}],
        lr=rate, capturable=CUDA, foreach=CUDA,
    )  # fmt: skip

    def step():
        with torch.no_grad():
            degraded, clean = data.draw(data.pool, batch, size)
        optimizer.zero_grad(set_to_none=not CUDA)
        loss_of(net(degraded), clean).backward()
        torch.nn.utils.clip_grad_norm_(weights + others, 1.0)
        optimizer.step()

    Norm.frozen, steps, run = False, 0, captured(step, [rate])
    while (part := (time.monotonic() - begun) / seconds) < 1 and steps != most:
        if part > 1 - frozen and not Norm.frozen:
            Norm.frozen = True
            run = captured(step, [rate])
        rate.fill_(lr * min(1, (steps + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * part) + 1e-3))
        run()
        steps += 1
        if CUDA and steps % 50 == 0:
            torch.cuda.synchronize()
    return steps


SETTINGS = {
    "denoise": (2e-3, 32, 64),
    "motion": (1e-3, 16, 96),
    "derain": (1e-3, 32, 64),
    "dehaze": (1e-3, 8, 128),
    "defocus": (1e-3, 16, 96),
}
"""Learning rate, batch and side of a patch of each task; all but the first began with the weights of the first."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--task", choices=SETTINGS, required=True)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--told", action="store_true", help="tell the denoiser the noise level")
    parser.add_argument("--name", help="of the files, by default the task")
    parser.add_argument("--steps", type=int, help="no more than these")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--frozen", type=float, default=0.2, help="the last part, on frozen batch norm")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.told and chosen.task != "denoise":
        parser.error("--told is of the task denoise")
    torch.manual_seed(chosen.seed)
    lr, batch, size = SETTINGS[chosen.task]
    lr, batch = chosen.lr or lr, chosen.batch or batch
    net, name = packed_module(Lite(told=chosen.told)), chosen.name or chosen.task
    if chosen.start:
        known = torch.load(chosen.start, map_location=DEVICE)
        if chosen.told and known["embed.weight"].shape[1] == 3:  # the level counts for nothing at first
            known["embed.weight"] = F.pad(known["embed.weight"], (0, 0, 0, 0, 0, 1))
        net.load_state_dict(known)
    data = Data(chosen.task, chosen.data, chosen.told)
    before = validate(net, data) if chosen.start else None
    steps = train(data, 60 * chosen.minutes, net.train(), lr, batch, size, chosen.frozen, chosen.steps)
    chosen.output.mkdir(parents=True, exist_ok=True)
    torch.save({key: value.cpu() for key, value in net.state_dict().items()}, chosen.output / f"{name}.pth")
    report = {"name": name, "task": chosen.task, "told": chosen.told, "start": str(chosen.start), "steps": steps}
    report |= {"lr": lr, "batch": batch, "size": size, "before": before, "psnr": validate(net, data)}
    (chosen.output / f"{name}.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report))


def packed_module(net):
    net = net.to(DEVICE)
    return net.to(memory_format=torch.channels_last) if CUDA else net


if __name__ == "__main__":
    main()
