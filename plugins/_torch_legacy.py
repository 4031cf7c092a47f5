"""The stream that torch.save wrote before version 1.6: five pickles, then the storages one after another.

Its pickles are: a magic number, the protocol's version, facts about the machine, the object, the keys of the storages in
order. Each storage is its number of values (int64, little-endian), then the values, little-endian on every machine.
"""

from typing import Any, BinaryIO

import numpy as np
from nspike_plugins._reading import Refused
from nspike_plugins._torch_calls import CONSTRUCTORS, persistent
from nspike_plugins._torch_names import named_tensors
from nspike_plugins._torch_values import Storage, cut_all, itemsize
from nspike_plugins._unpickle import Machine
from numpy.typing import NDArray

MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_PROTOCOL = 1001


def read_legacy(file: BinaryIO, file_bytes: int) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """The tensors of a stream, and text about it."""
    mentioned: dict[str, Storage] = {}

    def remember(identity: tuple[Any, ...]) -> Any:
        value = persistent(identity)
        if isinstance(value, Storage):
            first = mentioned.setdefault(value.key, value)
            if (first.dtype, first.total) != (value.dtype, value.total):
                raise Refused(
                    f"storage {value.key[:40]!r} is described in two ways; the file is damaged: fetch it again"
                )
        return value

    machine = Machine(file, CONSTRUCTORS, remember)
    if machine.load() != int.from_bytes(MAGIC, "little") or machine.load() != _PROTOCOL:
        raise Refused(f"it begins like a file of torch.save, but is not of protocol {_PROTOCOL}; export it again")
    machine.load()  # about the machine that wrote it, which for these files changes nothing
    root, keys = machine.load(), machine.load()
    if type(keys) is not list or len({*map(str, keys)}) != len(keys):
        raise Refused("its list of storages is damaged; fetch it again")
    places = _places(file, keys, mentioned, file_bytes)
    specs, about = named_tensors(root)
    about["container"] = "stream"

    def data(storage: Storage) -> NDArray[np.uint8]:
        if storage.key not in places:
            raise Refused(f"storage {storage.key[:40]!r} is missing; the file is damaged: fetch it again")
        width = itemsize(storage.dtype)
        file.seek(places[storage.key] + storage.start * width)
        return np.frombuffer(file.read(storage.numel * width), np.uint8)

    return cut_all(specs, data, file_bytes), about


def _places(file: BinaryIO, keys: list[Any], mentioned: dict[str, Storage], file_bytes: int) -> dict[str, int]:
    """Where in the file each storage's values begin, all of them being there."""
    places: dict[str, int] = {}
    for key in keys:
        if key not in mentioned:
            raise Refused(f"storage {str(key)[:40]!r} belongs to no tensor; the file is damaged: fetch it again")
        storage = mentioned[key]
        numel = int.from_bytes(file.read(8), "little", signed=True)
        end = file.tell() + storage.total * itemsize(storage.dtype)
        if numel != storage.total or end > file_bytes:
            raise Refused(
                f"storage {storage.key[:40]!r} should have {storage.total} values; the file says {numel} and has "
                f"{max(0, file_bytes - file.tell())} bytes left; it is cut short or damaged: fetch it again"
            )
        places[storage.key] = file.tell()
        file.seek(end)
    return places
