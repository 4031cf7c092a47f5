"""docs/certificate.schema.json: real certificates keep it, others do not, and the page tells every field."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import nspike
from nspike.inspection.auditing import audit
from nspike.inspection.certificate import VERSION, dumps
from tests.desk import write
from tests.graphs import branched, random_model
from tests.inspection.test_certificate import changed
from tests.tiny import tiny_model

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "certificate.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def faults(certificate):
    """What the schema says of a certificate, read from its bytes."""
    return [error.message for error in VALIDATOR.iter_errors(json.loads(dumps(certificate)))]


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["version"]["const"] == VERSION


@pytest.mark.parametrize(
    ("model", "options", "shape", "scale"),
    [
        (tiny_model(), {}, (20, 24), None),
        (tiny_model(), {"neuron": "lif", "head": "rate"}, (20, 24), None),
        (tiny_model(), {"neuron": "if", "head": "cpm", "timesteps": 7}, (9, 8), None),
        (tiny_model(), {"neuron": "mprn_beta"}, (20, 24, 3), None),
        (tiny_model("superres", "y", "add"), {}, (12, 10, 3), 3),
        (random_model(branched(4, 5, 3, channels=3, gate=True)), {}, (20, 22, 3), None),
    ],
)
def test_real_certificates_keep_it(tmp_path, model, options, shape, scale):
    photo = write(tmp_path / "photo.png", *shape)
    certificate = audit(nspike.swap(model, **options)[0], photo, scale=scale).certificate
    assert faults(certificate) == []


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("remark",), "x"),
        (("threads",), 2),
        (("input", "path"), "a.png"),
        (("model", "file"), "m.h5"),
        (("parameters", "tile"), 64),
        (("parameters", "neuron_steps", "relu1", "more"), 1),
        (("layers", 0, "seconds"), 1),
        (("layers", 0, "steps", 0, "rate"), 0.1),
        (("work", "energy"), 1),
        (("totals", "more"), 1),
        (("output", "path"), "b.png"),
        (("version",), VERSION + 1),
        (("format",), "other"),
        (("layers", 0, "steps", 0, "synops"), 10.5),
        (("layers", 0, "steps", 0, "events"), [0.25]),
        (("layers", 0, "steps", 0, "neuron_updates"), "4"),
        (("totals", "spikes"), -1),
        (("totals", "spikes"), 1e300),
        (("layers", 0, "steps", 0, "sha256"), "0" * 63),
        (("layers", 0, "steps", 0, "sha256"), "A" * 64),
        (("parameters", "timesteps"), True),
        (("input", "scale"), 0),
    ],
)
def test_planted_faults_are_refused(stored, path, to):
    assert faults(changed(stored, *path, to=to))


def every_field(value, path=()):
    """The path of every key, those of layers and parameters by name left out."""
    if isinstance(value, list):
        for item in value[:1]:
            yield from every_field(item, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            if key not in ("neuron_parameters", "head_parameters"):
                yield from every_field(item, (*path, key))


def test_no_field_may_be_missing(stored):
    paths = [path for path in every_field(stored) if "neuron_steps" not in path[:-1]]
    assert len(paths) > 50
    for path in paths:
        less = copy.deepcopy(stored)
        place = less
        for key in path[:-1]:
            place = place[key][0] if isinstance(place[key], list) else place[key]
        del place[path[-1]]
        assert faults(less), path


def fields_of(schema):
    """Every field that the schema names."""
    found = set(schema.get("properties", {}))
    for part in [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]:
        found |= fields_of(part)
    return found


def test_the_page_tells_every_field():
    text = (DOCS / "reference" / "certificate.md").read_text(encoding="utf-8")
    assert sorted(name for name in fields_of(SCHEMA) if f"`{name}`" not in text) == []
