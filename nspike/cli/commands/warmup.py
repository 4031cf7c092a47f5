"""`nspike warmup`."""

import click

from nspike.cli.guard import check_report
from nspike.cli.options import json_option
from nspike.cli.output import emit
from nspike.cli.progress import Progress


@click.command()
@json_option
def command(json_file: str | None) -> None:
    """Compile the kernels now, so that the first run does not have to; done once for a version and a processor.

    \b
    Example:
      nspike warmup
    """
    check_report("--json", json_file)
    import numpy as np

    from nspike.engine.warmup import warm_up
    from nspike.images.metrics import ssim
    from nspike.kernels._jit import FOLDER
    from nspike.registry.plugins import registry

    neurons = list(registry().all("neuron"))
    head = registry().heads["membrane"]
    with Progress(1, "compiling") as progress:
        seconds = warm_up(neurons, head, progress.reach)
    ssim(np.zeros((11, 11)), np.zeros((11, 11)))
    kept = "nowhere: no folder is writable" if FOLDER is None else str(FOLDER)
    emit(
        f"kernels compiled in {seconds:.1f} s, kept in {kept}",
        {"seconds": seconds, "folder": None if FOLDER is None else str(FOLDER)},
        json_file,
    )
