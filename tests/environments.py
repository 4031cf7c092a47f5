"""Environments in which tests install packages, as a plugin's author does: with pip, offline, and apart from the tests' own."""

import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIP = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip's own oddity: 0 turns isolation off
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_QUIET": "1",
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment that also sees everything that the tests' own has."""

    python: Path

    def run(self, command, folder, **variables):
        """A shell line of a document: `python`, `pip` and `nspike` are this environment's. What it printed."""
        words = command.split()
        module = {"pip": ["-m", "pip"], "nspike": ["-m", "nspike"], "python": []}[words[0]]
        environment = {k: v for k, v in os.environ.items() if k not in ("NSPIKE_LOAD_PLUGINS", "PYTHONPATH")}
        done = subprocess.run(
            [self.python, *module, *words[1:]],
            cwd=folder,
            env=environment | PIP | {"PYTHONSAFEPATH": "1"} | variables,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{command!r} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


def environment(folder):
    """Make one in a folder."""
    venv.create(folder, symlinks=True)
    scheme = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
    own = [path for path in dict.fromkeys(site.getsitepackages() + sys.path) if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in own]
    (Path(scheme["purelib"]) / "tests_own.pth").write_text("\n".join(lines) + "\n")
    return Environment(Path(scheme["scripts"]) / "python")


def install_into(target, package):
    """Install a package's folder into another one, which is to be on sys.path; the package's folder stays as it is."""
    copy = target / "source"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    site_packages = target / "site-packages"
    command = [sys.executable, "-m", "pip", "install", "--target", site_packages, copy]
    done = subprocess.run(command, env=os.environ | PIP, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return site_packages
