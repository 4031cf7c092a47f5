"""Makes little installed packages with entry points, for tests of the plugin registry."""

import textwrap
from pathlib import Path


def make_package(
    site: Path, name: str, source: str, entry: str = "", version: str = "1.2", requires: tuple[str, ...] = ()
) -> None:
    """Put the module `name` and its distribution's metadata into the folder `site`, which is to be on sys.path.

    `entry` is the name of its entry point, `name` if empty; `requires` are the requirements in its metadata.
    """
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(textwrap.dedent(source))
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    (info / "entry_points.txt").write_text(f"[nspike]\n{entry or name} = {module}\n")


HEALTHY = """
    from nspike import Neuron, hookimpl

    @hookimpl
    def register_neurons(register):
        register(Neuron("sleepy", "fires late", "nobody 2026"))
"""
