"""Models by name or file, read and written."""

import os

from nspike.errors import ModelError, NspikeError
from nspike.model.model import expect_model
from nspike.restoration.method import Model


def load(name_or_path: str | os.PathLike[str]) -> Model:
    """A model that is shipped with nspike, by its name, or that of a model file.

    Raises
    ------
    ModelError
        an unknown name (the nearest one is suggested), or a file that is missing, damaged, of a newer version, or whose
        integers are not those of its numbers.

    Examples
    --------
    >>> import nspike
    >>> model = nspike.load("dncnn-s25")  # doctest: +SKIP
    >>> result = model.run(pixels)  # doctest: +SKIP
    >>> result.image, result.ledger.spikes  # doctest: +SKIP
    """
    from nspike.model import shipped as models

    return load_file(models.find(name_or_path))


def load_file(path: str | os.PathLike[str]) -> Model:
    """The model of a file whose integers, if it holds any, are made anew and compared.

    Those of a model whose neuron or head is not there, or does not fit it, are left: it cannot be run. Raises ModelError.
    """
    from nspike.integer.rounding import build, check_stored
    from nspike.model import file as weights
    from nspike.registry.parts import head_of, neuron_of

    model, stored = weights.load_whole(path)
    if not stored:
        return model
    try:
        integers = build(model, neuron_of(model), head_of(model))
    except NspikeError:
        return model
    try:
        check_stored(stored, integers)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return model


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
    expect_model(model)
    from nspike.integer.rounding import as_arrays, build
    from nspike.model import file as weights
    from nspike.registry.parts import head_of, neuron_of

    integers = None if model.spiking is None else as_arrays(build(model, neuron_of(model), head_of(model)))
    weights.save(path, model, integers)
