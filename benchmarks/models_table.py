"""Prints the table of weights/README.md from what the model files themselves hold: python benchmarks/models_table.py"""

from nspike import weights
from nspike.models import shipped

HEADER = (
    "| file | task | validation set | T | input dB | ANN dB | SNN dB | SNN SSIM | rate | synaptic operations a picture "
    "| firing rate | energy, SNN / ANN | size |"
)


def rows() -> list[str]:
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    for name, path in shipped():
        file = weights.read_info(path)
        for where, q in file.info.quality.items():
            if not isinstance(q, dict):
                continue
            figures = (
                f"`{name}.h5`",
                file.info.task,
                where,
                str(file.timesteps),
                *(f"{q[key]:.2f}" for key in ("psnr_input", "psnr_ann", "psnr")),
                f"{q['ssim']:.4f}",
                f"{q['conversion_rate']:.1f} %",
                f"{q['synops'] / 1e9:.2f} G",
                f"{100 * q['firing_rate']:.1f} %",
                f"{q['energy_ratio paper']:.3f}",
                f"{file.size / 2**20:.2f} MiB",
            )
            lines.append("| " + " | ".join(figures) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(rows()))
