"""Every hook has a section with its argument and each field of its contract, an example, and a test. With planted faults."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from nspike.contracts import hooks as hookspecs
from nspike.contracts.converter import Calibration, Option, Scales
from nspike.contracts.energy import EnergyColumn
from nspike.contracts.format import Checkpoint
from nspike.contracts.head import OutputLayer
from nspike.contracts.neuron import Parameter
from nspike.graph.network import Network
from nspike.registry.loading import KINDS
from tests.documents import blocks, sections

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reference" / "plugins.md").read_text(encoding="utf-8")
PAGES = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("write_a*.md"))}
HOOKS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("register_")}
BESIDE = {
    "register_neurons": [Parameter],
    "register_converters": [Option, Calibration, Scales],
    "register_heads": [OutputLayer],
    "register_energy_models": [EnergyColumn],
    "register_networks": [Network],
    "register_formats": [Checkpoint],
}
"""What a plugin of a hook makes or is given, beside the contract itself."""
CONTRACTS = {hook: [cls, *BESIDE.get(hook, [])] for hook, cls in KINDS.values()}


def faults(hook, text, pages):
    """What a stranger is not told about a hook: its argument, a field, where it is shown."""
    section = sections(text).get(f"{hook}({', '.join(inspect.signature(HOOKS[hook]).parameters)})")
    if section is None:
        return ["no section headed by its arguments"]
    found = [fault for cls in CONTRACTS[hook] for fault in wrong_fields(cls, section)]
    shown = [page for page, its_text in pages.items() if f"def {hook}(register):" in files_of(its_text)]
    if not shown:
        found.append("no example")
    if not any(f"plugins.md#{hook}register" in pages[page] and page.name in text for page in shown):
        found.append("its page and the section do not lead to each other")
    return found


def wrong_fields(cls, section):
    """The fields of a class that its table lacks, and those that only the table has."""
    table = re.search(rf"^\| field of `{cls.__name__}` \|.*\n\|.*\n((?:\|.*\n)+)", section, flags=re.M)
    if table is None:
        return [f"no table of {cls.__name__}"]
    named = {name for row in table[1].splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    fields = {field.name for field in dataclasses.fields(cls)}
    return [f"{cls.__name__}.{name} is not documented" for name in sorted(fields - named)] + [
        f"{cls.__name__} has no {name}" for name in sorted(named - fields)
    ]


def files_of(text):
    """The files of a page's example."""
    return "".join(block.text for block in blocks(text) if block.kind == "file")


def test_every_hook_has_a_contract():
    assert list(HOOKS) == [hook for hook, _ in KINDS.values()]
    for hook, cls in KINDS.values():
        assert cls in inspect.signature(HOOKS[hook]).parameters["register"].annotation.__args__


@pytest.mark.parametrize("hook", HOOKS)
def test_the_hook_is_documented(hook):
    assert faults(hook, TEXT, PAGES) == []


def test_planted_faults_are_caught():
    hook = "register_heads"
    assert faults(hook, TEXT.replace("## register_heads(register)", "## register_heads(add)"), PAGES) == [
        "no section headed by its arguments"
    ]
    assert faults(hook, TEXT.replace("| `kernel` |", "| `kernels` |"), PAGES) == [
        "Head.kernel is not documented",
        "Head has no kernels",
    ]
    assert faults(hook, TEXT.replace("field of `OutputLayer`", "field"), PAGES) == ["no table of OutputLayer"]
    assert faults(hook, TEXT, {path: text.replace("register_heads(r", "x(r") for path, text in PAGES.items()}) == [
        "no example",
        "its page and the section do not lead to each other",
    ]
    assert faults(hook, TEXT.replace("write_a_head.md", "x.md"), PAGES) == [
        "its page and the section do not lead to each other"
    ]


def untested_hooks(sources):
    """Hooks without a test of their name in any of the sources."""
    defined = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, flags=re.M)}
    return [name for name in HOOKS if not any(test.startswith(f"test_hook_{name}") for test in defined)]


def test_every_hook_has_a_test():
    assert untested_hooks(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")) == []


def test_planted_missing_test_is_caught():
    written = [f"def test_hook_{name}(): ..." for name in HOOKS if name != "register_heads"]
    assert untested_hooks([*written, "# def test_hook_register_heads"]) == ["register_heads"]
