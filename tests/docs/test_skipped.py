"""The tests that .ci/run repeats where PyTorch is installed: those that were skipped without it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REASONS = ("could not import 'torch'", "scikit-image is not installed")


@pytest.fixture
def skipped():
    """`skipped` of .ci/skipped.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("skipped", ROOT / ".ci" / "skipped.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.skipped


def test_a_real_report(tmp_path, skipped):
    """Tests, a module as a whole, and what is skipped for something else."""
    files = {
        "test_one.py": """
            import pytest
            @pytest.mark.parametrize("x", ["a-1", "b.2"])
            def test_it(x):
                pytest.importorskip("torch" if x == "b.2" else "math")
            def test_other():
                pytest.skip("no data")
            def test_image():
                pytest.importorskip("not_there", reason="scikit-image is not installed")
        """,
        "test_whole.py": """
            import pytest
            pytest.importorskip("torch")
            def test_it(): pass
        """,
        "conftest.py": "import sys; sys.modules['torch'] = None",
    }
    folder = tmp_path / "inner" / "deep"
    folder.mkdir(parents=True)
    for name, text in files.items():
        lines = [line[12:] if line.startswith(" " * 12) else line for line in text.splitlines()]
        (folder / name).write_text("\n".join(lines))
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", ".", "--junitxml=report.xml", "inner"]
    environment = os.environ | {"PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout
    report = (tmp_path / "report.xml").read_text()
    assert sorted(skipped(report, REASONS)) == [
        "inner/deep/test_one.py::test_image",
        "inner/deep/test_one.py::test_it[b.2]",
        "inner/deep/test_whole.py",
    ]
    assert skipped(report, ["never"]) == []


def test_the_gate_asks_for_these_reasons():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f'"{reason}"' in script for reason in REASONS)
