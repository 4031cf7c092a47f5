"""The state dict of a twin read back, without PyTorch: what is trained, and the model that it was made from.

The model lies under `_extra_state`, PyTorch's place for what is no parameter, as bytes (uint8): a line of JSON, then a model
file. So a state dict says itself what it belongs to, in every container of tensors.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.architecture import shorten
from nspike.contracts.format import check_finite
from nspike.errors import BadInputError
from nspike.model import file as model_file
from nspike.model.model import Model
from nspike.registry.parts import head_of, neuron_of
from nspike.twin.slots import Slot, Values, plain_slots, spiking_slots, with_plain, with_spiking

Form = Literal["spiking", "plain"]

EXTRA = "_extra_state"
VERSION = 1
_MARK = b'{"nspike_twin":'


def pack(model: Model, form: Form) -> NDArray[np.uint8]:
    """What lies under `EXTRA`: uint8 (n,)."""
    head = json.dumps({"nspike_twin": VERSION, "form": form}, separators=(",", ":")).encode()
    return np.frombuffer(head + b"\n" + model_file.to_bytes(model), np.uint8)


def is_twin(tensors: Mapping[str, NDArray[Any]]) -> bool:
    """Whether these are the tensors of a twin's state dict."""
    extra = tensors.get(EXTRA)
    return extra is not None and extra.dtype == np.uint8 and extra.ndim == 1 and extra[:15].tobytes() == _MARK


def unpack(extra: NDArray[np.uint8]) -> tuple[Model, Form]:
    """The model and the form that `pack` was given. Raises BadInputError for another version, ModelError for damage."""
    line, _, data = extra.tobytes().partition(b"\n")
    try:
        about = json.loads(line)
        version, form = about["nspike_twin"], about["form"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"the state dict's {EXTRA} is damaged: {error!r}; export the network again") from error
    if version != VERSION or form not in ("spiking", "plain"):
        raise BadInputError(
            f"the state dict is of version {version!r} and form {form!r}; this nspike reads version {VERSION}, of a spiking or "
            "a plain network"
        )
    return model_file.from_bytes(data, f"the model in {EXTRA}"), form


def slots_of(model: Model, form: Form) -> list[Slot]:
    """What a twin of this form trains. Raises PluginError without the model's neuron or head, ModelError as they do."""
    return spiking_slots(model, neuron_of(model), head_of(model)) if form == "spiking" else plain_slots(model)


def trained(model: Model, form: Form, values: Values) -> Model:
    """The model with the values of a twin; the same object where they are its own.

    One that is changed has no measured quality, and names the model it was trained from in its provenance.
    """
    spiking = form == "spiking"
    changed = with_spiking(model, neuron_of(model), head_of(model), values) if spiking else with_plain(model, values)
    if changed is model:
        return model
    changed = replace(changed, info=replace(changed.info, quality={}))
    return changed.with_provenance(torch={"trained_from": model_file.digest(model)})


def read_state(tensors: Mapping[str, NDArray[Any]]) -> tuple[Model, Form]:
    """The model of a state dict.

    Raises BadInputError that lists the keys that are missing, those that are not known and those of another shape, or names
    a tensor that holds NaN; ModelError for a damaged model in it.
    """
    model, form = unpack(np.asarray(tensors[EXTRA], np.uint8))
    wanted = {slot.key: slot for slot in slots_of(model, form)}
    missing = [key for key in wanted if key not in tensors]
    unknown = [key for key in tensors if key not in wanted and key != EXTRA]
    wrong = [
        f"{key} is {tensors[key].dtype} {tensors[key].shape}, expected {slot.start.dtype} {slot.start.shape}"
        for key, slot in wanted.items()
        if key in tensors
        and (tensors[key].shape != slot.start.shape or not np.issubdtype(tensors[key].dtype, np.floating))
    ]
    if missing or unknown or wrong:
        faults = {"missing keys": missing, "unknown keys": unknown, "wrong shapes": wrong}
        listed = "; ".join(f"{what}: {shorten(keys)}" for what, keys in faults.items())
        raise BadInputError(f"not the state dict of the network that it says: {listed}")
    for key in wanted:
        check_finite(key, tensors[key])
    return trained(model, form, tensors), form
