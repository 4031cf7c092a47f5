"""Chains (DnCNN, VDSR) trained on a GPU: the plain network (--ann), also with QCFS (--levels), or a converted one through time.

    python benchmarks/train_on_gpu.py dncnn-s25 --data T91 BSDS500_train BSDS500_test --minutes 2 -o dncnn-s25-more.h5

The same network, loss and options as `train_chain.py`, with its neurons as Triton kernels, crops drawn and degraded on the GPU,
and a step as one CUDA graph. Degradations: noise of one level, and bicubic scales, of whole images. The learning rate falls by a
cosine of time, not of steps. The last `--held` images are in no training; crops of 128² of them are scored at both ends. Needs
torch, with a GPU triton. Without a GPU only plain networks are worth it: on one thread of a processor with units for bfloat16 a
step of VDSR with QCFS, 8 patches of 40², takes 0.23 s.
"""

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import train_chain
from _cuda_graph import captured
from _quantised import Quantise
from train_chain import HALF, SIDE, Chain

import nspike
from nspike.degradations.batches import CropBatches
from nspike.degradations.kinds import degrade
from nspike.degradations.sources import Scene, read_scene
from nspike.fitting.provenance import with_baseline
from nspike.graph.layer import Conv
from nspike.graph.mode import restored

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True
torch.backends.cudnn.benchmark = True


def planes(given):
    """The clean plane of a source, and those that its degradation makes of it: float32 (H, W)."""
    source, info, degradation = given
    image = read_scene(source, info, 1).image
    scales = degradation.scales
    multiple = math.lcm(*scales)
    height, width = (side - side % multiple for side in image.shape[:2])
    image = image[:height, :width]
    made = []
    if degradation.kind == "bicubic":
        draw = np.random.default_rng(0)
        made = [degrade(Scene(image, None, None), degradation, index, draw)[0][0] for index in range(len(scales))]
    return np.float32(image[..., 0]), [np.float32(each) for each in made]


class Pool:
    """Images on the GPU, and crops of them.

    Parameters
    ----------
    batches : says which images, and how they are degraded.
    """

    def __init__(self, batches):
        self.degradation = batches.degradation
        if self.degradation.kind not in ("noise", "bicubic"):
            raise SystemExit(f"expected noise or bicubic, not {self.degradation.kind}")
        if batches.channels != 1:
            raise SystemExit(f"expected a network of one channel, not {batches.channels}")
        given = [(source, batches.info, self.degradation) for source in batches.sources]
        with ProcessPoolExecutor() as pool:
            found = list(pool.map(planes, given, chunksize=4))
        sizes = torch.tensor([image.shape for image, _ in found])
        self.heights, self.widths = sizes.to(DEVICE).unbind(1)
        self.first = (sizes.prod(1).cumsum(0) - sizes.prod(1)).to(DEVICE)
        flat = [np.concatenate([image.ravel() for image, _ in found])]
        for index in range(len(found[0][1])):
            flat.append(np.concatenate([made[index].ravel() for _, made in found]))
        self.pixels = torch.from_numpy(np.stack(flat)).to(DEVICE)

    def draw(self, n, side):
        """(degraded, clean), (n, 1, side, side), flipped and turned at random."""
        which = torch.randint(len(self.first), (n,), device=DEVICE)
        along, at = torch.arange(side, device=DEVICE), []
        for lengths in (self.heights[which], self.widths[which]):
            start = (torch.rand(n, device=DEVICE) * (lengths - side + 1)).long()[:, None]
            flip = torch.rand((n, 1), device=DEVICE) < 0.5
            at.append(start + torch.where(flip, side - 1 - along, along))
        y, x = at[0][:, :, None], at[1][:, None, :]
        turned = torch.rand((n, 1, 1), device=DEVICE) < 0.5
        place = self.first[which][:, None, None] + y * self.widths[which][:, None, None] + x
        place = torch.where(turned, place.transpose(1, 2), place)
        clean = self.pixels[0][place][:, None]
        if self.degradation.kind == "noise":
            return clean + self.degradation.numbers["sigma"] / 255 * torch.randn_like(clean), clean
        count = len(self.pixels) - 1
        scale = torch.randint(count, (n, 1, 1), device=DEVICE) + 1
        return self.pixels.view(-1)[scale * self.pixels.shape[1] + place][:, None], clean


class Plain:
    """The plain network of a chain, in bfloat16: its activations ReLU or, where they have levels, QCFS with an overshoot.

    With a price of `energy`, levels are sent as binary digits, and operations counted as `train_chain.Chain` counts them.
    """

    def __init__(self, twin, overshoot=0.0, energy=0.0):
        self.twin, self.network, self.overshoot, self.energy = twin, twin.model.network, overshoot, energy
        self.first, self.counting = self.network.activations[0].name, False
        convs = self.network.convs
        self.macs = sum(conv.in_channels * conv.out_channels * conv.kernel**2 for conv in convs)
        fans = [conv.out_channels * conv.kernel**2 for conv in convs[1:]]
        self.fans = {layer.name: fan for layer, fan in zip(self.network.activations, fans, strict=True)}

    def run(self, x):
        """The restored images, and synaptic operations over multiply-accumulates (0 unless `counting` levels in digits)."""
        y = x.to(HALF).contiguous(memory_format=torch.channels_last)
        dense, operations = self.macs * x.shape[0] * x.shape[2] * x.shape[3], 0.0
        for layer in self.network.layers:
            if not isinstance(layer, Conv):
                if layer.levels is None:
                    y = torch.relu(y)
                    continue
                overshoot = self.overshoot if layer.name != self.first else 0.0
                ceiling, fan = self.twin.own(layer.name).ceiling.float(), self.fans[layer.name]
                y = Quantise.apply(y, ceiling, layer.levels, overshoot, self.energy * fan / dense)
                if self.counting:
                    whole = (y.detach().float() * (layer.levels / ceiling).view(1, -1, 1, 1)).round().int()
                    digits = sum(int((whole >> place & 1).sum()) for place in range(layer.levels.bit_length()))
                    operations += fan * digits
                continue
            own = self.twin.own(layer.parameters)
            bias = own.bias.to(HALF) if layer.bias else None
            y = F.conv2d(y, own.weight.to(HALF), bias, padding=layer.pads[0])
            if layer.batch_norm_eps is not None:
                statistics = own.bn_mean, own.bn_var
                live = self.twin.training
                y = F.batch_norm(y, *statistics, own.bn_weight, own.bn_bias, live, 0.1, layer.batch_norm_eps)
        return restored(self.network.mode, x, y.float()), operations / dense


def bounded(twin):
    """The tensors that have a range, with it."""
    ranges = [(twin._tensor(slot), slot.low, slot.high) for slot in twin.slots]
    return [(p, low, high) for p, low, high in ranges if p.requires_grad and (np.isfinite(low) or np.isfinite(high))]


def main():
    """Train, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model: a file, or the name of one that is shipped")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--held", type=int, default=20)
    parser.add_argument("--ann", action="store_true", help="train the plain network")
    parser.add_argument("--sigma", type=float, help="the noise level to train for, with --ann; by default the model's")
    parser.add_argument(
        "--baseline", help="the model whose plain network the result is compared with; by default its own"
    )
    parser.add_argument("--levels", type=int, help="of the plain network's activations, with --ann: QCFS")
    parser.add_argument("--overshoot", type=float, default=0.0)
    parser.add_argument("--percentile", type=float, default=99.0, help="of activations, where their ceilings start")
    parser.add_argument("-T", "--timesteps", type=int)
    parser.add_argument(
        "--log", action="store_true", help="of each crop's error the logarithm: PSNR, for several scales"
    )
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--steps", type=int, help="no more than these")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--neuron-rate", type=float, default=8e-4)
    parser.add_argument("--energy", type=float, default=0.0)
    parser.add_argument("--frozen", type=float, default=0.2, help="the last part, on frozen batch norm")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun = time.monotonic()
    torch.manual_seed(arguments.seed)
    model = nspike.load(arguments.model)
    baseline = nspike.load(arguments.baseline) if arguments.baseline else None
    if arguments.sigma is not None:
        if not arguments.ann:
            parser.error("--sigma is for --ann: a spiking network is compared with a plain one of the same noise")
        if model.info.task != "denoise":
            parser.error(f"--sigma is for denoisers; {model.info.name} is for the task {model.info.task}")
        model = replace(model, info=replace(model.info, degradation={"sigma": arguments.sigma}))
    batches = CropBatches(model, arguments.data, batch=arguments.held, patch=SIDE)
    everything = batches.sources
    batches.sources = everything[-arguments.held :]
    noisy, clean = batches(0)
    batches.sources = everything[: -arguments.held]
    if arguments.ann:
        options = {}
        if arguments.levels:
            options = {"activation": "qcfs", "levels": arguments.levels, "percentile": arguments.percentile}
            first = CropBatches(model, arguments.data, batch=arguments.batch, patch=arguments.patch)
            first.sources = batches.sources
            options |= {"per": "channel", "images": first(0)[0]}
        twin = nspike.to_torch(model, ann=True, **options).train()
        chain = Plain(twin, arguments.overshoot, arguments.energy)
    else:
        if arguments.timesteps is not None:
            model = model.with_spiking(replace(model.spiking, timesteps=arguments.timesteps))
        twin = nspike.to_torch(model, dtype=torch.float32).train()
        neurons = train_chain.Neurons
        if CUDA:
            from _gpu_neurons import Neurons as neurons
        chain = Chain(twin, arguments.energy, neurons)
        chain.scale = chain.scale.to(DEVICE)
    noisy, clean = (torch.from_numpy(each).to(DEVICE) for each in (noisy, clean))
    pool = Pool(batches)
    twin = twin.to(DEVICE).to(memory_format=torch.channels_last)
    ranges = bounded(twin)

    @torch.no_grad()
    def score():
        live = twin.training
        twin.eval()
        chain.counting = True
        given = [chain.run(one[None]) for one in noisy]
        twin.train(live)
        chain.counting = False
        errors = [float((y[0] - wanted).square().mean()) for (y, _), wanted in zip(given, clean, strict=True)]
        psnr = float(np.mean([-10 * math.log10(error) for error in errors]))
        return {"psnr": round(psnr, 3), "operations": round(float(np.mean([each for _, each in given])), 3)}

    ends = ("weight", "bias")
    groups = [[p for n, p in twin.named_parameters() if n.endswith(ends) is which] for which in (True, False)]
    rates = (arguments.rate, arguments.neuron_rate)
    scheduled = [torch.tensor(0.0, device=DEVICE) for _ in rates]
    optimiser = torch.optim.Adam(
        [{"params": own, "lr": rate} for own, rate in zip(groups, scheduled, strict=True) if own],
        capturable=CUDA, foreach=CUDA,
    )  # fmt: skip
    every = [p for own in groups for p in own]
    seen = torch.zeros((), device=DEVICE)

    def step():
        with torch.no_grad():
            x, wanted = pool.draw(arguments.batch, arguments.patch)
        made, _ = chain.run(x)
        errors = (made - wanted).square().mean((1, 2, 3))
        loss = 1e-3 * (errors + 1e-4).log().mean() if arguments.log else errors.mean()
        optimiser.zero_grad(set_to_none=not CUDA)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(every, 1.0)
        optimiser.step()
        with torch.no_grad():
            seen.mul_(0.99).add_(errors.mean(), alpha=0.01)
            for p, low, high in ranges:
                p.clamp_(low, high)

    told = {"before": score()}
    run, steps, frozen = captured(step, scheduled), 0, not arguments.ann
    prepared = time.monotonic()
    print(f"{arguments.output}: {told}, {len(pool.first)} images, prepared in {prepared - begun:.0f} s", flush=True)
    while (part := (time.monotonic() - prepared) / (60 * arguments.minutes)) < 1 and steps != arguments.steps:
        if part > 1 - arguments.frozen and not frozen:
            twin.eval()
            run, frozen = captured(step, scheduled), True
        for rate, most in zip(scheduled, rates, strict=True):
            rate.fill_(most * min(1, (steps + 1) / 200) * max(0.005, 0.5 * (1 + math.cos(math.pi * part))))
        run()
        steps += 1
        if CUDA and steps % 20 == 0:
            torch.cuda.synchronize()
        if steps % 500 == 0:
            print(f"{arguments.output}: {steps} steps, {-10 * math.log10(seen.item()):.3f} dB, {score()}", flush=True)
    seconds = time.monotonic() - prepared
    told |= {"after": score(), "steps": steps, "milliseconds_a_step": round(1000 * seconds / max(1, steps), 2)}
    made = nspike.from_torch(twin.cpu())
    skipped = ("model", "output", "data", "baseline")
    numbers = {name: str(value) for name, value in vars(arguments).items() if name not in skipped}
    numbers |= {"model": model.info.name, "data": ", ".join(Path(folder).name for folder in arguments.data)}
    earlier = made.info.provenance
    if arguments.ann:  # its spiking form is gone, and what is known of that
        of_spikes = ("converter", "converter_options", "fitted", "fine_tuning", "recipe", "chosen_on", "name")
        earlier = earlier.get("baseline") or earlier
        earlier = {name: value for name, value in earlier.items() if name not in of_spikes}
        made = replace(made, info=replace(made.info, provenance=earlier))
    key = "training" if arguments.ann else "fine_tuning"
    history = {key: {"script": "benchmarks/train_on_gpu.py", **numbers, **told}}
    if key in earlier:
        history[key]["earlier"] = earlier[key]
    made = made.with_provenance(**history)
    if baseline is not None:
        made = with_baseline(made, baseline)
    made = replace(made, info=replace(made.info, name=arguments.output.stem, quality={}))
    nspike.save(str(arguments.output), made)
    print(f"{arguments.output}: {json.dumps(told)}", flush=True)


if __name__ == "__main__":
    main()
