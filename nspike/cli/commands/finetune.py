"""`nspike finetune`."""

from typing import Any

import click

from nspike.cli.guard import check_report, keep_apart, take
from nspike.cli.options import plugin_option
from nspike.cli.training import Given, training_options


@click.command()
@click.argument("source", metavar="MODEL|RECIPE.toml")
@click.option("--model", metavar="NAME|FILE", help="The model to fine-tune, if not the recipe's.")
@plugin_option("neuron, head, converter or loss; replaces the recipe's")
@click.option("-T", "--timesteps", type=int, metavar="N", help="Steps in time, if not the model's.")
@click.option("-k", "k", type=float, metavar="K", help="What spikes cost at the end of training.")
@training_options
def command(
    source: str,
    model: str | None,
    plugins: tuple[str, ...],
    timesteps: int | None,
    k: float | None,
    **given: Any,
) -> None:
    """Fine-tune a spiking network with surrogate gradients, as SpikingIR does.

    What is trained is what runs: the forward pass is the engine's, spike for spike. A plain ANN is converted first. The
    images are clean ones, which are degraded on the fly, or pairs. A recipe may start from what another makes, which is
    made first. Stopped and started again, the same command goes on.

    \b
    Examples:
      nspike finetune dncnn-s25 --data photos/ -o tuned.h5
      nspike finetune recipe.toml --data photos/ --validation Set12/ --set rate=2e-4 -o better.h5
    """
    options = Given(**given)
    keep_apart("-o", options.output, (source, model, *plugins))
    check_report("--json", options.json_file, (source, model, options.output, *plugins))
    take(options.output)
    options.carry_out(_work, source, "model", model=model, timesteps=timesteps, k=k, plugins=plugins)


def _work() -> Any:
    from nspike.fitting.trainer import finetune

    return finetune
