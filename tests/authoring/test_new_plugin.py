"""New packages of neurons: what is written, and what is refused."""

import tomllib
from pathlib import Path

import pytest

import nspike
from nspike.authoring.new_plugin import new_neuron
from nspike.errors import OutputError, PluginError, UsageError
from nspike.registry.plugins import Registry
from nspike.testing import check_neuron


@pytest.mark.parametrize("kernel", [False, True])
def test_package(tmp_path, monkeypatch, kernel):
    monkeypatch.chdir(tmp_path)
    package = new_neuron("my-neuron", kernel=kernel)
    assert (package.name, package.distribution, package.module) == ("my-neuron", "nspike-my-neuron", "nspike_my_neuron")
    folder = tmp_path / "my-neuron"
    assert sorted(path.name for path in folder.iterdir()) == sorted(package.files)
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "nspike-my-neuron"
    assert project["project"]["entry-points"]["nspike"] == {"my-neuron": "nspike_my_neuron"}
    assert project["project"]["dependencies"] == [f"nspike>={nspike.__version__.rpartition('.')[0]}"]
    neuron = Registry().resolve(str(folder / "nspike_my_neuron.py"), ["neuron"])[1]
    assert neuron.name == "my-neuron"
    assert (neuron.step is not None) is kernel
    check_neuron(neuron, conserves=True)
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "$" not in text
        assert max(map(len, text.splitlines())) <= 88, f"{path.name}: a stranger's linter has nothing to say"


@pytest.mark.parametrize(("name", "module"), [("a", "nspike_a"), ("nspike-b_c2", "nspike_b_c2"), ("x-1", "nspike_x_1")])
def test_names(tmp_path, name, module):
    package = new_neuron(name, tmp_path / "deep" / "er")
    assert package.module == module
    assert Registry().resolve(str(tmp_path / "deep" / "er" / f"{module}.py"), ["neuron"])[1].name == name


@pytest.mark.parametrize(
    "name",
    ["", "My-neuron", "my neuron", "my--neuron", "-my", "my-", "1st", "my.py", "../my", "naïve", "a" * 51, "$x", "a\n"],
)
def test_names_that_cannot_be(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"cannot be a neuron's name here; expected .* such as my-neuron"):
        new_neuron(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("mprn", "'mprn' is a built-in neuron already; give yours another name"),
        ("cpm", "'cpm' is a built-in head already"),
        ("nspike", "'nspike' is this framework's own name"),
        ("plugins", "a module nspike_plugins is installed already"),
        ("weights", "a module nspike_weights is installed already"),
    ],
)
def test_names_that_are_taken(tmp_path, name, error):
    with pytest.raises(PluginError, match=error):
        new_neuron(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_neuron("my-neuron", ".")
    assert (tmp_path / "pyproject.toml").exists()


def test_nothing_is_overwritten(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes").write_text("mine")
    with pytest.raises(OutputError, match="mine is not empty; nothing was written"):
        new_neuron("my-neuron", folder)
    assert [path.name for path in folder.iterdir()] == ["notes"]
    with pytest.raises(OutputError, match="notes is a file; expected a folder"):
        new_neuron("my-neuron", folder / "notes")
    with pytest.raises(OutputError, match=r"cannot write .*: Not a directory|is a file"):
        new_neuron("my-neuron", folder / "notes" / "below")


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    real = Path.write_text

    def full(self, *args, **options):
        if self.name.startswith("test_"):
            raise OSError(28, "No space left on device")
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"cannot write .*mine: No space left on device"):
        new_neuron("my-neuron", tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []
