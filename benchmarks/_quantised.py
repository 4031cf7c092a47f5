"""QCFS on bfloat16 numbers, in one pass each way: λ/L·⌊x·L/λ + 1/2⌋ between 0 and λ, with an overshoot before it is rounded.

The overshoot o adds 3·o·u²/(1 + 2·max(0, x·L/λ)), u uniform by a hash: see `nspike.fitting.training`. On a processor the passes
are Numba's, on the upper halves of float32 numbers as uint16; on a GPU PyTorch's.

A price of a spike adds its own gradient where levels are sent as binary digits (neuron `few_spikes`). How many of the digits
of n are 1 is taken as 3/4·log2(1 + n), with n = x·L/λ.
"""

import math

import numpy as np
import torch
from numba import njit

_BITS = np.uint32(16)
DIGITS = 0.75 / math.log(2)
"""The slope of 3/4·log2(1 + n) is this over 1 + n."""


@njit(cache=True, error_model="numpy", fastmath=True)
def _forward(x, ceiling, levels, overshoot, seed, out, counts):
    """x uint16 (P, C) -> out uint16 (P, C), and how many levels each is: counts uint8 (P, C)."""
    pixels, channels = x.shape
    word, made = np.empty(channels, np.uint32), np.empty(channels, np.float32)
    value, bits = word.view(np.float32), made.view(np.uint32)
    most, excess = np.float32(levels), np.float32(3 * overshoot)
    for p in range(pixels):
        read, write, count = x[p], out[p], counts[p]
        for c in range(channels):
            word[c] = np.uint32(read[c]) << _BITS
        for c in range(channels):
            z = value[c] * (most / ceiling[c])
            h = np.uint32((p * channels + c) * 2654435769 + seed)
            h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(569420461))
            h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(3545902487))
            u = np.float32(h >> np.uint32(8)) * np.float32(2**-24)
            z += excess * u * u / (np.float32(1) + np.float32(2) * max(z, np.float32(0)))
            n = np.floor(min(max(z, np.float32(-1)), most) + np.float32(0.5))
            n = min(max(n, np.float32(0)), most)
            made[c] = n * (ceiling[c] / most)
            count[c] = np.uint8(n)
        for c in range(channels):
            write[c] = np.uint16((bits[c] + np.uint32(0x8000)) >> _BITS)


@njit(cache=True, error_model="numpy", fastmath=True)
def _backward(x, counts, given, ceiling, levels, price, out, sums):
    """From ∂L/∂y uint16 (P, C) write ∂L/∂x; ∂L/∂λ, float32 (C,), is added to sums. A spike costs `price`."""
    pixels, channels = x.shape
    first, second, third = np.empty(channels, np.uint32), np.empty(channels, np.uint32), np.empty(channels, np.uint32)
    value, g, made = first.view(np.float32), second.view(np.float32), third.view(np.float32)
    price = np.float32(price * DIGITS)
    part, most = np.zeros(channels, np.float32), np.float32(levels)
    for p in range(pixels):
        if p & 1023 == 0:  # float32 sums stay short
            sums += part
            part[:] = np.float32(0)
        a, b, count, write = x[p], given[p], counts[p], out[p]
        for c in range(channels):
            first[c] = np.uint32(a[c]) << _BITS
            second[c] = np.uint32(b[c]) << _BITS
        for c in range(channels):
            z = value[c] * (most / ceiling[c])
            inside = (z > 0) & (z < most)
            own = np.float32(count[c]) - z if inside else (most if z >= most else np.float32(0))
            more = price / (np.float32(1) + z) * (most / ceiling[c]) if inside else np.float32(0)
            part[c] += g[c] * own / most - more * value[c] / ceiling[c]
            made[c] = g[c] + more if inside else np.float32(0)
        for c in range(channels):
            write[c] = np.uint16((third[c] + np.uint32(0x8000)) >> _BITS)
    sums += part


def _words(x):
    """A bfloat16 tensor (N, C, H, W), channels last, as uint16 (N·H·W, C)."""
    return x.permute(0, 2, 3, 1).view(torch.int16).numpy().view(np.uint16).reshape(-1, x.shape[1])


class Quantise(torch.autograd.Function):
    """Activations (N, C, H, W), bfloat16, and ceilings (C,) -> values like them; what rounds is passed straight through."""

    @staticmethod
    def forward(ctx, x, ceiling, levels, overshoot, price=0.0):
        ctx.levels, ctx.price = levels, price
        if x.is_cuda:
            z = x.float() * (levels / ceiling).view(1, -1, 1, 1)
            more = z + torch.rand_like(z).square_() * (3 * overshoot) / (1 + 2 * z.relu()) if overshoot else z
            whole = (more + 0.5).floor_().clamp_(0, levels)
            ctx.save_for_backward(x, ceiling, whole.to(torch.uint8))
            return (whole * (ceiling / levels).view(1, -1, 1, 1)).to(x.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x)
        counts = torch.empty(out.numel(), dtype=torch.uint8)
        seed = int(torch.randint(2**31, ()))
        read, write = _words(x), _words(out)
        _forward(read, ceiling.detach().numpy(), levels, overshoot, seed, write, counts.numpy().reshape(write.shape))
        ctx.save_for_backward(x, ceiling, counts)
        return out

    @staticmethod
    def backward(ctx, g):
        x, ceiling, counts = ctx.saved_tensors
        if x.is_cuda:
            levels = ctx.levels
            z = x.float() * (levels / ceiling).view(1, -1, 1, 1)
            inside = (z > 0) & (z < levels)
            own = torch.where(inside, counts.float() - z, (z >= levels) * float(levels)) / levels
            slope = levels / ceiling.view(1, -1, 1, 1)
            more = inside * (ctx.price * DIGITS / (1 + z)) * slope
            of_ceiling = g.float() * own - more * x.float() / ceiling.view(1, -1, 1, 1)
            return (g * inside + more).to(g.dtype), of_ceiling.sum((0, 2, 3)), None, None, None
        out, sums = torch.empty_like(x), torch.zeros(x.shape[1])
        given, read = _words(g.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)), _words(x)
        of_counts = counts.numpy().reshape(read.shape)
        numbers = ceiling.detach().numpy(), ctx.levels, ctx.price
        _backward(read, of_counts, given, *numbers, _words(out), sums.numpy())
        return out, sums, None, None, None
