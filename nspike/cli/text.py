"""Text for people: safe to print, and in columns."""

import re
from collections.abc import Mapping, Sequence
from typing import Any


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal could obey; it may come from a file. Line ends stay."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def one_line(text: object) -> str:
    """A name in a line: `printable`, and its line ends escaped too."""
    return printable(str(text)).replace("\n", "\\n")


def error_text(text: str) -> str:
    """An error's text, printable. Line ends stay before an indented line, as in lists; others come from names."""
    return printable(re.sub(r"\n(?!  )", r"\\n", text))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns, left-aligned, under a header; numbers right-aligned. Everything in it is made printable."""
    cells = [[printable(str(cell)).replace("\n", " ") for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def size(count: int) -> str:
    """A number of bytes for people."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def in_words(values: Mapping[str, Any]) -> str:
    """Plain values in a line: "sigma 25", "scales 2 3 4"."""
    parts = []
    for name, value in values.items():
        if isinstance(value, dict):
            parts.append(f"{name} ({in_words(value)})")
        elif isinstance(value, list):
            parts.append(f"{name} {' '.join(map(_number, value))}")
        else:
            parts.append(f"{name} {_number(value)}")
    return ", ".join(parts)


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return f"({in_words(value)})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
