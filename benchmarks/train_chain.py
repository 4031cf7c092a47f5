"""A converted chain (DnCNN, VDSR) trained through time in PyTorch, in bfloat16, for processors that have units for it.

    python benchmarks/train_chain.py dncnn-s25 -T 5 --data data/train/Train400 --steps 5000 --energy 1e-4 -o t5.h5

The parameters are those of `nspike.to_torch`, and so is the network, but for kernels and currents in bfloat16: spikes differ
where a membrane is near its threshold, while rates and PSNR agree with the engine's (DnCNN, T = 5: 26.80 dB here, 26.79 there).
What it writes is rounded and run as any model is. Neurons `if` and `mprn`, head `cpm`. The loss is the mean squared error, or
with --log its logarithm crop by crop, plus `--energy` times the synaptic operations over the plain network's
multiply-accumulates. The last `--held` images by name are in no training; a crop of 128² of each is scored. It goes on where it
was stopped. Needs torch; with glibc, MALLOC_TOP_PAD_ and MALLOC_MMAP_THRESHOLD_ in gigabytes keep memory from being handed back
and cleared at every layer.
"""

import argparse
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _bfloat16 import backward, forward

import nspike
from nspike.degradations.batches import CropBatches
from nspike.degradations.kinds import degradation_of
from nspike.fitting.provenance import with_baseline
from nspike.graph.layer import Activation, Conv
from nspike.graph.mode import restored

HALF = torch.bfloat16
SIDE = 128
"""Of the held-out crops, in pixels."""


def words(images):
    """Images (N, C, H, W), bfloat16 and channels last, as uint16 (N·H·W, C)."""
    n, c, h, w = images.shape
    return images.permute(0, 2, 3, 1).view(torch.int16).numpy().view(np.uint16).reshape(n * h * w, c)


class Neurons(torch.autograd.Function):
    """A layer of neurons through time: currents (steps·N or N, C, H, W) -> spikes (steps·N, C, H, W)."""

    @staticmethod
    def forward(ctx, currents, bias, theta, release, v0, timesteps, steps, count, more):
        n, c, h, w = currents.shape
        spikes = torch.empty((steps * count, c, h, w), dtype=HALF, memory_format=torch.channels_last)
        slopes = torch.empty_like(spikes)
        fires = np.ones(steps, np.float32)
        fires[timesteps:] = float(release)
        read = words(currents.contiguous(memory_format=torch.channels_last)).reshape(n // count, -1, c)
        numbers = (theta.detach().numpy(), np.float32(v0), fires, timesteps)
        into = (words(each).reshape(steps, -1, c) for each in (spikes, slopes))
        forward(read, bias.detach().numpy(), *numbers, *into)
        ctx.kept = slopes, numbers, np.float32(more), currents.shape, count
        return spikes

    @staticmethod
    def backward(ctx, g):
        slopes, numbers, more, shape, count = ctx.kept
        ctx.kept, c = None, shape[1]
        out = torch.empty(shape, dtype=HALF, memory_format=torch.channels_last)
        sums = np.zeros((3, c), np.float32)
        given = words(g.to(HALF).contiguous(memory_format=torch.channels_last)).reshape(len(numbers[2]), -1, c)
        marks = words(slopes).reshape(len(numbers[2]), -1, c)
        backward(marks, given, more, *numbers, words(out).reshape(shape[0] // count, -1, c), sums)
        of_bias, of_theta, of_release = torch.from_numpy(sums)
        return out, of_bias, of_theta, of_release.sum(), None, None, None, None, None


class Fire(torch.autograd.Function):
    """[x >= 0] of the output's neurons; its gradient that of a sigmoid."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).float()

    @staticmethod
    def backward(ctx, g):
        p = torch.sigmoid(4 * ctx.saved_tensors[0])
        return g * 4 * p * (1 - p)


class Chain:
    """A module of `nspike.to_torch` that is run in bfloat16, its neurons by a function such as `Neurons`."""

    def __init__(self, twin, energy=0.0, neurons=Neurons):
        network = twin.model.network
        kinds = {type(layer) for layer in network.layers}
        names = (twin.neuron.name, twin.spiking_head.name)
        if kinds != {Conv, Activation} or names not in (("mprn", "cpm"), ("if", "cpm")):
            raise SystemExit(f"expected a chain of convolutions with neuron if or mprn and head cpm; this is {names}")
        self.twin, self.energy, self.mode, self.fire = twin, energy, network.mode, neurons.apply
        self.convs = [(conv, twin.layers[conv.name]) for conv in network.convs]
        self.neurons = [twin.layers[layer.name] for layer in network.activations]
        given = twin.model.spiking.neuron_parameters.get(twin.neuron.name, {})
        self.v0 = [given.get(layer.name, {}).get("v_init", 0.0) for layer in network.activations]
        self.timesteps = twin.model.spiking.timesteps
        self.steps = self.timesteps + twin.neuron.post_steps
        self.fans = [conv.out_channels * conv.kernel**2 for conv, _ in self.convs[1:]]
        self.macs = sum(conv.in_channels * conv.out_channels * conv.kernel**2 for conv, _ in self.convs)
        self.scale = torch.from_numpy(twin.rounded()[1].output_scale.astype(np.float32)).view(1, -1, 1, 1)
        self.counting = True

    def run(self, x):
        """The restored images, and synaptic operations over the plain network's multiply-accumulates (0 where not `counting`)."""
        (conv, first), *rest = self.convs
        current = F.conv2d(x, first.weight, padding=conv.pads[0]).to(HALF)
        bias, dense, operations = first.bias, self.macs * x.shape[0] * x.shape[2] * x.shape[3], 0.0
        for own, v0, fan, (conv, layer) in zip(self.neurons, self.v0, self.fans, rest, strict=True):
            release = 0.5 * torch.sigmoid(own.beta.float()) + 0.5 if hasattr(own, "beta") else bias.new_ones(())
            settings = (v0, self.timesteps, self.steps, len(x), self.energy * fan / dense)
            spikes = self.fire(current, bias, own.threshold.float(), release, *settings)
            if self.counting:
                operations += fan * float(spikes.detach().sum(dtype=torch.float32))
            current = F.conv2d(spikes, layer.weight.to(HALF), padding=conv.pads[0])
            bias = layer.bias if hasattr(layer, "bias") else bias.new_zeros(conv.out_channels)
        return self._read(x, current.float().unflatten(0, (self.steps, len(x))), bias), operations / dense

    def _read(self, x, currents, bias):
        theta = self.twin.layers["output"].threshold.float().view(1, -1, 1, 1)
        v, count = torch.zeros_like(currents[0]), 0
        for t, current in enumerate(currents):
            v = v + current
            if t < self.timesteps:  # after T the output only integrates
                v = v + bias.view(1, -1, 1, 1)
                spikes = Fire.apply(v - theta)
                v, count = v - spikes * theta, count + spikes
        head = self.twin.head
        read = F.conv2d(count, head.weight.float(), padding=head.weight.shape[-1] // 2) / self.timesteps
        output = (read + head.bias.float().view(1, -1, 1, 1) + v / (self.timesteps * theta)) * self.scale
        return restored(self.mode, x, output)


def main():
    """Train, and say how it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a converted model: a file, or the name of one that is shipped")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True, help="folders as the model's task takes them")
    parser.add_argument("--held", type=int, default=12)
    parser.add_argument("-T", "--timesteps", type=int)
    parser.add_argument(
        "--baseline", help="the model whose plain network the result is compared with; by default its own"
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--neuron-rate", type=float, default=8e-4)
    parser.add_argument("--energy", type=float, default=0.0)
    parser.add_argument(
        "--log", action="store_true", help="of each crop's error the logarithm: PSNR, for several scales"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="stop after so many, to be gone on with")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = nspike.load(arguments.model)
    baseline = nspike.load(arguments.baseline) if arguments.baseline else None
    if arguments.timesteps is not None:
        model = model.with_spiking(replace(model.spiking, timesteps=arguments.timesteps))
    twin = nspike.to_torch(model, dtype=torch.float32).train()
    chain = Chain(twin, arguments.energy)

    def batches(batch, patch, seed, held):
        made = CropBatches(model, arguments.data, batch=batch, patch=patch, seed=seed)
        made.sources = made.sources[-arguments.held :] if held else made.sources[: -arguments.held]
        return made

    scales = degradation_of(model.info).scales
    training = batches(arguments.batch, arguments.patch, arguments.seed, False)
    noisy, clean = (torch.from_numpy(each) for each in batches(arguments.held, SIDE, 0, True)(0))

    def score():
        with torch.no_grad():
            given = [chain.run(one[None]) for one in noisy]
        errors = [float((y[0] - wanted).square().mean()) for (y, _), wanted in zip(given, clean, strict=True)]
        psnr = [-10 * math.log10(error) for error in errors]
        parts = [f"{np.mean(psnr[i :: len(scales)]):.3f}" for i in range(len(scales))] if len(scales) > 1 else []
        return (
            f"held out {np.mean(psnr):.3f} dB {'/'.join(parts)}, operations {np.mean([each for _, each in given]):.3f}"
        )

    ends = ("weight", "bias")
    groups = [[p for n, p in twin.named_parameters() if n.endswith(ends) is which] for which in (True, False)]
    rates = (arguments.rate, arguments.neuron_rate)
    optimiser = torch.optim.Adam([{"params": own, "most": rate} for own, rate in zip(groups, rates, strict=True)])
    before = model.info.provenance.get("fine_tuning")
    state, begun = arguments.output.with_suffix(".state.pt"), 0
    if state.exists():
        known = torch.load(state, weights_only=False)
        twin.load_state_dict(known["net"])
        optimiser.load_state_dict(known["opt"])
        begun = known["step"]

    def keep(step):
        torch.save({"net": twin.state_dict(), "opt": optimiser.state_dict(), "step": step}, f"{state}.new")
        os.replace(f"{state}.new", state)
        made = nspike.from_torch(twin)
        told = {
            name: str(value)
            for name, value in vars(arguments).items()
            if name not in ("model", "output", "data", "minutes", "baseline")
        }
        told |= {"model": model.info.name, "data": ", ".join(Path(folder).name for folder in arguments.data)}
        made = made.with_provenance(
            fine_tuning={"script": "benchmarks/train_chain.py", **told, "done": step, "before": before}
        )
        if baseline is not None:
            made = with_baseline(made, baseline)
        nspike.save(
            str(arguments.output), replace(made, info=replace(made.info, name=arguments.output.stem, quality={}))
        )

    print(f"{len(training.sources)} images; step {begun}: {score()}", flush=True)
    start, losses, step = time.time(), [], begun - 1
    for step in range(begun, arguments.steps):
        part = max(0.01, 0.5 * (1 + math.cos(math.pi * step / arguments.steps))) * min(1, (step + 1) / 100)
        for group in optimiser.param_groups:
            group["lr"] = group["most"] * part
        x, wanted = (torch.from_numpy(each) for each in training(step))
        made, operations = chain.run(x)
        errors = (made - wanted).square().mean((1, 2, 3))
        loss = 1e-3 * (errors + 1e-4).log().mean() if arguments.log else errors.mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimiser.step()
        twin.constrain()
        losses.append(errors.mean().item())
        if step % 50 == 49:
            seconds = (time.time() - start) / (step + 1 - begun)
            psnr = -10 * math.log10(np.mean(losses[-50:]))
            print(f"{step + 1}: {psnr:.3f} dB, operations {operations:.3f}, {seconds:.3f} s a step", flush=True)
        if step % 500 == 499:
            keep(step + 1)
            print(f"{step + 1}: {score()}", flush=True)
        if arguments.minutes and time.time() - start > 60 * arguments.minutes:
            break
    keep(step + 1)
    print(f"{arguments.output}, {step + 1} steps: {score()}")


if __name__ == "__main__":
    main()
