import ast
import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nspike.contracts import hooks as hookspecs
from nspike.errors import PluginError
from nspike.registry.loading import KINDS
from nspike.registry.plugins import LOAD, Registry, registry
from tests.package_maker import HEALTHY, make_package

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path; the registry is built afresh in the test, with its packages, and again after it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(LOAD, raising=False)
    before = set(sys.modules)
    registry.cache_clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith(("nspike", "numpy", "h5py", "scipy")):
            del sys.modules[name]
    registry.cache_clear()
    importlib.invalidate_caches()


def entry(name):
    return next(e for e in registry().entries() if e.name == name)


def plugin_file(folder, source, name="trial.py"):
    path = folder / name
    path.write_text(textwrap.dedent(source))
    return path


# ----- the registry -----


def test_first_party_plugins_are_found_through_entry_points():
    found = {(e.kind, e.name): e for e in registry().entries()}
    assert found["neuron", "if"].package == "nspike"
    assert found["neuron", "if"].version
    assert registry().get("neuron", "if") is registry().neurons["if"]
    assert registry().neurons["if"] in registry().all("neuron")


def test_registry_is_built_once():
    assert registry() is registry()


def test_every_first_party_plugin_is_healthy():
    assert [(e.name, e.error) for e in registry().entries() if e.state != "ok"] == []


def test_every_hook_has_a_kind():
    hooks = {name for name in vars(hookspecs) if name.startswith("register_")}
    assert hooks == {hook for hook, _ in KINDS.values()}


def hooks_used(folder):
    """The functions that are decorated with hookimpl in the files of a folder."""
    used = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any("hookimpl" in ast.dump(d) for d in node.decorator_list):
                used.add(node.name)
    return used


def test_every_hook_ships_with_a_plugin_that_uses_it():
    assert {hook for hook, _ in KINDS.values()} - hooks_used(ROOT / "plugins") == set()


def test_the_check_for_unused_hooks_sees_a_missing_decorator(tmp_path):
    plugin_file(tmp_path, "def register_heads(register): ...")
    assert hooks_used(tmp_path) == set()


def test_building_imports_nothing_heavy():
    code = "import sys; from nspike.registry.plugins import registry; registry(); print(*sys.modules)"
    environment = os.environ | {LOAD: ""}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert {"numba", "scipy", "h5py", "PIL", "click"} & set(out.stdout.split()) == set()


# ----- a third-party package -----


def test_installed_package_is_loaded(site):
    make_package(site, "nspike-sleepy", HEALTHY)
    assert registry().get("neuron", "sleepy").summary == "fires late"
    found = entry("sleepy")
    assert (found.kind, found.package, found.version, found.state) == ("neuron", "nspike-sleepy", "1.2", "ok")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def broken(:", "SyntaxError.*sick.py, line 1"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError.*a_module_that_is_not_there.*sick.py, line 1"),
        ("raise RuntimeError('no\\nGPU')", r"RuntimeError: no GPU \(sick.py, line 1\)"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("from nspike import NoSuchName", "NoSuchName"),
        ("x = 1", "implements no hook.*@nspike.hookimpl"),
        (
            "import nspike\n@nspike.hookimpl\ndef register_neuron(register): ...",
            "there is no hook 'register_neuron'. Did you mean 'register_neurons'",
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_heads(registry): ...",
            "hook register_heads has the unknown argument 'registry'; its only argument is `register`",
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_heads(register): register(42)",
            "register_heads registers 42; expected an object of nspike.Head",
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_neurons(register): register(nspike.Neuron('a b', '', ''))",
            "a neuron called 'a b'; a name consists of",
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_neurons(register): register(nspike.Neuron())",
            "register_neurons failed: TypeError.*sick.py, line 3",
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_neurons(register):\n"
            "  for _ in 'ab': register(nspike.Neuron('sick', '', ''))",
            "registers two neurons called 'sick'",
        ),
    ],
)
def test_broken_package_is_listed_and_only_asking_for_it_fails(site, source, error):
    make_package(site, "sick", source)
    make_package(site, "nspike-sleepy", HEALTHY)
    assert registry().neurons["if"].name == "if"
    assert registry().neurons["sleepy"].name == "sleepy"
    found = entry("sick")
    assert (found.state, found.kind, found.package) == ("broken", "", "sick")
    assert "\n" not in found.error
    for ask in (lambda: registry().get("neuron", "sick"), lambda: registry().resolve("sick", ["neuron"])):
        with pytest.raises(PluginError, match=f"(?s)'sick' of package sick is broken: .*{error}"):
            ask()


def test_half_registered_plugin_leaves_nothing(site):
    make_package(
        site,
        "half",
        """
        from nspike import Neuron, hookimpl

        @hookimpl
        def register_neurons(register):
            register(Neuron("first", "", ""))
            raise ValueError("then this")
        """,
    )
    assert "first" not in registry().neurons
    assert entry("half").state == "broken"


def test_two_packages_of_one_name_are_refused_naming_both(site):
    make_package(site, "alpha", HEALTHY)
    make_package(site, "omega", HEALTHY)
    assert "sleepy" not in registry().neurons
    assert [e.state for e in registry().entries() if e.name == "sleepy"] == ["duplicate", "duplicate"]
    for ask in (lambda: registry().neurons["sleepy"], lambda: registry().resolve("sleepy", ["neuron"])):
        with pytest.raises(PluginError, match="neuron 'sleepy' is registered by both alpha and omega"):
            ask()
    assert registry().neurons["if"].name == "if"


@pytest.mark.parametrize("package", ["aaa-usurper", "usurper"])
def test_a_package_cannot_replace_a_built_in(site, package):
    """Not even if it comes first. The built-in one stays; that the other is not used is said, and listed."""
    make_package(site, package, HEALTHY.replace("sleepy", "if"))
    make_package(site, "nspike-sleepy", HEALTHY)
    for ask in (lambda: registry().get("neuron", "if"), lambda: registry().resolve("if", ["neuron"])[1]):
        with pytest.warns(UserWarning, match=f"the neuron 'if' of package {package} is not used: nspike has one"):
            assert ask().summary == "integrate-and-fire, soft reset"
    found = entry(package)
    assert (found.state, found.package) == ("broken", package)
    assert found.error == "its neuron 'if' has the name of a built-in one; give it another"
    assert registry().neurons["sleepy"].name == "sleepy"


# ----- what a plugin needs -----


@pytest.mark.parametrize(
    ("requires", "error"),
    [
        (("nspike>=99",), r"it needs nspike>=99, and this is nspike \d.*; upgrade nspike, or install another"),
        (("numpy", "NSpike (>=1000,<2000)"), "it needs nspike<2000,>=1000, and this is"),
        (("nspike<0.0.1",), "it needs nspike<0.0.1"),
        (('nspike==9; python_version >= "3"',), "it needs nspike==9"),
        (("nspike>>9",), "its requirement 'nspike>>9' cannot be read"),
    ],
)
def test_a_package_that_needs_another_nspike(site, requires, error):
    """Said before it is imported: what it imports may not be there."""
    make_package(site, "modern", "raise SystemExit('imported')", requires=requires)
    assert registry().neurons["if"].name == "if"
    assert entry("modern").state == "broken"
    with pytest.raises(PluginError, match=f"'modern' of package modern is broken: {error}"):
        registry().get("neuron", "modern")


@pytest.mark.parametrize(
    "requires",
    [
        (),
        ("nspike",),
        ("nspike>=0.0.1", "nspike-other>=99", "nspike_x>=99", "nspike.y>=99"),
        ('nspike>=99; extra == "new"', 'nspike>=99; python_version < "3"'),
        ("nspike[test]",),
    ],
)
def test_a_package_that_this_nspike_is_enough_for(site, requires):
    make_package(site, "nspike-sleepy", HEALTHY, requires=requires)
    assert registry().get("neuron", "sleepy").name == "sleepy"


def test_a_file_that_needs_another_nspike(tmp_path):
    header = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["numpy", "nspike{}"]\n# ///\n'
    for version in (">=0.0.1", "", "-other>=99"):
        path = plugin_file(tmp_path, header.format(version) + textwrap.dedent(HEALTHY), f"fine{len(version)}.py")
        assert Registry().resolve(str(path), ["neuron"])[1].name == "sleepy"
    path = plugin_file(tmp_path, header.format(">=99") + "from nspike import what_is_to_come", "modern.py")
    with pytest.raises(PluginError, match=r"plugin .*modern.py: it needs nspike>=99, and this is nspike"):
        Registry().resolve(str(path), ["neuron"])
    for broken in ("# /// script\n# dependencies = [\n# ///\n", "# /// script\n# dependencies = 3\n# ///\n"):
        path = plugin_file(tmp_path, broken + textwrap.dedent(HEALTHY), f"odd{len(broken)}.py")
        assert Registry().resolve(str(path), ["neuron"])[1].name == "sleepy"


# ----- NSPIKE_LOAD_PLUGINS -----


@pytest.mark.parametrize(
    ("value", "loaded"),
    [("", False), ("nspike", False), ("nspike_sleepy", True), ("other, Nspike.Sleepy", True), (",", False)],
)
def test_load_plugins_names_the_packages(site, monkeypatch, value, loaded):
    make_package(site, "nspike-sleepy", HEALTHY)
    make_package(site, "other", HEALTHY.replace("sleepy", "other"))
    monkeypatch.setenv(LOAD, value)
    assert ("sleepy" in registry().neurons) is loaded
    assert "if" in registry().neurons


def test_package_that_is_not_to_be_loaded_is_not_even_imported(site, monkeypatch):
    make_package(site, "noisy", "raise SystemExit('imported')")
    monkeypatch.setenv(LOAD, "")
    assert all(e.package == "nspike" for e in registry().entries())


def test_load_plugins_with_an_unknown_package(site, monkeypatch):
    make_package(site, "nspike-sleepy", HEALTHY)
    monkeypatch.setenv(LOAD, "nspike-slepy")
    with pytest.raises(PluginError, match=r"'nspike-slepy', which has no nspike plugins. Did you mean 'nspike-sleepy'"):
        registry()


def test_third_party_packages_stay_out_of_the_tests():
    assert os.environ[LOAD] == ""


# ----- names -----


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(PluginError, match=r"no neuron 'mpnr'. Did you mean 'mprn'"):
        registry().get("neuron", "mpnr")
    with pytest.raises(PluginError, match=r"no kind of plugin 'neurone'. Did you mean 'neuron'"):
        registry().get("neurone", "if")
    assert PluginError.exit_code == 4


def test_what_is_unknown_is_listed_once_and_a_folder_named(tmp_path, monkeypatch):
    with pytest.raises(PluginError) as caught:
        registry().resolve("nope", ["neuron", "method"])
    known = str(caught.value).partition("Known: ")[2].partition(".")[0].split(", ")
    assert known.count("burst") == 1
    assert len(known) == len(set(known))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(PluginError, match=r"no neuron 'mine'\.( Did you mean '\w+'\?)? Known"):
        registry().resolve("mine", ["neuron"])
    for name in ("nspike_mine.py", "a_test.txt", "test_mine.py"):
        (tmp_path / "mine" / name).touch()
    with pytest.raises(PluginError, match=r"but a folder: give a file in it, such as mine/nspike_mine.py, or install"):
        registry().resolve("mine", ["neuron"])


def test_resolve_by_name():
    usable = ["neuron", "head", "energy"]
    assert registry().resolve("mprn", usable) == ("neuron", registry().neurons["mprn"])
    assert registry().resolve("neuron:mprn", usable) == ("neuron", registry().neurons["mprn"])
    for spec, error in {
        "dncnn": "plugin 'dncnn' is a network, which cannot be used here; expected a plugin of kind neuron or head or energy",
        "network:dncnn": "cannot be used here; expected a plugin of kind neuron",
        "neuron:nothing": "there is no neuron 'nothing'",
        "neurone:mprn": "no kind of plugin 'neurone'",
        "": "there is no plugin ''",
        ":": "no kind of plugin ''",
    }.items():
        with pytest.raises(PluginError, match=error):
            registry().resolve(spec, usable)


def test_resolve_a_name_that_two_kinds_bear(site):
    make_package(
        site,
        "both",
        """
        from nspike import EnergyModel, Neuron, hookimpl

        @hookimpl
        def register_neurons(register):
            register(Neuron("both", "", ""))

        @hookimpl
        def register_energy_models(register):
            register(EnergyModel("both", "", "", {}, {}, lambda ledger: ()))
        """,
    )
    with pytest.raises(PluginError, match="say neuron:both or energy:both"):
        registry().resolve("both", ["neuron", "head", "energy"])
    assert registry().resolve("energy:both", ["neuron", "energy"])[0] == "energy"
    assert registry().resolve("both", ["neuron"])[0] == "neuron"


# ----- one file for a trial -----


def test_file_for_a_trial(tmp_path):
    path = plugin_file(tmp_path, HEALTHY)
    mine = Registry()
    kind, neuron = mine.resolve(str(path), ["neuron"])
    assert (kind, neuron.name) == ("neuron", "sleepy")
    assert mine.neurons["sleepy"] is neuron
    assert mine.resolve(str(path), ["neuron"])[1] is neuron, "imported once"
    assert mine.entries()[0].package == str(path)


def test_what_a_plugin_prints_is_no_output(tmp_path, site, capsys):
    registers = "@hookimpl\ndef register_neurons(register):\n    print('registers')\n"
    loud = f"print('imports')\nfrom nspike import hookimpl\n{registers}"
    with pytest.raises(PluginError, match="registers nothing"):
        Registry().resolve(str(plugin_file(tmp_path, loud)), ["neuron"])
    make_package(site, "alpha", loud)
    registry()
    caught = capsys.readouterr()
    assert (caught.out, caught.err) == ("", 2 * "imports\nregisters\n")


def test_file_with_several_plugins(tmp_path):
    path = plugin_file(
        tmp_path,
        """
        from nspike import Neuron, hookimpl

        @hookimpl
        def register_neurons(register):
            register(Neuron("one", "", ""))
            register(Neuron("two", "", ""))
        """,
    )
    mine = Registry()
    assert mine.resolve(f"{path}:two", ["neuron"])[1].name == "two"
    assert mine.resolve(f"{path}:neuron:one", ["neuron"])[1].name == "one"
    with pytest.raises(PluginError, match=r"registers neuron:one, neuron:two; say which one"):
        mine.resolve(str(path), ["neuron"])
    with pytest.raises(PluginError, match="cannot be used here; expected a plugin of kind head"):
        mine.resolve(str(path), ["head"])
    with pytest.raises(PluginError, match="cannot be used here"):
        mine.resolve(f"{path}:three", ["neuron"])


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def broken(:", "cannot be imported: SyntaxError.*trial.py, line 1"),
        ("import nspike\n@nspike.hookimpl\ndef register_hats(register): ...", "Did you mean 'register_heads'"),
        ("", "implements no hook"),
    ],
)
def test_file_that_is_broken(tmp_path, source, error):
    mine = Registry()
    with pytest.raises(PluginError, match=f"plugin .*trial.py.*{error}"):
        mine.resolve(str(plugin_file(tmp_path, source)), ["neuron"])
    assert mine.entries() == []


def test_file_that_is_missing(tmp_path):
    with pytest.raises(PluginError, match="no such Python file"):
        Registry().resolve(str(tmp_path / "nothing.py"), ["neuron"])


def test_the_file_of_an_installed_plugin(site):
    """`pip install -e`, and --plugin with the file: it is one plugin."""
    make_package(site, "alpha", HEALTHY)
    installed = registry().neurons["sleepy"]
    path = Path(sys.modules["alpha"].__file__)
    assert registry().resolve(str(path), ["neuron"]) == ("neuron", installed)
    (site / "linked.py").symlink_to(path)
    assert registry().resolve(str(site / "linked.py"), ["neuron"])[1] is installed
    assert [e.state for e in registry().entries() if e.name == "sleepy"] == ["ok"]


def test_a_copy_of_an_installed_plugin(site):
    make_package(site, "alpha", HEALTHY)
    path = plugin_file(site, HEALTHY)
    with pytest.raises(PluginError, match=r"by both alpha and .*trial.py; give yours another name, or uninstall alpha"):
        registry().resolve(str(path), ["neuron"])


def test_file_that_takes_a_registered_name(tmp_path):
    path = plugin_file(tmp_path, HEALTHY.replace("sleepy", "if"))
    with pytest.raises(PluginError, match=r"'if' is registered by both nspike and .*trial.py; give yours another name"):
        registry().resolve(str(path), ["neuron"])
    assert registry().neurons["if"].summary == "integrate-and-fire, soft reset"
