"""Check what is in a wheel: python .ci/check_wheel.py WHEEL"""

import sys
import zipfile
from collections.abc import Iterable

TOP = {"nspike", "nspike_plugins", "nspike_weights"}
NEEDED = (
    "nspike/py.typed",
    "nspike/images/bundled/chelsea_noisy25.png",
    "nspike/images/bundled/README.md",
    "nspike/cli/commands/run.py",
    "nspike/testing.py",
    "nspike/authoring/templates/neuron/declared.py.txt",
    "nspike/kernels/wide.py",
    "nspike/report/page.html.jinja",
    "nspike_plugins/mprn.py",
    "nspike_plugins/costs/cmos45.toml",
    "nspike_weights/__init__.py",
    "nspike_weights/dncnn-s25.h5",
    "nspike_weights/README.md",
    "nspike_weights/recipes/aodnet.toml",
    "nspike_weights/LICENSE",
    "licenses/LICENSE",
    "entry_points.txt",
)


def faults(names: Iterable[str]) -> list[str]:
    """What is wrong with a wheel of these files."""
    names = list(names)
    top = {name.split("/")[0] for name in names}
    extra = sorted(name for name in top - TOP if not name.endswith(".dist-info"))
    missing = [needed for needed in NEEDED if not any(name == needed or name.endswith(f"/{needed}") for name in names)]
    found = [f"{name} is installed at the top level" for name in extra] + [f"{name} is missing" for name in missing]
    return found + [
        f"{name} should not be in it"
        for name in names
        if name.split("/")[-1].startswith("test_") and name.endswith(".py")
    ]


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        sizes = {entry.filename: entry.compress_size for entry in wheel.infolist()}
    wrong = faults(sizes)
    if wrong:
        sys.exit("\n".join(wrong))
    sys.stdout.write(f"{len(sizes)} files, {sum(sizes.values()) / 2**20:.1f} MiB: {', '.join(sorted(TOP))}\n")
