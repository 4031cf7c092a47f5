"""Pairs of degraded and clean patches of each task of `train_spikerir.py`, made on the device that trains."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from _lite import DEVICE
from PIL import Image

from nspike.degradations.compression import MARGIN, compress

HELD_OUT = 20
"""Images of BSDS500_test, the last ones, that are in no training."""
SIDE = 31
"""Of blur kernels, in pixels."""


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
        return getattr(self, self.task if self.task in ("denoise", "jpeg", "derain", "dehaze") else "blur")(
            pool, n, size
        )

    def denoise(self, pool, n, size):
        clean, level = crops(pool, n, size), between(n, 0, 55 / 255)
        noisy = clean + level * torch.randn_like(clean)
        return (with_level(noisy, level) if self.told else noisy), clean

    def jpeg(self, pool, n, size):
        """Noise that has been through a JPEG of quality 60 to 98, and its level before."""
        wide, level = crops(pool, n, size + 2 * MARGIN), between(n, 0, 55 / 255)
        noisy = (wide + level * torch.randn_like(wide)).permute(0, 2, 3, 1).double().cpu().numpy()
        qualities, halved = torch.randint(60, 99, (n,)).tolist(), (torch.rand(n) < 0.7).tolist()
        read = [compress(each, q, halved=h) for each, q, h in zip(noisy, qualities, halved, strict=True)]
        made = torch.from_numpy(np.float32(read)).permute(0, 3, 1, 2).to(DEVICE)
        inner = slice(MARGIN, MARGIN + size)
        return with_level(made[:, :, inner, inner], level), wide[:, :, inner, inner]

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
