"""The code blocks of the documents, and what their marks mean.

A line `<!-- MARK -->` right above a block says what it is:

    run               the tests run it: `nspike ...` lines of a bash block, or all of a python block
    run: CODE         the same; each line of the bash block ends with this exit code
    printed           lines that the block above prints, to the last digit, but for spaces and for how long something took;
                      `...` stands for any lines
    printed: N %      the same, but numbers may differ by so much
    file: NAME        a file of the example that the document builds; a plugin's is used by tests/test_hooks.py, too
    command: NAME     one of the README's two commands; .ci/run runs it
    output            what is printed or drawn elsewhere; nothing to run
    contents          the table of contents of the site that docs/conf.py makes
    not run: WHY      shown only, for this reason

    python -m tests.documents DOCUMENT FOLDER    writes a document's files into a folder
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = ("run", "printed", "file", "command", "output", "contents", "not run")
RUNNABLE = ("bash", "python", "toml")
_MARK = re.compile(r"<!-- (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A code block: its mark (empty if none), language, text, and the document's line that opens it."""

    mark: str
    language: str
    text: str
    line: int

    @property
    def kind(self):
        return self.mark.partition(":")[0]

    @property
    def name(self):
        return self.mark.partition(":")[2].strip()


def blocks(text):
    """The blocks of a document."""
    found, mark, opened = [], "", None
    for number, line in enumerate(text.splitlines(), start=1):
        if opened is None and line.startswith("```"):
            opened, body = (line[3:].strip(), number, mark), []
        elif opened is not None and line.startswith("```"):
            language, start, its_mark = opened
            found.append(Block(its_mark, language, "".join(f"{each}\n" for each in body), start))
            opened = None
        elif opened is not None:
            body.append(line)
        match = _MARK.fullmatch(line.strip()) if opened is None else None
        mark = match[1] if match else ""
    return found


def unmarked(text):
    """The lines of blocks without a known mark, or with one under which they would not be looked at: a fence that `blocks`
    does not see, code that is called output, or `not run` without a reason."""
    found = blocks(text)
    faults = [block.line for block in found if _faulty(block)]
    inside = {line for block in found for line in range(block.line, block.line + block.text.count("\n") + 2)}
    fences = [n for n, line in enumerate(text.splitlines(), start=1) if re.match(r"[ \t>]*(```|~~~)", line)]
    return sorted({*faults, *(line for line in fences if line not in inside)})


def _faulty(block):
    if block.kind == "run":
        return block.language not in ("bash", "python")
    if block.kind == "not run":
        return not block.name
    if block.kind in ("file", "command"):
        return not block.name or block.language not in RUNNABLE
    return block.kind not in KINDS or block.language in RUNNABLE


def sections(text):
    """Heading -> the text under it, up to the next heading of any level."""
    parts = re.split(r"^#+ +(.+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def write_files(document, folder):
    """Write the `file:` blocks of a document into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.kind == "file":
            (folder / block.name).write_text(block.text, encoding="utf-8")


if __name__ == "__main__":
    write_files(Path(sys.argv[1]), Path(sys.argv[2]))
