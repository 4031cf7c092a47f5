"""Published checkpoints imported and measured as plain ANNs, under the protocols of the papers.

    python benchmarks/imports.py --shared FOLDER

FOLDER holds weights/third_party/{kair_dncnn_25.pth, twtygqyy_model_epoch_50.pth} and data/val/{Set12, Set5}. The exit
status is 1 if a printed digit differs.
"""

import sys
from pathlib import Path

from _common import parser, report, say

import nspike
from nspike.benchmarking.evaluation import Evaluation


def main() -> None:
    args = parser(__doc__)
    args.add_argument("--shared", type=Path, required=True, metavar="FOLDER")
    args.add_argument("--threads", type=int)
    args = args.parse_args()
    weights, data = args.shared / "weights" / "third_party", args.shared / "data" / "val"
    rows, failed = [], False

    def add(what: str, published: str, found: str) -> None:
        nonlocal failed
        failed |= published != found
        rows.append({"what": what, "published": published, "found": found, "equal": str(published == found).lower()})

    say("DnCNN on Set12")
    model = nspike.import_checkpoint(weights / "kair_dncnn_25.pth", "dncnn", degradation={"sigma": 25.0})
    result: Evaluation = nspike.evaluate(
        model, data / "Set12", protocol="gray", sigma=25.0, seed=0, ann=True, threads=args.threads
    )
    add("kair_dncnn_25.pth, Set12, σ = 25, PSNR", "30.432", f"{result.mean().psnr:.3f}")
    model = nspike.import_checkpoint(weights / "twtygqyy_model_epoch_50.pth", "vdsr", degradation={"scales": [2, 3, 4]})
    for scale, network, bicubic in (
        (2, ("37.653", "0.9647"), ("33.690", "0.9375")),
        (4, ("31.465", "0.8952"), ("28.415", "0.8232")),
    ):
        say(f"VDSR ×{scale} on Set5")
        result = nspike.evaluate(model, data / "Set5", protocol="y-crop", scale=scale, ann=True, threads=args.threads)
        for label, published, of in (("VDSR", network, "quality"), ("bicubic", bicubic, "input")):
            mean = result.mean(of)
            add(f"{label}, Set5 ×{scale}, PSNR", published[0], f"{mean.psnr:.3f}")
            add(f"{label}, Set5 ×{scale}, SSIM uniform7", published[1], f"{mean.uniform7:.4f}")
    report(args, "Imports and protocols, as ANNs", rows)
    sys.exit(failed)


if __name__ == "__main__":
    main()
