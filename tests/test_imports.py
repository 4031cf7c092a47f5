"""What may import what: the core never a plugin, plugins only public names, no layer what is above it."""

import ast
import itertools
import sys
from pathlib import Path

import pytest

import nspike

ROOT = Path(__file__).parents[1]

FACADE = "nspike"

LEVELS = (
    "errors",
    "runtime",
    "kernels",
    "files",
    "images",
    "autograd",
    "graph",
    "contracts",
    "model",
    "integer",
    "engine",
    "ann",
    "degradations",
    "trainable",
    "pricing",
    "registry",
    "restoration",
    "twin",
    "converting",
    "inspection",
    "benchmarking",
    "fitting",
    "report",
    "comparing",
    "authoring",
    "testing",
    FACADE,
    "cli",
    "__main__",
)
"""What stands at the top of nspike/, from the bottom up: each may import itself and what comes before it.

`FACADE` is nspike/__init__.py, whose public names come from everything below it.
"""

PLUGIN_LIBRARIES = {"numpy", "scipy", "h5py", "safetensors", "onnx"}

COMPILERS = {"jit", "njit", "vectorize", "guvectorize", "cfunc", "stencil", "jitclass", "generated_jit"}
JIT_OPTIONS = {"fastmath", "nopython", "forceobj", "error_model", "boundscheck", "nogil", "looplift"}


def imports(source):
    """Every (module, name or None, line) that a source imports, wherever in the file; by `import_module("...")` too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield module, alias.name, node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            literal = node.args[0] if node.args else None
            if called in ("import_module", "__import__", "find_spec") and isinstance(literal, ast.Constant):
                yield str(literal.value), None, node.lineno


def core_faults(path, source):
    """What a file of nspike/ must not import: a plugin."""
    return [
        f"{path}:{line} imports {module}"
        for module, name, line in imports(source)
        if module.split(".")[0] == "nspike_plugins" or module.startswith(".") or (module, name) == ("plugins", None)
    ]


def plugin_faults(path, source):
    """What a file of plugins/ imports beside public names of nspike, allowed libraries and its own helpers."""
    faults = []
    for module, name, line in imports(source):
        top = module.split(".")[0]
        if top == "nspike":
            allowed = module == "nspike" and (name is None or name in nspike.__all__)
        elif top == "nspike_plugins":
            helper = module.partition(".")[2] or name or ""
            allowed = helper.startswith("_")
        else:
            allowed = top in PLUGIN_LIBRARIES or top in sys.stdlib_module_names
        if not allowed:
            faults.append(f"{path}:{line} imports {module}{f'.{name}' if name else ''}")
    return faults


def private_use_faults(path, source):
    """Attributes of the module nspike that are not public, as in `import nspike; nspike.engine.run`."""
    return [
        f"{path}:{node.lineno} uses nspike.{node.attr}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "nspike"
        and node.attr not in nspike.__all__
    ]


def jit_faults(path, source):
    """Uses of Numba's compilers and their options; only kernels/_jit.py may have them."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba":
            faults += [f"{path}:{node.lineno} imports numba.{a.name}" for a in node.names if a.name in COMPILERS]
        elif isinstance(node, ast.Attribute) and node.attr in COMPILERS:
            faults.append(f"{path}:{node.lineno} uses {ast.unparse(node)}")
        elif isinstance(node, ast.Call):
            faults += [f"{path}:{node.lineno} sets {k.arg}" for k in node.keywords if k.arg in JIT_OPTIONS]
    return faults


def level(module):
    """The level of nspike.MODULE, or None if the table lacks it."""
    top = module.split(".")[0]
    return LEVELS.index(top) if top in LEVELS else None


def level_faults(path, module, source):
    """What `module` imports from above: a package that comes later, the facade, or anything that is in no level."""
    own = level(module)
    if own is None:
        return [f"{path}: say in LEVELS of tests/test_imports.py where {module} belongs"]
    faults = []
    for imported, name, line in imports(source):
        if imported.split(".")[0] != "nspike":
            continue
        target = imported.partition(".")[2] or (name if name in LEVELS else FACADE)
        theirs = level(target)
        if theirs is None or theirs > own:
            faults.append(f"{path}:{line} imports {target} from above")
    return faults


COMMANDS = "nspike.cli.commands"


def command_faults(path, source):
    """What a file of nspike/cli must not import: a command. What several commands need lies beside them."""
    return [
        f"{path}:{line} imports {module} {name or ''}".rstrip()
        for module, name, line in imports(source)
        if module.startswith(COMMANDS) or f"{module}.{name}" == COMMANDS
    ]


def cycles(graph):
    """The modules of a graph that take part in a cycle of imports."""
    remaining = {name: set(targets) & set(graph) for name, targets in graph.items()}
    while free := [name for name, targets in remaining.items() if not targets & set(remaining)]:
        for name in free:
            del remaining[name]
    while ends := [name for name in remaining if not any(name in targets for targets in remaining.values())]:
        for name in ends:
            del remaining[name]
    return sorted(remaining)


def files(folder):
    found = [(str(p.relative_to(ROOT)), p.read_text(encoding="utf-8")) for p in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def module_name(path):
    """nspike/kernels/wide.py -> kernels.wide"""
    if path == "nspike/__init__.py":
        return FACADE
    return path.removeprefix("nspike/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


CORE = files("nspike")
PLUGINS = files("plugins")


# ----- the tree -----


@pytest.mark.parametrize(("path", "source"), CORE, ids=[path for path, _ in CORE])
def test_core_never_imports_a_plugin(path, source):
    assert core_faults(path, source) == []


@pytest.mark.parametrize(("path", "source"), PLUGINS, ids=[path for path, _ in PLUGINS])
def test_plugin_uses_only_public_names(path, source):
    assert plugin_faults(path, source) + private_use_faults(path, source) == []


@pytest.mark.parametrize(("path", "source"), CORE + PLUGINS, ids=[path for path, _ in CORE + PLUGINS])
def test_compiler_options_are_in_one_place(path, source):
    if path != "nspike/kernels/_jit.py":
        assert jit_faults(path, source) == []


@pytest.mark.parametrize(("path", "source"), CORE, ids=[path for path, _ in CORE])
def test_nothing_imports_what_is_above_it(path, source):
    assert level_faults(path, module_name(path), source) == []


def test_no_command_is_imported():
    assert [fault for path, source in CORE for fault in command_faults(path, source)] == []


def test_no_cycle_of_imports():
    names = {module_name(path) for path, _ in CORE}
    graph = {name: set() for name in names}
    for path, source in CORE:
        for module, name, _ in imports(source):
            if module.split(".")[0] == "nspike":
                full = module.partition(".")[2]
                longer = f"{full}.{name}" if full else (name or "")
                graph[module_name(path)].add(longer if longer in names else full)
    for name in names:
        graph[name].discard(name)
    assert cycles(graph) == []


# ----- planted violations -----


@pytest.mark.parametrize(
    "source",
    [
        "import nspike_plugins",
        "from nspike_plugins import if_",
        "from nspike_plugins.if_ import NEURON",
        "def late():\n    from nspike_plugins.mprn import NEURON",
        "import importlib\nimportlib.import_module('nspike_plugins.if_')",
        "from .. import plugins",
    ],
)
def test_planted_plugin_import_is_caught(source):
    assert core_faults("planted.py", source)


@pytest.mark.parametrize(
    "source",
    [
        "from nspike.engine.run import run",
        "import nspike.engine.run",
        "from nspike import engine",
        "from nspike import _plugin_loading",
        "import torch",
        "from nspike_plugins.if_ import NEURON",
        "def late():\n    import numba",
        "from .if_ import NEURON",
    ],
)
def test_planted_private_import_is_caught(source):
    assert plugin_faults("planted.py", source)


def test_planted_private_attribute_is_caught():
    assert private_use_faults("planted.py", "import nspike\nnspike.engine.run()")
    assert not private_use_faults("planted.py", "import nspike\nnspike.hookimpl")


def test_what_plugins_may_import():
    good = "import os\nimport numpy as np\nfrom nspike import Neuron, hookimpl\nfrom nspike_plugins._help import x\n"
    assert plugin_faults("planted.py", good) == []


@pytest.mark.parametrize(
    "source",
    [
        "from numba import njit",
        "import numba\n@numba.njit\ndef f(): ...",
        "import numba as nb\nf = nb.jit(g)",
        "kernel(fastmath=True)",
        "@kernel(boundscheck=True)\ndef f(): ...",
    ],
)
def test_planted_compiler_option_is_caught(source):
    assert jit_faults("planted.py", source)


@pytest.mark.parametrize(
    "source",
    [
        "from nspike.cli.commands.run import parts_of",
        "def late():\n    import nspike.cli.commands.run",
        "from nspike.cli import commands",
        "import importlib\nimportlib.import_module('nspike.cli.commands.run')",
    ],
)
def test_planted_import_of_a_command_is_caught(source):
    assert command_faults("planted.py", source)
    assert not command_faults("planted.py", "from nspike.cli.options import json_option")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from nspike.graph.network import Network"),
        ("kernels.wide", "from nspike.model.model import Model"),
        ("graph.network", "def late():\n    from nspike import registry"),
        ("model.model", "import nspike"),
        ("model.model", "def run():\n    import nspike"),
        ("engine.run", "from nspike import load"),
        ("engine.run", "from nspike import __version__"),
        ("registry.plugins", "import nspike.cli.group"),
        ("nspike", "from nspike.cli.group import main"),
        ("restoration.image", "import importlib\nimportlib.import_module('nspike.converting.report')"),
        ("a_new_package.module", "import os"),
        ("engine.run", "from nspike.a_new_package import x"),
    ],
)
def test_planted_import_from_above_is_caught(module, source):
    assert level_faults("planted.py", module, source)


def test_planted_import_in_each_direction():
    def importing(package):
        return "import nspike" if package == FACADE else f"from nspike.{package} import x"

    for below, above in itertools.combinations(LEVELS, 2):
        assert level_faults("planted.py", below, importing(above)), (below, above)
        assert not level_faults("planted.py", above, importing(below)), (below, above)


def test_the_top_of_the_package():
    """Packages, and the few modules that people import by name."""
    modules = {path.name for path in (ROOT / "nspike").iterdir() if path.is_file()}
    assert modules == {"__init__.py", "__main__.py", "errors.py", "testing.py", "py.typed"}


def test_no_package_has_the_name_of_a_public_function():
    """A child package replaces the attribute of its name when it is imported."""
    packages = {path.parent.name for path in (ROOT / "nspike").glob("*/__init__.py")}
    assert packages & set(nspike.__all__) == set()


def test_every_package_says_what_lives_there():
    for path, source in CORE:
        if path.endswith("/__init__.py"):
            assert ast.get_docstring(ast.parse(source)), path


def test_planted_cycle_is_caught():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set(), "e": {"a"}}) == ["b", "c"]
    assert cycles({"a": {"b"}, "b": set()}) == []
