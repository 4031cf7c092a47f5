"""ANN energies of the papers' tables, and parameter counts, from nspike's own descriptions and energy model.

    python benchmarks/energy.py

The energy model charges 4.6 pJ for each multiply-accumulate, the border ignored ("paper" column). Every row must agree
with the published figure in every printed digit, and to 1e-4 with 4.6 pJ × the published multiply-accumulates × the
pixels; every count must be equal. Else the exit status is 1.
"""

import sys
from fractions import Fraction

import numpy as np
from _common import parser, report

from nspike.contracts.architecture import Arrays
from nspike.graph.network import Network
from nspike.registry.plugins import registry
from nspike.restoration.plain import ledger as ann_ledger

SET5 = ((512, 512), (288, 288), (256, 256), (280, 280), (344, 228))
"""The images of Set5, height and width, as they are cropped for ×2."""


MACS = {"aodnet": 1746, "dncnn": 554112, "vdsr": 664704}
"""Per pixel, as published."""


def modcrop(sizes: tuple[tuple[int, int], ...], *multiples: int) -> list[tuple[int, int]]:
    found = list(sizes)
    for m in multiples:
        found = [(h - h % m, w - w % m) for h, w in found]
    return found


def networks() -> dict[str, tuple[Network, Arrays]]:
    """The published architectures; their parameters are zeros of the right shapes."""
    aod = {1: (3, 3, 1), 2: (3, 3, 3), 3: (3, 6, 5), 4: (3, 6, 7), 5: (3, 12, 3)}
    tensors = {f"conv{i}.weight": np.zeros((o, c, k, k), np.float32) for i, (o, c, k) in aod.items()}
    tensors |= {f"conv{i}.bias": np.zeros(3, np.float32) for i in aod}
    widths = [1, *[64] * 16, 1]
    dncnn = {f"model.{2 * i}.weight": np.zeros((widths[i + 1], widths[i], 3, 3), np.float32) for i in range(17)}
    dncnn |= {f"model.{2 * i}.bias": np.zeros(widths[i + 1], np.float32) for i in range(17)}
    vdsr = {"input.weight": np.zeros((64, 1, 3, 3), np.float32), "output.weight": np.zeros((1, 64, 3, 3), np.float32)}
    vdsr |= {f"residual_layer.{i}.conv.weight": np.zeros((64, 64, 3, 3), np.float32) for i in range(18)}
    read = registry().networks
    return {"aodnet": read["aodnet"].read(tensors), "dncnn": read["dncnn"].read(dncnn), "vdsr": read["vdsr"].read(vdsr)}


def main() -> None:
    args = parser(__doc__).parse_args()
    known = networks()
    price = registry().energy_models["horowitz45"].price
    bsd68, set12 = [(321, 481)], [*[(256, 256)] * 7, *[(512, 512)] * 5]
    both = "mean of the two sets' means"
    rows, failed = [], False
    for label, name, sets, published in (
        ("AOD-Net, TestSet A", "aodnet", [[(480, 640)]], 2.467),
        ("DnCNN, BSD68", "dncnn", [bsd68], 393.555),
        (f"DnCNN, Set12 and BSD68: {both}", "dncnn", [set12, bsd68], 384.704),
        ("VDSR ×2, Set5", "vdsr", [modcrop(SET5, 2)], 347.015),
        ("VDSR ×4, Set5", "vdsr", [modcrop(SET5, 2, 3, 4)], 341.360),
    ):
        network = known[name][0]
        means = [
            np.mean([price(ann_ledger(network, (1, network.channels, h, w)))[0].ann for h, w in sizes])
            for sizes in sets
        ]
        value = 1e3 * float(np.mean(means))
        pixels = sum(Fraction(sum(h * w for h, w in sizes), len(sizes)) for sizes in sets) / len(sets)
        off = abs(value / (4.6e-9 * MACS[name] * float(pixels)) - 1)
        wrong = off > 1e-4 or f"{value:.3f}" != f"{published:.3f}"
        failed |= wrong
        rows.append(
            {
                "ANN energy": label,
                "pixels": float(pixels),
                "computed mJ": f"{value:.5f}",
                "published mJ": f"{published:.3f}",
                "relative error": off,
                "agrees": "no" if wrong else "in every digit",
            }
        )
    counts = []
    for name, published in (("aodnet", 1761), ("dncnn", 555137), ("vdsr", 664704)):
        network, parameters = known[name]
        count = sum(array.size for array in parameters.values())
        failed |= count != published or network.macs_per_pixel != MACS[name]
        counts.append(f"{name} {count} parameters (published {published}), {network.macs_per_pixel} MACs a pixel")
    report(args, "Energies and parameters", rows, parameters="; ".join(counts))
    sys.exit(failed)


if __name__ == "__main__":
    main()
