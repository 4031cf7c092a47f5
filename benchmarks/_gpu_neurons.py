"""The kernels of `_bfloat16.py` for a GPU, in Triton: a layer of integrate-and-fire neurons through time, forward and back."""

import torch
import triton
import triton.language as tl

ROWS = 32
"""Pixels that a program takes, all channels of each."""


@triton.jit
def _forward(
    x_ptr, bias_ptr, theta_ptr, release_ptr, s_ptr, d_ptr, pixels, v0,
    timesteps: tl.constexpr, steps: tl.constexpr, shared: tl.constexpr, channels: tl.constexpr, rows: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0) * rows + tl.arange(0, rows), tl.arange(0, channels)
    at = row[:, None].to(tl.int64) * channels + column[None, :]
    inside = (row < pixels)[:, None] & (column >= 0)[None, :]
    theta, bias = tl.load(theta_ptr + column)[None, :], tl.load(bias_ptr + column)[None, :]
    after = tl.load(release_ptr)
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    u = x * 0.0 + v0 * theta
    for t in tl.static_range(steps):
        here = at + t * pixels.to(tl.int64) * channels
        threshold = theta
        if t < timesteps:
            if not shared:
                x = tl.load(x_ptr + here, mask=inside, other=0.0).to(tl.float32)
            u = u + x + bias
        else:
            threshold = theta * after
            if not shared:
                u = u + tl.load(x_ptr + here, mask=inside, other=0.0).to(tl.float32)
        z = u - threshold
        fired = z >= 0
        e = tl.exp(-4.0 * tl.abs(z))
        slope = 4.0 * e / ((1.0 + e) * (1.0 + e))
        tl.store(s_ptr + here, tl.where(fired, 1.0, 0.0).to(tl.bfloat16), mask=inside)
        tl.store(d_ptr + here, tl.where(fired, -slope, slope).to(tl.bfloat16), mask=inside)
        u = tl.where(fired, u - theta, u)


@triton.jit
def _backward(
    d_ptr, g_ptr, theta_ptr, release_ptr, out_ptr, sums_ptr, pixels, v0, more,
    timesteps: tl.constexpr, steps: tl.constexpr, shared: tl.constexpr, channels: tl.constexpr, rows: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0) * rows + tl.arange(0, rows), tl.arange(0, channels)
    at = row[:, None].to(tl.int64) * channels + column[None, :]
    inside = (row < pixels)[:, None] & (column >= 0)[None, :]
    theta = tl.load(theta_ptr + column)[None, :]
    after = tl.load(release_ptr)
    v = tl.zeros((rows, channels), tl.float32)
    kept = tl.zeros((rows, channels), tl.float32)
    of_bias = tl.zeros((rows, channels), tl.float32)
    of_theta = tl.zeros((rows, channels), tl.float32)
    of_release = tl.zeros((rows, channels), tl.float32)
    for back in tl.static_range(steps):
        t = steps - 1 - back
        here = at + t * pixels.to(tl.int64) * channels
        marked = tl.load(d_ptr + here, mask=inside, other=0.0).to(tl.float32)
        given = tl.load(g_ptr + here, mask=inside, other=0.0).to(tl.float32)
        g = (given + more - theta * v) * tl.abs(marked)
        reset = tl.where(marked < 0, v, 0.0)
        if t < timesteps:
            of_theta -= g + reset
            v += g
            of_bias += v
            kept += v
        else:
            of_theta -= after * g + reset
            of_release -= theta * g
            v += g
        if not shared:
            tl.store(out_ptr + here, v.to(tl.bfloat16), mask=inside)
    of_theta += v0 * v
    if shared:
        tl.store(out_ptr + at, kept.to(tl.bfloat16), mask=inside)
    own = sums_ptr + tl.program_id(0) * 3 * channels + column
    tl.store(own, tl.sum(of_bias, 0))
    tl.store(own + channels, tl.sum(of_theta, 0))
    tl.store(own + 2 * channels, tl.sum(of_release, 0))


class Neurons(torch.autograd.Function):
    """As `train_chain.Neurons`: currents (steps·N or N, C, H, W) -> spikes (steps·N, C, H, W), bfloat16, channels last."""

    @staticmethod
    def forward(ctx, currents, bias, theta, release, v0, timesteps, steps, count, more):
        currents = currents.contiguous(memory_format=torch.channels_last)
        n, c, h, w = currents.shape
        spikes = torch.empty(
            (steps * count, c, h, w), dtype=torch.bfloat16, device=currents.device, memory_format=torch.channels_last
        )
        slopes = torch.empty_like(spikes)
        pixels = count * h * w
        given = bias.detach().contiguous(), theta.detach().contiguous(), release.detach().reshape(1).float()
        settings = (timesteps, steps, n == count, c, ROWS)
        _forward[(triton.cdiv(pixels, ROWS),)](currents, *given, spikes, slopes, pixels, float(v0), *settings)
        ctx.save_for_backward(slopes, *given[1:])
        ctx.kept = settings, pixels, float(v0), float(more), currents.shape
        return spikes

    @staticmethod
    def backward(ctx, g):
        slopes, theta, release = ctx.saved_tensors
        settings, pixels, v0, more, shape = ctx.kept
        g = g.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        out = torch.empty(shape, dtype=torch.bfloat16, device=g.device, memory_format=torch.channels_last)
        programs = triton.cdiv(pixels, ROWS)
        sums = torch.empty((programs, 3, shape[1]), dtype=torch.float32, device=g.device)
        _backward[(programs,)](slopes, g, theta, release, out, sums, pixels, v0, more, *settings)
        of_bias, of_theta, of_release = sums.sum(0)
        return out, of_bias, of_theta, of_release.sum(), None, None, None, None, None
