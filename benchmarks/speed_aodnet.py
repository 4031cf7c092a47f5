"""AOD-Net, T = 10, on 640×480 RGB: nspike, SpikingJelly, snnTorch and the dense ANN.

    python benchmarks/speed_aodnet.py [--model weights/aodnet.h5] [--rounds 5] [--threads 2]

Its layers have three channels; their kernels work on the pixels of a row, and do not depend on the firing rate.
"""

import numpy as np
from _common import WEIGHTS, hazy_plane, parser, report
from _models import random_aodnet, shipped
from _speed import Case, compare

from nspike.registry.parts import swap


def main() -> None:
    args = parser(__doc__)
    args.add_argument("--model", default=str(WEIGHTS / "aodnet.h5"), help="a shipped model; - for random kernels")
    args.add_argument("--size", type=int, nargs=2, default=[640, 480], metavar=("WIDTH", "HEIGHT"))
    args.add_argument("--rounds", type=int, default=7)
    args.add_argument("--repeats", type=int, default=3, help="runs of the fast ones in a round")
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--no-snntorch", action="store_true")
    args = args.parse_args()
    model = random_aodnet() if args.model == "-" else swap(shipped(args.model), timesteps=10)[0]
    plane = np.ascontiguousarray(hazy_plane(args.size[1], args.size[0]))
    found = compare([Case("random" if args.model == "-" else "shipped", model)], plane, args)
    report(args, "AOD-Net, T = 10", found.pop("rows"), **found)


if __name__ == "__main__":
    main()
