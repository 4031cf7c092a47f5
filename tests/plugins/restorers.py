"""Restormer, PromptIR and AdaIR in PyTorch, written from their descriptions, with the keys of their published files."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(inputs, outputs, kernel=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)


class Norm(nn.Module):
    """Keys body.weight, body.bias. Without biases the mean is kept, though the deviation is taken from it."""

    def __init__(self, channels, bias):
        super().__init__()
        self.body = nn.Module()
        self.body.weight = nn.Parameter(torch.randn(channels) * 0.3 + 1)
        if bias:
            self.body.bias = nn.Parameter(torch.randn(channels) * 0.3)

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        deviation = torch.sqrt((x - mean).square().mean(1, keepdim=True) + 1e-5)
        weight = self.body.weight[:, None, None]
        if hasattr(self.body, "bias"):
            return (x - mean) / deviation * weight + self.body.bias[:, None, None]
        return x / deviation * weight


def attend(q, k, v, temperature):
    n, channels, height, width = q.shape
    q, k, v = (t.reshape(n, len(temperature), -1, height * width) for t in (q, k, v))
    scores = torch.einsum("nhap,nhbp->nhab", F.normalize(q, dim=3), F.normalize(k, dim=3)) * temperature
    return torch.einsum("nhab,nhbp->nhap", torch.softmax(scores, 3), v).reshape(n, channels, height, width)


class SelfAttention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.temperature = nn.Parameter(torch.rand(heads, 1, 1) + 0.5)
        self.qkv, self.qkv_dwconv = conv(channels, 3 * channels), conv(3 * channels, 3 * channels, 3, 3 * channels)
        self.project_out = conv(channels, channels)

    def forward(self, x):
        return self.project_out(attend(*self.qkv_dwconv(self.qkv(x)).chunk(3, 1), self.temperature))


class CrossAttention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.temperature = nn.Parameter(torch.rand(heads, 1, 1) + 0.5)
        self.q, self.q_dwconv = conv(channels, channels), conv(channels, channels, 3, channels)
        self.kv, self.kv_dwconv = conv(channels, 2 * channels), conv(2 * channels, 2 * channels, 3, 2 * channels)
        self.project_out = conv(channels, channels)

    def forward(self, queries, x):
        k, v = self.kv_dwconv(self.kv(x)).chunk(2, 1)
        return self.project_out(attend(self.q_dwconv(self.q(queries)), k, v, self.temperature))


class FeedForward(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = int(channels * 2.66)
        self.project_in, self.dwconv = conv(channels, 2 * hidden), conv(2 * hidden, 2 * hidden, 3, 2 * hidden)
        self.project_out = conv(hidden, channels)

    def forward(self, x):
        a, b = self.dwconv(self.project_in(x)).chunk(2, 1)
        return self.project_out(F.gelu(a) * b)


class Block(nn.Module):
    def __init__(self, channels, heads, bias=True):
        super().__init__()
        self.norm1, self.norm2 = Norm(channels, bias), Norm(channels, bias)
        self.attn, self.ffn = SelfAttention(channels, heads), FeedForward(channels)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels // 2, 3), nn.PixelUnshuffle(2))

    def forward(self, x):
        return self.body(x)


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(conv(channels, 2 * channels, 3), nn.PixelShuffle(2))

    def forward(self, x):
        return self.body(x)


class Restormer(nn.Module):
    def __init__(self, channels=3, width=8, blocks=(1, 1, 1, 1), refinement=1, bias=True):
        super().__init__()
        w = width

        def some(wide, heads, count):
            return nn.Sequential(*(Block(wide, heads, bias) for _ in range(count)))

        self.patch_embed = nn.Module()
        self.patch_embed.proj = conv(channels, w, 3)
        for i in range(3):
            self.add_module(f"encoder_level{i + 1}", some(w << i, 1 << i, blocks[i]))
            self.add_module(f"down{i + 1}_{i + 2}", Down(w << i))
            self.add_module(f"decoder_level{i + 1}", some(max(2 * w, w << i), 1 << i, blocks[i]))
        self.latent = some(8 * w, 8, blocks[3])
        self.up4_3, self.up3_2, self.up2_1 = Up(8 * w), Up(4 * w), Up(2 * w)
        self.reduce_chan_level3, self.reduce_chan_level2 = conv(8 * w, 4 * w), conv(4 * w, 2 * w)
        self.refinement, self.output = some(2 * w, 1, refinement), conv(2 * w, channels, 3)

    def between(self, number, image, x):
        """What other networks do to the latent (3), and after decoder_level3 (2) and decoder_level2 (1)."""
        return x

    def forward(self, image):
        one = self.encoder_level1(self.patch_embed.proj(image))
        two = self.encoder_level2(self.down1_2(one))
        three = self.encoder_level3(self.down2_3(two))
        x = self.between(3, image, self.latent(self.down3_4(three)))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), three], 1)))
        x = self.between(2, image, x)
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), two], 1)))
        x = self.between(1, image, x)
        x = self.decoder_level1(torch.cat([self.up2_1(x), one], 1))
        return self.output(self.refinement(x)) + image


class PromptBlock(nn.Module):
    def __init__(self, width, side, given):
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, 5, width, side, side))
        self.linear_layer, self.conv3x3 = nn.Linear(given, 5), conv(width, width, 3)

    def forward(self, x):
        weights = torch.softmax(self.linear_layer(x.mean((2, 3))), 1)
        mixed = torch.einsum("nk,kcij->ncij", weights, self.prompt_param[0])
        return self.conv3x3(F.interpolate(mixed, x.shape[2:], mode="bilinear", align_corners=False))


class PromptIR(Restormer):
    def __init__(self, width=8, prompts=((4, 6), (8, 3), (12, 2)), **sizes):
        super().__init__(width=width, **sizes)
        w = width
        self.up4_3, self.reduce_chan_level3 = Up(4 * w), conv(6 * w, 4 * w)
        for i, wide, kept in ((1, 2 * w, 2 * w), (2, 4 * w, 4 * w), (3, 8 * w, 4 * w)):
            channels, side = prompts[i - 1]
            self.add_module(f"prompt{i}", PromptBlock(channels, side, wide))
            self.add_module(f"noise_level{i}", Block(wide + channels, 4))
            self.add_module(f"reduce_noise_level{i}", conv(wide + channels, kept))
            outer, inner = ((64, 64), (128, 128), (256, 320))[i - 1]
            self.add_module(f"chnl_reduce{i}", conv(inner, outer))
            self.add_module(f"reduce_noise_channel_{i}", conv((w << (i - 1)) + outer, w << (i - 1)))

    def between(self, number, image, x):
        x = torch.cat([x, getattr(self, f"prompt{number}")(x)], 1)
        return getattr(self, f"reduce_noise_level{number}")(getattr(self, f"noise_level{number}")(x))


class Refine(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.SpatialGate, self.ChannelGate = nn.Module(), nn.Module()
        self.SpatialGate.spatial = conv(2, 1, 7)
        self.ChannelGate.mlp = nn.Sequential(conv(channels, channels // 16), nn.ReLU(), conv(channels // 16, channels))
        self.proj = conv(channels, channels, bias=True)

    def forward(self, low, high):
        seen = torch.cat([high.amax(1, keepdim=True), high.mean(1, keepdim=True)], 1)
        mlp = self.ChannelGate.mlp
        gate = torch.sigmoid(mlp(low.mean((2, 3), keepdim=True)) + mlp(low.amax((2, 3), keepdim=True)))
        return self.proj(high * gate + low * torch.sigmoid(self.SpatialGate.spatial(seen)))


class Frequencies(nn.Module):
    def __init__(self, channels, image_channels, heads):
        super().__init__()
        self.conv, self.conv1 = (conv(image_channels, channels, 3) for _ in range(2))
        self.score_gen = conv(2, 2, 7, bias=True)
        self.para1, self.para2 = (nn.Parameter(torch.rand(channels, 1, 1) + 0.5) for _ in range(2))
        self.channel_cross_l, self.channel_cross_h, self.channel_cross_agg = (
            CrossAttention(channels, heads) for _ in range(3)
        )
        self.frequency_refine = Refine(channels)
        self.rate_conv = nn.Sequential(conv(channels, channels // 8), nn.GELU(), conv(channels // 8, 2))

    def split(self, x):
        height, width = x.shape[2:]
        shares = torch.sigmoid(self.rate_conv(x.mean((2, 3), keepdim=True)))[:, :, 0, 0]
        parts = []
        for each, share in zip(x, shares, strict=True):
            h, w = (int(side // 128 * part) for side, part in zip((height, width), share, strict=True))
            middle = (height // 2, width // 2)
            box = torch.zeros(height, width, dtype=each.dtype)
            box[middle[0] - h : middle[0] + h, middle[1] - w : middle[1] + w] = 1
            spectrum = torch.roll(torch.fft.fft2(each), middle, (1, 2))
            back = [-side for side in middle]
            parts.append([torch.fft.ifft2(torch.roll(spectrum * b, back, (1, 2))).abs() for b in (1 - box, box)])
        return (torch.stack(part) for part in zip(*parts, strict=True))

    def forward(self, image, x):
        image = F.interpolate(image, x.shape[2:], mode="bilinear", align_corners=False)
        high, low = self.split(self.conv1(image))
        high, low = self.channel_cross_l(high, x), self.channel_cross_h(low, x)
        mixed = self.channel_cross_agg(x, self.frequency_refine(low, high))
        return mixed * self.para1 + x * self.para2


class AdaIR(Restormer):
    def __init__(self, channels=3, width=8, **sizes):
        super().__init__(channels, width, **sizes)
        for i in (1, 2, 3):
            self.add_module(f"fre{i}", Frequencies(width << (4 - i), channels, 4))

    def between(self, number, image, x):
        return getattr(self, f"fre{4 - number}")(image, x)
