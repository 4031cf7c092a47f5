"""Plain DRUNets trained in PyTorch, in bfloat16: colour denoisers told the noise level, or deblurring, deraining and dehazing.

    python benchmarks/train_drunet.py DATA -o FOLDER --task denoise --width 16 --minutes 90
    nspike import FOLDER/denoise.pth --network drunet --sigma 0 --sigma 55 -o plain.h5
    nspike convert plain.h5 --plugin few_spikes --calibrate DATA/BSDS500_train -o model.h5

DATA and what is held out are those of `train_spikerir.py`. L1; AdamW; the learning rate falls by a cosine of time. The average
of the weights (0.999) is kept, tested and written, every ten minutes too; with the optimiser's state, so that `--resume` goes
on after an interruption. All tasks but the first see a plane of zeros for the noise level. Needs torch, pillow and h5py.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

import torch
from _degraded import Data
from _lite import CUDA, DEVICE
from torch import nn
from train_spikerir import psnr

LEVELS = 3
SAVED_EVERY = 600
"""Seconds."""


def conv(inputs, outputs, side=3):
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.res = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width))

    def forward(self, x):
        return x + self.res(x)


class DRUNet(nn.Module):
    """RGB and a plane of sigma/255, sides multiples of 8 -> RGB; KAIR's keys."""

    def __init__(self, width, blocks):
        super().__init__()
        widths = [width << i for i in range(LEVELS + 1)]
        self.m_head, self.m_tail = conv(4, width), conv(width, 3)
        for i in range(1, LEVELS + 1):
            wide, wider = widths[i - 1], widths[i]
            down = nn.Conv2d(wide, wider, 2, 2, bias=False)
            setattr(self, f"m_down{i}", nn.Sequential(*(Block(wide) for _ in range(blocks)), down))
            up = nn.ConvTranspose2d(wider, wide, 2, 2, bias=False)
            setattr(self, f"m_up{i}", nn.Sequential(up, *(Block(wide) for _ in range(blocks))))
        self.m_body = nn.Sequential(*(Block(widths[-1]) for _ in range(blocks)))

    def forward(self, x):
        skips = [self.m_head(x)]
        for i in range(1, LEVELS + 1):
            skips.append(getattr(self, f"m_down{i}")(skips[-1]))
        y = self.m_body(skips[-1])
        for i in range(LEVELS, 0, -1):
            y = getattr(self, f"m_up{i}")(y + skips[i])
        return self.m_tail(y + skips[0])


def told(pair):
    """Pairs with a plane for the noise level, and that of zeros where there is none."""
    degraded, clean = pair
    if degraded.shape[1] == 3:
        degraded = nn.functional.pad(degraded, (0, 0, 0, 0, 0, 1))
    return degraded.contiguous(memory_format=torch.channels_last), clean


def run(net, x):
    with torch.autocast(DEVICE, torch.bfloat16):
        return net(x).float()


@torch.no_grad()
def validate(net, data):
    """Mean PSNR on the held-out images: by sigma, or after and before."""
    if data.task == "denoise":
        clean, scores = data.held[:, :, :320, :480].float() / 255, {}
        draws = torch.Generator().manual_seed(0)
        noise = torch.randn(clean.shape, generator=draws).to(DEVICE)
        for sigma in (15, 25, 50):
            plane = torch.full((len(clean), 1, *clean.shape[2:]), sigma / 255, device=DEVICE)
            noisy = torch.cat([clean + noise * (sigma / 255), plane], 1)
            made = torch.cat([run(net, part) for part in noisy.split(4)])
            scores[sigma] = round(psnr(made, clean), 3)
        return scores
    state = torch.get_rng_state()
    torch.manual_seed(5)
    pairs = [told(data.draw(data.held, 8, 256)) for _ in range(6)]
    torch.set_rng_state(state)
    made = sum(psnr(run(net, x), clean) for x, clean in pairs) / len(pairs)
    return {"output": round(made, 3), "input": round(sum(psnr(x[:, :3], c) for x, c in pairs) / len(pairs), 3)}


def main():
    """Train, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--task", choices=("denoise", "jpeg", "motion", "defocus", "derain", "dehaze"), required=True)
    parser.add_argument("--name", help="of the files, by default the task")
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--resume", action="store_true", help="go on with what FOLDER holds")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--steps", type=int, help="no more than these")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    torch.manual_seed(chosen.seed)
    name = chosen.name or chosen.task
    chosen.output.mkdir(parents=True, exist_ok=True)
    weights, kept = chosen.output / f"{name}.pth", chosen.output / f"{name}.state"
    data = Data(chosen.task, chosen.data, told=True)
    net = DRUNet(chosen.width, chosen.blocks).to(DEVICE).to(memory_format=torch.channels_last)
    if chosen.start:
        net.load_state_dict(torch.load(chosen.start, map_location=DEVICE))
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999))
    optimiser = torch.optim.AdamW(net.parameters(), lr=chosen.rate, weight_decay=1e-4)
    steps, earlier = 0, 0.0
    if chosen.resume:
        found = torch.load(kept, map_location=DEVICE)
        net.load_state_dict(found["net"])
        average.load_state_dict(found["average"])
        optimiser.load_state_dict(found["optimiser"])
        steps, earlier = found["steps"], found["seconds"]
    report = {"script": "benchmarks/train_drunet.py", "start": chosen.start.name if chosen.start else "random weights"}
    report |= {k: getattr(chosen, k) for k in ("task", "width", "blocks", "batch", "patch", "rate", "minutes", "seed")}
    report["before"] = validate(average.module, data)
    print(json.dumps(report), flush=True)
    begun = saved = time.monotonic()

    def save():
        whole = {"net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
        whole |= {"steps": steps, "seconds": earlier + time.monotonic() - begun}
        for path, held in ((kept, whole), (weights, {k: v.cpu() for k, v in average.module.state_dict().items()})):
            torch.save(held, f"{path}.part")
            os.replace(f"{path}.part", path)
        told_so_far = report | {"steps": steps, "psnr": validate(average.module, data)}
        (chosen.output / f"{name}.json").write_text(json.dumps(told_so_far, indent=1))
        print(
            json.dumps({"minutes": round(whole["seconds"] / 60, 1), "steps": steps} | told_so_far["psnr"]), flush=True
        )

    while True:
        part = (earlier + time.monotonic() - begun) / (60 * chosen.minutes)
        if part >= 1 or steps == chosen.steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = chosen.rate * min(1, (steps + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * part) + 1e-3)
        x, clean = told(data.draw(data.pool, chosen.batch, chosen.patch))
        loss = (run(net, x) - clean).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(net)
        steps += 1
        if CUDA and steps % 20 == 0:
            torch.cuda.synchronize()
        if time.monotonic() - saved > SAVED_EVERY:
            save()
            saved = time.monotonic()
    save()


if __name__ == "__main__":
    main()
