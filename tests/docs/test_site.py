"""The documents become a site without a warning: no broken link, no page that is not in the table of contents."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_parser")
pytest.importorskip("furo")

DOCS = Path(__file__).parents[2] / "docs"


def build(source, target):
    """What building a site says; empty if all is well."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", DOCS, source, target]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


def test_the_site_is_built(tmp_path):
    assert build(DOCS, tmp_path) == ""
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert pages <= {page.relative_to(tmp_path) for page in tmp_path.rglob("*.html")}
    assert "release.svg" in (tmp_path / "explanation" / "spikes.html").read_text(encoding="utf-8")


def test_planted_faults_are_caught(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text("# A\n\n[there](gone.md) [here](#nowhere)\n\n![figure](gone.svg)\n")
    (source / "lost.md").write_text("# B\n")
    said = build(source, tmp_path / "site")
    for fault in ("gone.md", "nowhere", "gone.svg", "lost.md"):
        assert fault in said
