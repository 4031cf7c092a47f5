"""Checks the nspike version that a plugin requires in its package's metadata or in the header of its file.

A file says so as any script does (PEP 723), in a block of comments:

    # /// script
    # dependencies = ["nspike>=0.2"]
    # ///
"""

import re
import tomllib
from collections.abc import Iterable

from nspike.runtime.version import VERSION

_BLOCK = re.compile(r"^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", re.MULTILINE)
_OURS = re.compile(r"\s*nspike\s*($|[^\w.\s-])", re.IGNORECASE)


def unmet(requirements: Iterable[str]) -> str:
    """The reason why this version of nspike does not satisfy the requirements, or an empty string."""
    ours = [text for text in requirements if _OURS.match(text)]
    if not ours:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in ours:
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            return f"its requirement {text!r} cannot be read: {' '.join(str(error).split())}"
        applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if applies and not wanted.specifier.contains(VERSION, prereleases=True):
            return (
                f"it needs nspike{wanted.specifier}, and this is nspike {VERSION}; upgrade nspike, or install another "
                "version of the plugin"
            )
    return ""


def of_source(source: str) -> list[str]:
    """The dependencies in the header of a file; none if it has no header, or one that cannot be read."""
    match = _BLOCK.search(source)
    if match is None:
        return []
    lines = [line.removeprefix("#").removeprefix(" ") for line in match["content"].splitlines()]
    try:
        dependencies = tomllib.loads("\n".join(lines)).get("dependencies", [])
    except tomllib.TOMLDecodeError:
        return []
    return [text for text in dependencies if isinstance(text, str)] if isinstance(dependencies, list) else []
