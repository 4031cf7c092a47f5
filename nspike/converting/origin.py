"""Where the plain network of a model comes from, without what is known of a spiking form."""

from typing import Any

from nspike.model.model import Model

OF_SPIKES = ("converter", "converter_options", "calibration", "fitted", "fine_tuning")
"""The keys of a provenance that are of the spiking form."""


def of_plain(model: Model) -> dict[str, Any]:
    """The provenance of the plain network: of the one that a spiking form is compared with, where that is another."""
    given = model.info.provenance
    baseline = given.get("baseline")
    kept = given if baseline is None else {key: value for key, value in baseline.items() if key != "name"}
    return {key: value for key, value in kept.items() if key not in OF_SPIKES}
