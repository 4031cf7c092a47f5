"""`spikerir_lite` in PyTorch, T steps at once, for training on a GPU: with Triton neurons and dense convolutions.

Neurons integrate and fire with soft reset, from half full; the gradient of a spike is that of a sigmoid. Without a GPU, or
without triton, the neurons are slow ones of the same numbers.
"""

import math

import torch
import torch.nn.functional as F
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
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
HALF = torch.bfloat16 if CUDA else torch.float32


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
