"""Print the lowest versions that pyproject.toml declares, as constraints for pip: python .ci/lowest.py EXTRA... > FILE"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[([\w,\s-]+)\])?\s*(?:>=\s*([\w.]+))?")


def lowest(project: dict[str, Any], extras: list[str]) -> dict[str, str]:
    """Package -> the largest of its lower bounds, of a project and some of its extras."""
    bounds: dict[str, str] = {}
    for name, bound in _requirements(project, extras):
        bounds[name] = max(bounds.get(name, bound), bound, key=_numbers)
    return bounds


def _requirements(project: dict[str, Any], extras: list[str]) -> Iterator[tuple[str, str]]:
    for text in [*project["dependencies"], *(t for e in extras for t in project["optional-dependencies"][e])]:
        match = _REQUIREMENT.match(text)
        assert match is not None
        name, others, bound = match.groups()
        if name == project["name"]:
            yield from _requirements(project, re.split(r"[,\s]+", others))
        elif bound is None:
            raise SystemExit(f"{text!r} in pyproject.toml has no lower bound")
        else:
            yield name, bound


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    declared = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, bound in sorted(lowest(declared, sys.argv[1:]).items()):
        sys.stdout.write(f"{name}=={bound}\n")
