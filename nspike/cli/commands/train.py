"""`nspike train`."""

from typing import Any

import click

from nspike.cli.guard import check_report, keep_apart, take
from nspike.cli.options import plugin_option
from nspike.cli.training import Given, training_options
from nspike.errors import UsageError


@click.command()
@click.argument("source", metavar="[NETWORK|MODEL.h5|RECIPE.toml]", required=False)
@click.option("--model", metavar="NAME|FILE", help="What to start from, if not from scratch.")
@click.option("--activation", metavar="NAME", help="relu, clipped or qcfs. [relu]")
@click.option("--levels", type=int, metavar="L", help="Levels of qcfs. [8]")
@click.option("--spiking", is_flag=True, default=None, help="A spiking network, from scratch, through time.")
@click.option("-T", "--timesteps", type=int, metavar="N", help="Steps in time of a spiking network. [4]")
@plugin_option("network or loss, of a spiking network neuron or head; replaces the recipe's")
@training_options
def command(
    source: str | None,
    model: str | None,
    activation: str | None,
    levels: int | None,
    spiking: bool | None,
    timesteps: int | None,
    plugins: tuple[str, ...],
    **given: Any,
) -> None:
    """Train a plain network, without PyTorch; from scratch, or from a model, by its file or with --model.

    With --spiking the network is a spiking one from the first step on: it needs no plain network and no conversion.

    With --activation qcfs its activations are those of a spiking network, quantised and clipped: `nspike convert` with the
    converter qcfs then loses little. A recipe may start from what another makes, which is made first. Stopped and started
    again, the same command goes on.

    \b
    Examples:
      nspike train dncnn --sigma 25 --data photos/ -o ann.h5
      nspike train vdsr --scale 2 --scale 3 --data photos/ -o large.h5
      nspike train ann.h5 --activation qcfs --data photos/ -o quantised.h5
      nspike train recipe.toml --model ann.h5 --activation qcfs -o other.h5
      nspike train spikerir_lite --spiking -T 4 --sigma 5 --sigma 50 --data photos/ -o spiking.h5
    """
    options = Given(**given)
    if source is not None and source.endswith(".h5"):
        if model is not None:
            raise UsageError(f"{source} and --model {model} are two models; give one")
        source, model = None, source
    if source is None and model is None:
        raise UsageError("nothing to train: give a network's name, a model file, or a recipe")
    keep_apart("-o", options.output, (source, model, *plugins))
    check_report("--json", options.json_file, (source, model, options.output, *plugins))
    take(options.output)
    own = {"model": model, "activation": activation, "levels": levels, "plugins": plugins}
    own |= {"spiking": spiking, "timesteps": timesteps}
    options.carry_out(_work, source, "network", **own)


def _work() -> Any:
    from nspike.fitting.trainer import train

    return train
