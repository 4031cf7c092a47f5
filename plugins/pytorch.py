"""Checkpoints of torch.save: state dicts, what wraps them, and whole pickled modules, read without torch.

Pickles are run by a machine of our own that imports nothing and calls nothing that a file names (see `_unpickle`).
"""

import tarfile
from pathlib import Path
from typing import Any

from nspike_plugins._reading import Refused, reading

from nspike import Checkpoint, Format, hookimpl

_ZIP = b"PK\x03\x04"
_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")


@hookimpl
def register_formats(register: Any) -> None:
    """Register the format."""
    register(
        Format("pytorch", "files of torch.save, zip and old stream", (".pth", ".pt", ".ckpt", ".bin"), detect, read)
    )


def detect(path: Path, head: bytes) -> bool:
    """A zip archive, the magic number of the old stream, or a tar archive."""
    return head.startswith(_ZIP) or _MAGIC in head[:40] or head[257:262] == b"ustar"


def read(path: Path) -> Checkpoint:
    """Read a file of torch.save; bfloat16 comes out as float32.

    `metadata` says the container, the wrapper that was entered and what lay beside it, and a whole module's class.
    """
    from nspike_plugins._torch_legacy import read_legacy
    from nspike_plugins._torch_zip import read_zip

    with reading(path, "a checkpoint of torch.save"), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(512)
        file.seek(0)
        if head.startswith(_ZIP):
            tensors, about = read_zip(file, size)
        elif _MAGIC in head[:40]:
            tensors, about = read_legacy(file, size)
        elif tarfile.is_tarfile(file):
            raise Refused(
                "is a tar archive, as torch.save wrote before version 0.2; expected its zip or stream format; load it "
                "with a PyTorch that still can, and save its state_dict again"
            )
        else:
            raise Refused(
                "is not a file of torch.save; expected its zip format or its old stream format, whose first bytes "
                "differ; if it is a plain pickle, load it in Python and save the weights with torch.save"
            )
        return Checkpoint(tensors, about, "pytorch")
