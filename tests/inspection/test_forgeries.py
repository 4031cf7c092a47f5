"""Every forgery against `nspike audit --verify` and against docs/check_certificate.py: neither believes it, and they agree."""

import shutil
from dataclasses import replace

import pytest

import nspike
from nspike.errors import NspikeError
from nspike.inspection.auditing import audit, verify
from nspike.inspection.certificate import dumps, loads
from tests.desk import write
from tests.inspection.forgeries import FORGERIES, Case
from tests.inspection.graph_forgeries import GRAPH_BASES, GRAPH_FORGERIES
from tests.inspection.test_check_certificate import check
from tests.tiny import tiny_model

BASES = {
    "mprn": (tiny_model(head="cpm", width=3), (20, 24), None),
    "if": (tiny_model(neuron="if", width=3), (20, 24), None),
    "lif": (tiny_model(neuron="lif", head="rate", width=3, timesteps=12), (20, 24), None),
    "lif_hard": (tiny_model(neuron="lif_hard", head="rate", width=3, timesteps=12), (20, 24), None),
    "signed": (tiny_model(neuron="signed", head="cpm", width=3), (20, 24), None),
    "burst": (tiny_model(neuron="burst", width=3), (20, 24), None),
    "few_spikes": (tiny_model(neuron="few_spikes", width=3), (20, 24), None),
    "dietsnn": (tiny_model(neuron="dietsnn", width=3), (20, 24), None),
    "superres": (tiny_model("superres", "y", "add", width=3), (7, 8, 3), 2),
    **GRAPH_BASES,
}
ROWS = [*FORGERIES, *GRAPH_FORGERIES]


def by_nspike(case):
    """What `nspike audit --verify` says."""
    try:
        found = verify(loads(case.text, "c.json"), nspike.load(case.model), case.image)
    except NspikeError:
        return "unchecked"
    return "refuted" if found else "holds"


def by_the_script(case):
    """What docs/check_certificate.py says."""
    path = case.model.with_name("c.json")
    path.write_bytes(case.text)
    code, text = check(path, case.model, case.image)
    verdict = {0: "holds", 1: "refuted", 2: "unchecked"}[code]
    assert text.startswith({"holds": "HOLDS: ", "refuted": "REFUTED: ", "unchecked": "NOT CHECKED: "}[verdict]), text
    return verdict


@pytest.fixture(scope="module")
def true_cases(tmp_path_factory):
    """A true case of each base."""
    cases = {}
    for name, (model, shape, scale) in BASES.items():
        folder = tmp_path_factory.mktemp(name)
        photo = write(folder / "photo.png", *shape)
        nspike.save(folder / "m.h5", model)
        cases[name] = Case(dumps(audit(model, photo, scale=scale).certificate).encode(), folder / "m.h5", photo)
    return cases


def copied(case, folder):
    return replace(
        case,
        model=shutil.copy(case.model, folder / "m.h5"),
        image=shutil.copy(case.image, folder / case.image.name),
    )


@pytest.mark.parametrize("base", BASES)
def test_what_is_true_holds(true_cases, base):
    case = true_cases[base]
    assert (by_nspike(case), by_the_script(case)) == ("holds", "holds")


def test_what_is_written_otherwise_holds(true_cases):
    """Spaces, the order of keys and how a number is written are nobody's claim."""
    case = true_cases["mprn"]
    values = {key: case.values()[key] for key in reversed(case.values())}
    import json

    text = json.dumps(values, indent=7).replace("0.75", "7.5e-1").encode()
    assert text != case.text
    case = replace(case, text=text)
    assert (by_nspike(case), by_the_script(case)) == ("holds", "holds")


def test_the_table_is_long_and_names_each_row_once():
    names = [name for name, *_ in ROWS]
    assert len(set(names)) == len(names) >= 200


@pytest.mark.parametrize(("base", "change", "verdict"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_no_forgery_holds_and_both_agree(true_cases, tmp_path, base, change, verdict):
    case = copied(true_cases[base], tmp_path)
    change(case)
    assert (by_nspike(case), by_the_script(case)) == (verdict, verdict)
