"""Models by name or file, read and written."""

import os

from nspike.restoration.method import Model


def load(name_or_path: str | os.PathLike[str]) -> Model:
    """A model that is shipped with nspike, by its name, or that of a model file.

    Raises
    ------
    ModelError
        an unknown name (the nearest one is suggested), or a file that is missing, damaged or of a newer version.

    Examples
    --------
    >>> import nspike
    >>> model = nspike.load("dncnn-s25")  # doctest: +SKIP
    >>> result = model.run(pixels)  # doctest: +SKIP
    >>> result.image, result.ledger.spikes  # doctest: +SKIP
    """
    from nspike.model import file as weights
    from nspike.model import shipped as models

    return weights.load(models.find(name_or_path))


def save(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model file, with its integers if it is a spiking one; complete, or not at all.

    Raises
    ------
    ModelError
        the model is inconsistent.
    OutputError
        the file cannot be written.
    PluginError
        the model's neuron or head is unknown.
    """
    from nspike.integer.rounding import as_arrays, build
    from nspike.model import file as weights
    from nspike.registry.parts import head_of, neuron_of

    integers = None if model.spiking is None else as_arrays(build(model, neuron_of(model), head_of(model)))
    weights.save(path, model, integers)
