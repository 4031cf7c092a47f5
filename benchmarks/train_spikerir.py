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
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _cuda_graph import captured
from _degraded import Data, with_level
from _lite import CUDA, DEVICE, Lite, Norm

torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.benchmark = True


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
