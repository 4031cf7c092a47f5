"""Print the tests that a run skipped for one of some reasons, one a line: python .ci/skipped.py JUNIT.xml REASON..."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Collection
from pathlib import Path


def skipped(report: str, reasons: Collection[str]) -> list[str]:
    """The ids of tests, and the files of whole modules, whose reason holds one of these."""
    found = []
    for case in ET.fromstring(report).iter("testcase"):
        why = case.find("skipped")
        if why is None or not any(reason in f"{why.get('message')} {why.text}" for reason in reasons):
            continue
        module, name = case.get("classname", ""), case.get("name", "")
        found.append(f"{module.replace('.', '/')}.py::{name}" if module else f"{name.replace('.', '/')}.py")
    return found


if __name__ == "__main__":
    sys.stdout.writelines(f"{each}\n" for each in skipped(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:]))
