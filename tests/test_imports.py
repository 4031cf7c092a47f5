"""What may import what: the core never a plugin, plugins only public names, no layer what is above it."""

import ast
import sys
from pathlib import Path

import pytest

import nspike

ROOT = Path(__file__).parents[1]

LEVELS = (
    {"errors", "_explain", "markers", "units", "kernels"},
    {"parallel", "buffers", "convolution", "autograd", "surrogate", "optim", "schedule", "loss"},
    {"layer", "neuron", "_neuron_answers", "head", "ledger", "grid", "spikes", "atomic", "history", "curves"},
    {
        "_exif",
        "_pillow",
        "_png16",
        "images",
        "color",
        "metrics",
        "noise",
        "plane",
        "resize",
        "haze",
        "blur",
        "rain",
        "enlarge",
        "protocols",
    },
    {"network", "checkpoint"},
    {"architecture", "conversion", "model", "energy", "costs", "pricing"},
    {"normalise", "folding", "integers", "certificate"},
    {"ann", "_ann_tile", "prepared", "tiling", "stages", "given", "readout", "digest", "accounts", "engine"},
    {
        "spike_train",
        "spiking_layer",
        "own_kernel",
        "rate_layer",
        "differentiable",
        "differentiable_ann",
        "initialise",
        "sources",
        "degradation",
        "batches",
        "floatsim",
        "conformance",
        "testing",
        "conversion_report",
        "converting",
        "calibration",
        "_hdf5",
        "_lenient",
        "_trains",
        "traces",
        "trace_file",
        "trace_difference",
        "_model_content",
        "weights",
        "models",
    },
    {"hookspecs", "_requirements", "_plugin_loading", "plugins"},
    {
        "parts",
        "importing",
        "learning",
        "finetuning",
        "training",
        "regression",
        "plan",
        "runs",
        "trainer",
        "new_plugin",
        "warmup",
        "restoration",
        "choice",
        "bundled",
        "batch",
        "job",
        "evaluation",
        "auditing",
        "tracing",
        "replaying",
        "anytime",
        "report",
        "api",
    },
    {"cli", "__main__"},
)
"""The modules of nspike from the bottom up; one may import those of its own level and of the levels below.

The words; differentiation; pictures; networks; contracts of plugins; a model's integers; the engine and the ANN; conversion,
training and files; the plugin manager; what needs plugins; the commands.
"""

PLUGIN_LIBRARIES = {"numpy", "scipy", "h5py", "safetensors"}

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
    """Attributes of the module nspike that are not public, as in `import nspike; nspike.engine`."""
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
    return next((i for i, modules in enumerate(LEVELS) if top in modules), None)


def level_faults(path, module, source):
    """What `module` imports from a level above its own. The package's own __init__ is lazy, and exempt."""
    own = level(module)
    if own is None:
        return [f"{path}: say in LEVELS of tests/test_imports.py where {module} belongs"]
    faults = []
    for imported, name, line in imports(source):
        if imported.split(".")[0] != "nspike":
            continue
        target = imported.partition(".")[2] or (name or "")
        if target in ("", "__version__"):
            continue
        theirs = level(target)
        if theirs is None or theirs > own:
            faults.append(f"{path}:{line} imports {target} from above")
    return faults


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
    return path.removeprefix("nspike/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


CORE = files("nspike")
PLUGINS = files("plugins")
CORE_MODULES = [(path, text) for path, text in CORE if path != "nspike/__init__.py"]


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


@pytest.mark.parametrize(("path", "source"), CORE_MODULES, ids=[path for path, _ in CORE_MODULES])
def test_nothing_imports_what_is_above_it(path, source):
    assert level_faults(path, module_name(path), source) == []


def test_no_cycle_of_imports():
    names = {module_name(path) for path, _ in CORE_MODULES}
    graph = {name: set() for name in names}
    for path, source in CORE_MODULES:
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
        "from nspike.engine import run",
        "import nspike.engine",
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
    ("module", "source"),
    [
        ("errors", "from nspike.network import Network"),
        ("kernels.wide", "from nspike.model import Model"),
        ("network", "def late():\n    from nspike import plugins"),
        ("plugins", "import nspike.cli.main"),
        ("a_new_module", "import os"),
    ],
)
def test_planted_import_from_above_is_caught(module, source):
    assert level_faults("planted.py", module, source)


def test_planted_cycle_is_caught():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set(), "e": {"a"}}) == ["b", "c"]
    assert cycles({"a": {"b"}, "b": set()}) == []
