"""One training step, nspike against SpikingJelly on PyTorch, and the ANN's against PyTorch; float32, the same threads.

    python benchmarks/speed_training.py [--spikerir] [--rate 10] [--rounds 3] [--threads 2] [--json FILE]

DnCNN (17 layers of 64), T = 10, 8 crops of 48×48, integrate-and-fire neurons with soft reset, sigmoid surrogate (k = 4),
gradients through the reset, mean squared error, AdamW. The network has random kernels, balanced so that every layer fires
at --rate percent. Everybody runs in a process of its own, in turns; the peak of its memory is the process's, its imports
included. nspike's MPRN, the neuron of SpikingIR, has a step more. With --spikerir it is the network of `spikerir-denoise`
instead, with its weights: see `_spikerir_training.py`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _spikerir_training
import numpy as np
from _common import WEIGHTS, gray_plane, median, parser, report, say

BATCH, PATCH, WARM, STEPS = 8, 48, 2, 3
SPIKING = {
    "nspike if": ("nspike", "if"),
    "nspike if, recomputing": ("nspike", "if recompute"),
    "nspike mprn": ("nspike", "mprn"),
    "SpikingJelly, multi-step": ("jelly", "m"),
    "SpikingJelly, multi-step, channels-last": ("jelly", "m last"),
    "SpikingJelly, single-step": ("jelly", "s"),
    "SpikingJelly, single-step, channels-last": ("jelly", "s last"),
}
SPIKERIR = {
    "nspike": ("nspike_lite", ""),
    "nspike, recomputing": ("nspike_lite", "recompute"),
    **{name: ("jelly_lite", options) for name, (_, options) in SPIKING.items() if name.startswith("SpikingJelly")},
}
PLAIN = {
    "nspike ANN": ("nspike_ann", ""),
    "PyTorch ANN": ("torch_ann", ""),
    "PyTorch ANN, channels-last": ("torch_ann", "last"),
}


def crops() -> tuple[np.ndarray, np.ndarray]:
    """(degraded int32 on the input plane, clean float32), (8, 1, 48, 48)."""
    noisy, clean = gray_plane(240, 200, 25.0)[0, 0], gray_plane(240, 200, 0.0)[0, 0]
    places = [(y, x) for y in (0, 60, 120, 180) for x in (20, 120)]

    def cut(plane: np.ndarray) -> np.ndarray:
        return np.stack([plane[y : y + PATCH, x : x + PATCH] for y, x in places])[:, None]

    return cut(noisy), (cut(clean) / 65535).astype(np.float32)


# ----- The contenders, each in a process of its own -----


def nspike(model: Path, options: str) -> Callable[[], float]:
    from nspike.autograd.tensor import Tensor
    from nspike.model import file as weights
    from nspike.registry.parts import head_of, neuron_of, swap
    from nspike.trainable.optim import AdamW
    from nspike.trainable.spiking import DifferentiableNetwork

    chosen = swap(weights.load(model), neuron=options.split()[0])[0]
    net = DifferentiableNetwork(chosen, neuron_of(chosen), head_of(chosen), recompute="recompute" in options)
    optimiser = AdamW(net.parameters(), 1e-6)
    plane, clean = crops()

    def step() -> float:
        loss = (net.run(plane).restored - Tensor(clean.astype(np.float64))).square().mean()
        loss.backward()
        optimiser.step()
        net.constrain()
        return loss.item()

    return step


def jelly(model: Path, options: str) -> Callable[[], float]:
    import torch
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    from nspike.integer.normalise import normalised_conv
    from nspike.model import file as weights
    from nspike.model.model import OUTPUT

    chosen = weights.load(model)
    spiking, mode = chosen.spiking, options.split()[0]
    form = torch.channels_last if "last" in options else torch.contiguous_format
    modules: list[torch.nn.Module] = []
    for conv in chosen.network.convs:
        kernel, bias = normalised_conv(chosen.network, chosen.parameters, spiking, conv.name)
        made = layer.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, step_mode=mode)
        made.weight.data, made.bias.data = torch.from_numpy(kernel).float(), torch.from_numpy(bias).float()
        spikes = surrogate.Sigmoid(4.0)
        modules += [made, neuron.IFNode(1.0, None, surrogate_function=spikes, detach_reset=False, step_mode=mode)]
    net = torch.nn.Sequential(*modules[:-1]).to(memory_format=form)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-6)
    plane, clean = crops()
    image = torch.from_numpy((plane / 65535).astype(np.float32)).contiguous(memory_format=form)
    target, timesteps, scale = torch.from_numpy(clean), spiking.timesteps, float(spiking.scales[OUTPUT][0])

    def step() -> float:
        functional.reset_net(net)
        optimiser.zero_grad()
        if mode == "m":
            current = net[0](image[None])  # the first layer's current is the same at every step: computed once
            mean = net[1:](current.expand(timesteps, -1, -1, -1, -1)).mean(0)
        else:
            current = net[0](image)
            mean = sum(net[1:](current) for _ in range(timesteps)) / timesteps
        loss = (image - scale * mean - target).square().mean()
        loss.backward()
        optimiser.step()
        return float(loss)

    return step


def nspike_ann(model: Path, options: str) -> Callable[[], float]:
    from nspike.autograd import Tensor, conv2d, relu
    from nspike.model import file as weights
    from nspike.trainable.optim import AdamW

    chosen = weights.load(model)
    tensors = {name: Tensor(array.copy(), requires_grad=True) for name, array in chosen.parameters.items()}
    optimiser = AdamW(tensors, 1e-6)
    plane, clean = crops()
    image = (plane / 65535).astype(np.float32)

    def step() -> float:
        x = Tensor(image)
        for i, conv in enumerate(chosen.network.convs):
            x = conv2d(
                x if i == 0 else relu(x), tensors[f"{conv.name}.weight"], tensors[f"{conv.name}.bias"], padding=1
            )
        loss = (Tensor(image) - x - clean).square().mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def torch_ann(model: Path, options: str) -> Callable[[], float]:
    import torch

    from nspike.model import file as weights

    chosen = weights.load(model)
    form = torch.channels_last if options == "last" else torch.contiguous_format
    modules: list[torch.nn.Module] = []
    for conv in chosen.network.convs:
        made = torch.nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
        made.weight.data = torch.from_numpy(chosen.parameters[f"{conv.name}.weight"].copy())
        made.bias.data = torch.from_numpy(chosen.parameters[f"{conv.name}.bias"].copy())
        modules += [made, torch.nn.ReLU(inplace=True)]
    net = torch.nn.Sequential(*modules[:-1]).to(memory_format=form)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-6)
    plane, clean = crops()
    image = torch.from_numpy((plane / 65535).astype(np.float32)).contiguous(memory_format=form)
    target = torch.from_numpy(clean)

    def step() -> float:
        optimiser.zero_grad()
        loss = (image - net(image) - target).square().mean()
        loss.backward()
        optimiser.step()
        return float(loss)

    return step


def child(args: argparse.Namespace) -> None:
    """Run one contender and print its figures."""
    make, options = json.loads(args.child)
    if make.startswith("nspike"):
        from nspike.runtime import parallel

        parallel.set_threads(args.threads)
    step = (globals() | vars(_spikerir_training))[make](Path(args.model), options)
    seconds, used, losses = [], [], []
    for number in range(WARM + STEPS):
        start, processor = time.perf_counter(), time.process_time()
        losses.append(step())
        if number >= WARM:
            seconds.append(time.perf_counter() - start)
            used.append(time.process_time() - processor)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "processor": used, "memory": memory, "loss": losses[0]}))


# ----- The comparison -----


def measure(contender: tuple[str, str], model: Path, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", json.dumps(contender), "--model", str(model)]
    command += ["--threads", str(threads)]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        command, env=os.environ | dict.fromkeys(names, str(threads)), stdout=subprocess.PIPE, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(contenders: dict[str, tuple[str, str]], model: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(args.rounds):
        for name, contender in contenders.items():
            found[name].append(measure(contender, model, args.threads))
            say(f"round {number + 1}, {name}: {min(found[name][-1]['seconds']):.2f} s")
    rows = []
    for name, runs in found.items():
        clock, processor = ([value for run in runs for value in run[key]] for key in ("seconds", "processor"))
        rows.append(
            {
                "what": name,
                "median s": median(clock),
                "least s": min(clock),
                "processor s": median(processor),
                "memory MiB": max(run["memory"] for run in runs),
                "first loss": runs[0]["loss"],
            }
        )
    peers = [row for row in rows if not row["what"].startswith("nspike")]
    best = min(peers, key=lambda row: row["median s"])
    for row in rows:
        row["× best peer"] = best["median s"] / row["median s"]
        row["× its processor s"] = best["processor s"] / row["processor s"]
    return rows


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rate", type=float, default=10.0, help="firing rate of every layer, in percent")
    options.add_argument("--spikerir", action="store_true", help="spikerir_lite instead of DnCNN")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--only", choices=("spiking", "plain"), help="half of the comparison")
    options.add_argument("--child", help=argparse.SUPPRESS)
    options.add_argument("--model", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        child(args)
        return
    if args.spikerir:
        rows = compare(SPIKERIR, WEIGHTS / "spikerir-denoise.h5", args)
        title = f"One training step of spikerir_lite, 8 patches of 64×64, T = 4, {args.threads} threads"
        report(args, title, rows, rounds=args.rounds)
        return
    from _models import random_dncnn

    from nspike.model import file as weights

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "dncnn.h5"
        weights.save(model, random_dncnn(args.rate / 100, gray_plane(96, 96)))
        contenders = (SPIKING if args.only != "plain" else {}, PLAIN if args.only != "spiking" else {})
        rows = [row for half in contenders if half for row in compare(half, model, args)]
    title = (
        f"One training step of DnCNN, {BATCH} crops of {PATCH}×{PATCH}, {args.threads} threads, {args.rate:g} % firing"
    )
    report(args, title, rows, rounds=args.rounds)


if __name__ == "__main__":
    main()
