"""DnCNN, 17 layers of 64 channels, T = 10, on 481×321 grey: nspike, SpikingJelly, snnTorch and the dense ANN.

    python benchmarks/speed_dncnn.py [--rates 5 7 10 25] [--model weights/dncnn-s25.h5] [--rounds 3] [--threads 2]

Random kernels, balanced so that every layer fires at the rate asked for; and a shipped model.
"""

import numpy as np
import torch
from _common import WEIGHTS, gray_plane, parser, report, say
from _models import mosaic, random_dncnn, shipped
from _speed import Case, compare


def main() -> None:
    args = parser(__doc__)
    args.add_argument("--rates", type=float, nargs="*", default=[5, 7, 10, 25], help="firing rates in percent")
    args.add_argument("--model", default=str(WEIGHTS / "dncnn-s25.h5"), help="a shipped model; - for none")
    args.add_argument("--size", type=int, nargs=2, default=[481, 321], metavar=("WIDTH", "HEIGHT"))
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--repeats", type=int, default=1, help="runs of the fast ones in a round")
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--no-snntorch", action="store_true")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    plane = gray_plane(args.size[1], args.size[0])
    small = mosaic(plane)
    cases = []
    for rate in args.rates:
        say(f"balancing a network for {rate:g} %")
        cases.append(Case(f"{rate:g} %", random_dncnn(rate / 100, small)))
    if args.model != "-":
        cases.append(Case("shipped", shipped(args.model)))
    found = compare(cases, np.ascontiguousarray(plane), args)
    report(args, "DnCNN-17, T = 10", found.pop("rows"), **found)


if __name__ == "__main__":
    main()
