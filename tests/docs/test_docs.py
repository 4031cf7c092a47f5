"""The documents are true: their examples run, and no command or JSON key is missing. Each check has a planted fault."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nspike
from nspike.cli.group import COMMANDS, main
from nspike.registry.plugins import registry
from tests.cli.console import run
from tests.desk import lay_out
from tests.documents import Block, blocks, sections, unmarked, write_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
READMES = sorted(
    path for folder in ("benchmarks", "weights", "nspike", "plugins") for path in (ROOT / folder).rglob("*.md")
)
TUTORIAL = ROOT / "docs" / "tutorial" / "restore_an_image.md"
KEYS = {
    "completion": [],
    "run": [["run", "photo.png"], ["run", "photo.png", "--reference", "clean.png", "--overwrite"]],
    "audit": [["audit", "photo.png"], ["audit", "photo.png", "--verify", "certificate.json"]],
    "trace": [["trace", "photo.png", "--overwrite"]],
    "diff": [["diff", "photo.png", "photo_trace.h5"]],
    "replay": [["replay", "photo_trace.h5", "--layer", "relu1"]],
    "curve": [["curve", "photo.png"], ["curve", "photo.png", "--reference", "clean.png"]],
    "export": [["export", "dncnn-s25", "--format", "nir", "--if", "-o", "dncnn.nir"]],
    "import": [["import", "dncnn_25.pth", "--network", "dncnn", "--sigma", "25", "-o", "ann.h5"]],
    "convert": [["convert", "ann.h5", "--crops", "2", "--calibrate", "photos", "-o", "snn.h5"]],
    "train": [["train", "aodnet", "--data", "photos", "--validation", "pairs", "--steps", "1", "-o", "plain.h5"]],
    "finetune": [
        ["finetune", "dncnn-s25", "--data", "photos", "--validation", "photos", "--steps", "1", "-o", "tuned.h5"]
    ],
    "evaluate": [["evaluate", "dncnn-s25", "--data", "photos", "--limit", "1"]],
    "compare": [["compare", "--network", "dncnn-s25", "--data", "photos", "--limit", "1", "-o", "table"]],
    "plugins": [["plugins"]],
    "plugin": [["plugin", "check", "if"], ["plugin", "new", "my-neuron"]],
    "models": [["models"]],
    "info": [["info", "dncnn-s25"]],
    "examples": [["examples", "bundled"]],
    "warmup": [["warmup"]],
}
"""Command -> calls of which JSON's outermost keys (and those of each entry of a list) are documented."""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    registry.cache_clear()
    yield lay_out(tmp_path, monkeypatch)
    registry.cache_clear()


# ----- examples -----


def execute(block, names):
    """Run a block marked `run`: all of a python block, each line of a bash block, which must end as the mark says."""
    if block.language == "python":
        code = "\n" * block.line + block.text
        exec(compile(code, "the document", "exec"), names)
        return
    assert block.language == "bash", f"line {block.line}: only bash and python can be run"
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        assert words[:1] == ["nspike"], f"{line!r}: only nspike's commands can be run"
        code = main(words[1:])
        assert code == int(block.name or 0), f"{line!r} ended with {code}"


NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*")
DURATION = re.compile(r"\s*(?:s|ms|min|MP/s)\b")


def unprinted(expected, printed, percent=0.0):
    """The first line of `expected` that is not in `printed` after the ones before it, or None: see tests/documents.py."""
    lines = iter(printed.splitlines())
    wanted = [line for line in expected.splitlines() if line.strip() not in ("", "...")]
    return next((line for line in wanted if not any(alike(line, other, percent) for other in lines)), None)


def alike(expected, printed, percent):
    """Whether two lines are the same but for spaces, durations, and numbers that differ by up to so many per cent."""
    shape, other = (" ".join(NUMBER.sub("#", line).split()) for line in (expected, printed))
    numbers = list(zip(NUMBER.finditer(expected), NUMBER.findall(printed), strict=False))
    return shape == other and all(
        DURATION.match(expected, number.end()) or close(number.group(), value, percent) for number, value in numbers
    )


def close(expected, printed, percent):
    """Whether two numbers are written in the same way, and differ by no more than that."""
    places = [number.partition(".")[2] for number in (expected, printed)]
    if percent == 0 or len(places[0]) != len(places[1]) or not places[0].isdigit():
        return expected == printed
    a, b = (float(number.replace(",", "")) for number in (expected, printed))
    return abs(a - b) <= max(percent / 100 * abs(a), 1.01 * 10.0 ** -len(places[0]))


@pytest.mark.parametrize("name", ["train", "finetune"])
def test_examples_of_the_helps_on_training_run(name, desk, capsys):
    """As they are printed, with few steps on small crops."""
    recipe = 'model = "dncnn-s25"\n' if name == "finetune" else 'network = "dncnn"\ndata = ["photos"]\n'
    (desk / "recipe.toml").write_text(recipe)
    (desk / "photos").rename(desk / "kept")
    for folder in ("photos", "Set12"):
        shutil.copytree(desk / "kept", desk / folder)
    text = run(capsys, name, "--help").out.partition("Examples:")[2]
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith(f"nspike {name} ")]
    assert len(examples) >= 2
    for line in examples:
        words = shlex.split(line)[1:]
        outcome = run(capsys, *words, "--steps", 1, "--batch", 1, "--patch", 16, "--threads", 1, "--overwrite")
        assert outcome.code == 0, f"{line}: {outcome.err}"


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path != TUTORIAL], ids=lambda path: path.name)
def test_examples_run(document, desk, capsys):
    write_files(document, desk)
    check_examples(document, capsys)


def test_the_tutorial_is_true_for_a_reader_who_has_nothing_else(tmp_path, monkeypatch, capsys):
    """With the shipped models and the images that it has the reader write, to the printed digit."""
    monkeypatch.chdir(tmp_path)
    check_examples(TUTORIAL, capsys)


def check_examples(document, capsys):
    """Run the blocks of a document that say so, and compare what they print with the blocks below them."""
    names, printed = {}, ""
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.kind == "run":
            capsys.readouterr()
            execute(block, names)
            printed = "".join(capsys.readouterr())
        elif block.kind == "printed":
            percent = float(block.name.removesuffix("%") or 0)
            missing = unprinted(block.text, printed, percent)
            assert missing is None, f"line {block.line}: {missing!r} is not printed; printed was\n{printed}"


def test_planted_output_that_is_not_printed_is_caught():
    printed = "a 1.5 dB\nb  2,500\nc 0.31 s, 2.0 MP/s\n"
    assert unprinted("a 1.5 dB\n...\nc 0.02 s, 9 MP/s\n", printed) is None
    assert unprinted("a 1.5 s\n", printed) == "a 1.5 s"
    assert unprinted("a 1.6 dB\n", printed) == "a 1.6 dB"
    assert unprinted("a 1.50 dB\n", printed) == "a 1.50 dB"
    assert unprinted("b 2,501\n", printed) == "b 2,501"
    assert unprinted("b 2,500\na 1.5 dB\n", printed) == "a 1.5 dB", "in this order"
    assert unprinted("a 1.53 dB\n", "a 1.50 dB\n", 2.0) is None
    assert unprinted("a 1.56 dB\n", "a 1.50 dB\n", 2.0) == "a 1.56 dB"
    assert unprinted("a 2 layers\n", "a 3 layers\n", 90.0) == "a 2 layers", "counts are exact"


def test_planted_examples_that_fail_are_caught(desk, capsys):
    text = "<!-- run -->\n```bash\nnspike run gone.png\n```\n\n<!-- run -->\n```python\nassert 1 == 2\n```\n"
    wrong_command, wrong_code = blocks(text)
    with pytest.raises(AssertionError, match=r"gone.png' ended with 3"):
        execute(wrong_command, {})
    with pytest.raises(AssertionError, match="ended with 0"):
        execute(Block("run: 1", "bash", "nspike models\n", 1), {})
    with pytest.raises(AssertionError) as caught:
        execute(wrong_code, {})
    assert caught.traceback[-1].lineno == 7, "the document's line, from 0"
    with pytest.raises(AssertionError, match="only nspike's commands"):
        execute(Block("run", "bash", "rm -rf x\n", 1), {})


@pytest.mark.parametrize("document", [*DOCUMENTS, *READMES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_block_says_what_it_is(document):
    assert unmarked(document.read_text(encoding="utf-8")) == []


def test_planted_block_without_a_mark_is_caught():
    assert unmarked("text\n```bash\nls\n```\n<!-- rum -->\n```\n```\n<!-- run -->\n```python\n```\n") == [2, 6]
    assert unmarked("<!-- run -->\n\n```bash\n```\n") == [3], "the mark stands right above"
    assert unmarked("<!-- not run -->\n```bash\n```\n") == [2], "why not?"
    assert unmarked("<!-- output -->\n```python\n```\n") == [2], "code is no output"
    assert unmarked("<!-- run -->\n```toml\n```\n") == [2], "toml cannot be run"
    assert unmarked("- a\n\n  ```bash\n  ls\n  ```\n~~~\n~~~\n") == [3, 5, 6, 7], "these fences are not looked at"


def unused(text):
    """Files of a page's example that neither a block that is run nor another file names."""
    found = [block for block in blocks(text) if block.kind in ("run", "file")]
    files = [block for block in found if block.kind == "file"]
    return [file.name for file in files if not any(file.name in other.text for other in found if other is not file)]


@pytest.mark.parametrize("document", DOCUMENTS[2:], ids=lambda path: path.name)
def test_every_file_of_an_example_is_used(document):
    assert unused(document.read_text(encoding="utf-8")) == []


def test_planted_unused_file_is_caught():
    text = "<!-- file: a.py -->\n```python\n```\n<!-- {} -->\n```bash\nnspike run --plugin a.py\n```\n"
    assert unused(text.format("run")) == []
    assert unused(text.format("not run: why")) == ["a.py"]


# ----- the README's commands -----


def faults_of_commands(text):
    """What is wrong with the README's two commands: each is one line, under its mark, once."""
    found = {block.name: block.text for block in blocks(text) if block.kind == "command"}
    faults = [f"no command {name!r}" for name in ("run", "test") if name not in found]
    faults += [f"command {name!r} is not one line" for name, body in found.items() if len(body.splitlines()) != 1]
    if "nspike run --plugin mprn" not in found.get("run", ""):
        faults.append("the main job is not run")
    if "pytest" not in found.get("test", ""):
        faults.append("the tests are not run")
    return faults


def test_the_readme_has_two_commands():
    assert faults_of_commands((ROOT / "README.md").read_text(encoding="utf-8")) == []


def test_planted_faults_of_commands_are_caught():
    text = "<!-- command: run -->\n```bash\npip install .\nnspike run\n```\n"
    expected = [
        "no command 'test'",
        "command 'run' is not one line",
        "the main job is not run",
        "the tests are not run",
    ]
    assert faults_of_commands(text) == expected


def test_the_gate_finds_the_readmes_commands():
    """.ci/run reads the README with awk; it must see what the tests see."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = script[script.index("readme_command() {") : script.index("# An environment")]
    found = {block.name: block.text for block in blocks((ROOT / "README.md").read_text("utf-8"))}
    for name in ("run", "test"):
        done = subprocess.run(
            ["bash", "-c", f"{function}\nreadme_command {name}"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.stdout == found[name]


# ----- commands, keys -----


def undocumented_commands(text):
    """Commands without a section, an example or a list of JSON keys in it."""
    found = sections(text)
    return [n for n in COMMANDS if f"\nnspike {n}" not in found.get(n, "") or "\nJSON: " not in found.get(n, "")]


def test_every_command_is_documented():
    assert undocumented_commands((ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")) == []


def test_planted_missing_command_is_caught():
    text = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert undocumented_commands(text.replace("## warmup", "## warm")) == ["warmup"]
    assert undocumented_commands(text.replace("nspike models", "nspike model")) == ["models"]


def undocumented_keys(section, report):
    """Keys of a command's JSON, and of the entries of its lists, that its section does not name."""
    keys = set(report)
    for value in report.values():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            keys |= set(value[0])
    return sorted(key for key in keys if f"`{key}`" not in section)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_json_key_is_documented(name, desk, capsys):
    found = sections((ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8"))
    if name == "convert":
        run(capsys, *KEYS["import"][0])
    if name in ("diff", "replay"):
        run(capsys, *KEYS["trace"][0])
    if name == "audit":
        run(capsys, *KEYS["audit"][0], "--json", "certificate.json")
    for arguments in KEYS[name]:
        done = run(capsys, *arguments, "--json", "-")
        assert done.code == 0, done.err
        report = json.loads(done.out)
        if report.get("format") == "nspike certificate":  # which has a schema of its own
            section = (ROOT / "docs" / "reference" / "certificate.md").read_text(encoding="utf-8")
        else:
            section = found[name]
            assert (next(iter(report)), report.pop("nspike")) == ("nspike", nspike.__version__)
        if name == "evaluate":
            report["images"] = []  # as in the mean
        assert undocumented_keys(section, report) == []


def test_planted_missing_key_is_caught():
    assert undocumented_keys("JSON: `a`, b.", {"a": [{"c": 1}], "b": 2}) == ["b", "c"]


def test_exit_codes_are_documented():
    text = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", text, flags=re.M) == ["0", "1", "2", "3", "4", "5", "70", "130"]


# ----- links, paths -----


def broken_links(path, text):
    """Links of a document to files that are not there, or to headings that no document has."""
    broken = []
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        there = to.exists()
        if there and anchor:
            there = anchor in {slug(heading) for heading in sections(to.read_text(encoding="utf-8"))}
        if not there:
            broken.append(target)
    return broken


def slug(heading):
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    assert broken_links(document, document.read_text(encoding="utf-8")) == []


def test_planted_broken_links_are_caught():
    text = "[a](gone.md) [b](README.md#nowhere) [c](README.md#limits) [d](https://example.org/x)"
    assert broken_links(ROOT / "x.md", text) == ["gone.md", "README.md#nowhere"]


def test_writing_the_files_of_a_document(tmp_path):
    done = subprocess.run([sys.executable, "-m", "tests.documents", "CONTRIBUTING.md", tmp_path / "out"], cwd=ROOT)
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "nspike_rounding.py",
        "pyproject.toml",
        "test_rounding.py",
    ]


# ----- the wheel -----


def check_wheel():
    """The module .ci/check_wheel.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / ".ci" / "check_wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_planted_faults_of_a_wheel_are_caught():
    checker = check_wheel()
    good = [
        f"nspike-0.1.0.dist-info/{name}" if name.startswith(("licenses", "entry")) else name for name in checker.NEEDED
    ]
    assert checker.faults(good) == []
    assert checker.faults([*good, "cli.py"]) == ["cli.py is installed at the top level"]
    assert checker.faults([*good, "tests/__init__.py"]) == ["tests is installed at the top level"]
    assert checker.faults([*good, "nspike/test_x.py"]) == ["nspike/test_x.py should not be in it"]
    assert checker.faults([name for name in good if "LICENSE" not in name]) == [
        "nspike_weights/LICENSE is missing",
        "licenses/LICENSE is missing",
    ]
