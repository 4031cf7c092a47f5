"""The Python API's way in: a model by its name or from its file."""

import os

from nspike.model import Model


def load(name_or_path: str | os.PathLike[str]) -> Model:
    """A model that is shipped with nspike, by its name, or that of a model file.

    Raises
    ------
    ModelError
        an unknown name (the nearest one is suggested), or a file that is missing, damaged or of a newer version.

    Examples
    --------
    >>> import nspike
    >>> model = nspike.load("dncnn_gray_s25")  # doctest: +SKIP
    >>> result = model.run(pixels)  # doctest: +SKIP
    >>> result.image, result.ledger.spikes  # doctest: +SKIP
    """
    from nspike import models, weights

    return weights.load(models.find(os.fspath(name_or_path)))
