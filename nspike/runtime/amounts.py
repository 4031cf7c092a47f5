"""Amounts as people write them: 512M, 1.5G. Bytes with units of 1024, counts with units of 1000."""

import re
from numbers import Integral
from typing import Any

from nspike.errors import UsageError
from nspike.runtime.caller import way

_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kKmMgG]?)(i?[bB])?")


def amount(text: str, base: int, plain: int = 1) -> int | None:
    """The number that `text` says, whole, K, M and G being `base`, its square and cube; None for none above 0.

    plain : what a number without a unit is times.
    """
    match = _NUMBER.fullmatch(text.strip())
    factors = {"": plain, "K": base, "M": base**2, "G": base**3}
    return (int(float(match[1]) * factors[match[2].upper()]) or None) if match else None


def in_bytes(memory: Any) -> int:
    """Bytes, of which "64M" is 64 MiB and "64" too; a whole number is bytes already. Raises UsageError."""
    known = amount(memory, 1024, plain=1024**2) if isinstance(memory, str) else memory
    if isinstance(known, bool) or not isinstance(known, Integral) or known < 1:
        raise UsageError(
            f'memory = {memory!r}; expected a number of bytes of at least 1, or text such as "64M" or "1G"'
        )
    return int(known)


def mebibytes(count: int, *, up: bool = False) -> str:
    """`count` bytes in words: whole MiB (`up`: rounded up), below one KiB or bytes."""
    for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size:
            return f"{-(-count // size) if up else count // size} {unit}"
    return f"{count} bytes"


def allow_more(least: int) -> str:
    """The advice to work with at least so many bytes; empty where the caller's command has no option for it."""
    mebi = -(-least // (1 << 20))
    given = way(f"--memory {mebi}M", f'memory="{mebi}M"')
    return given and f"allow more ({given})"
