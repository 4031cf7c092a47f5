"""`nspike finetune`."""

import click

from nspike.cli.common import keep_apart, plugin_option
from nspike.cli.convert import KINDS, chosen
from nspike.cli.training import (
    Interruptible,
    Line,
    common,
    limit_threads,
    recipe_of,
    report,
    set_loss,
    training_options,
)


@click.command()
@click.argument("source", metavar="MODEL|RECIPE.toml")
@click.option("--model", metavar="NAME|FILE", help="The model to fine-tune, if not the recipe's.")
@plugin_option("neuron, head, converter or loss; replaces the recipe's")
@click.option("-T", "--timesteps", type=int, metavar="N", help="Steps in time, if not the model's.")
@click.option("-k", "k", type=float, metavar="K", help="What spikes cost in the end.")
@training_options
def command(
    source: str,
    model: str | None,
    plugins: tuple[str, ...],
    timesteps: int | None,
    k: float | None,
    output: str,
    data: tuple[str, ...],
    validation: str | None,
    steps: int | None,
    batch: int | None,
    patch: int | None,
    rate: float | None,
    seed: int | None,
    name: str | None,
    threads: int | None,
    pairs: tuple[str, ...],
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Fine-tune a spiking network with surrogate gradients, as SpikingIR does.

    What is trained is what runs: the forward pass is the engine's, spike for spike. A plain ANN is converted first. The
    pictures are clean ones, which are degraded on the fly, or pairs. A recipe may start from what another makes, which is
    made first. Stopped and started again, the same command goes on.

    \b
    Examples:
      nspike finetune dncnn-s25 --data photos/ -o tuned.h5
      nspike finetune recipe.toml --data photos/ --validation Set12/ --set rate=2e-4 -o tuned.h5
    """
    limit_threads(threads, source)
    from nspike.trainer import finetune

    keep_apart("-o", output, (source, model))
    keep_apart("--json", json_file, (source, model, output))
    options = {
        "model": model, "timesteps": timesteps, "k": k, "data": list(data), "validation": validation, "steps": steps,
        "batch": batch, "patch": patch, "rate": rate, "seed": seed, "name": name, "threads": threads,
    }  # fmt: skip
    parts = chosen(plugins, {}, (*KINDS, "loss"))
    loss = parts.pop("loss", None)
    values = recipe_of(source, "model", options | parts, pairs)
    set_loss(values, loss)
    line = Line()
    with Interruptible(output, line):
        shared = common(data, validation, threads)
        trained = finetune(values, output, overwrite=overwrite, watch=line, common=shared)
    report(output, trained, json_file)
