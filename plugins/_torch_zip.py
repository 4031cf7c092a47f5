"""The zip archives that torch.save has written since version 1.6, and TorchScript archives, of which no code is run."""

import io
import zipfile
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from nspike_plugins._reading import Refused
from nspike_plugins._torch_calls import CONSTRUCTORS, persistent
from nspike_plugins._torch_names import named_tensors
from nspike_plugins._torch_values import Storage, cut_all, itemsize
from nspike_plugins._unpickle import MAX_BYTES, Machine
from numpy.typing import NDArray


def read_zip(file: BinaryIO, file_bytes: int) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """The tensors of an archive, and text about it."""
    with zipfile.ZipFile(file) as archive:
        members = _checked_members(archive, file_bytes)
        top = _top(members)
        pickle = members[f"{top}data.pkl"]
        if pickle.file_size > MAX_BYTES:
            raise Refused(f"its pickle is longer than {MAX_BYTES >> 20} MiB; expected names and shapes alone")
        root: Any = Machine(io.BytesIO(_content(archive, pickle)), CONSTRUCTORS, persistent).load()
        specs, about = named_tensors(root)
        about["container"] = "TorchScript" if f"{top}constants.pkl" in members else "zip"
        order = _content(archive, members[f"{top}byteorder"]) if f"{top}byteorder" in members else b"little"
        if order not in (b"little", b"big"):
            raise Refused(f"its byte order is {order[:20]!r}; expected 'little' or 'big'")
        kept: dict[str, NDArray[np.uint8]] = {}

        def data(storage: Storage) -> NDArray[np.uint8]:
            if storage.key not in kept:
                member = members.get(f"{top}data/{storage.key}")
                size = storage.total * itemsize(storage.dtype)
                if member is None or member.file_size < size:
                    stored = "nothing" if member is None else f"{member.file_size} bytes"
                    raise Refused(
                        f"storage {storage.key[:40]!r} should have {size} bytes and has {stored}; fetch it again"
                    )
                kept[storage.key] = np.frombuffer(_content(archive, member), np.uint8)
            return kept[storage.key][: storage.total * itemsize(storage.dtype)]

        return cut_all(specs, data, file_bytes, "<" if order == b"little" else ">"), about


def _checked_members(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, none of which is outside its folder or encrypted, and which all fit in the file."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if name.startswith("/") or "\\" in name or ":" in name.split("/")[0] or ".." in PurePosixPath(name).parts:
            raise Refused(f"its member {name[:120]!r} points outside the archive; do not use this file")
        if name in members:
            raise Refused(f"it has two members {name[:120]!r}; expected each once")
        if member.flag_bits & 1:
            raise Refused(f"its member {name[:120]!r} is encrypted; expected plain members, as torch.save writes them")
        members[name] = member
    if sum(member.compress_size for member in members.values()) > file_bytes:
        raise Refused("its members together are larger than the file; the file is damaged or hostile: fetch it again")
    return members


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes, if they are there as they are."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise Refused(
            f"its member {member.filename[:120]!r} is compressed; expected stored members, as torch.save writes them; "
            "unpack it and make it again with `zip -0 -r`"
        )
    return archive.read(member)


def _top(members: dict[str, zipfile.ZipInfo]) -> str:
    """The folder that holds everything, with its slash."""
    tops = [name.removesuffix("data.pkl") for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if not tops:
        raise Refused(
            "it is a zip archive without a data.pkl; expected a file that torch.save wrote; if it is a zip of "
            "checkpoints, unpack it first"
        )
    return min(tops, key=len)
