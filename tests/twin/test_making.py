"""Out to PyTorch and back by files: the same digest; and what is refused."""

import io
import json

import numpy as np
import pytest

import nspike
from nspike.model.file import digest, read_info
from nspike.twin.state import EXTRA, is_twin, pack, read_state
from tests.cli.console import run
from tests.small_models import small_ann
from tests.tiny import tiny_model

torch = pytest.importorskip("torch")


def exported(capsys, folder, model, *options):
    nspike.save(folder / "model.h5", model)
    outcome = run(capsys, "export", folder / "model.h5", "--format", "torch", "-o", folder / "net.pt", *options)
    assert outcome.code == 0, outcome.err
    return folder / "net.pt", outcome


@pytest.mark.parametrize("model", [tiny_model(head="cpm"), small_ann()], ids=["spiking", "plain"])
def test_there_and_back(capsys, tmp_path, model):
    path, outcome = exported(capsys, tmp_path, model)
    assert "network of" in outcome.out
    outcome = run(capsys, "import", path, "-o", tmp_path / "back.h5")
    assert outcome.code == 0, outcome.err
    assert read_info(tmp_path / "back.h5").digest == digest(model)
    assert read_info(tmp_path / "back.h5").integers == (model.spiking is not None)
    assert nspike.from_torch(nspike.to_torch(path)) is not None


def test_a_shipped_model_comes_back():
    state = nspike.to_torch("aodnet").state_dict()
    model, form = read_state({key: tensor.numpy() for key, tensor in state.items()})
    assert (digest(model), form) == (digest(nspike.load("aodnet")), "spiking")


def test_the_plain_network(capsys, tmp_path):
    path, _ = exported(capsys, tmp_path, tiny_model(), "--ann")
    assert run(capsys, "import", path, "-o", tmp_path / "back.h5", "--name", "other").code == 0
    back = nspike.load(tmp_path / "back.h5")
    assert (back.spiking, back.info.name) == (None, "other")


def test_a_trained_state_in_the_ways_that_people_save(capsys, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    net = nspike.to_torch(tiny_model())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.01)
    expected = digest(nspike.from_torch(net))
    wrapped = torch.nn.DataParallel(net)
    assert digest(nspike.from_torch(wrapped)) == expected
    torch.save(wrapped.state_dict(), tmp_path / "parallel.pt")
    torch.save({"model": net.state_dict(), "epoch": 3}, tmp_path / "wrapped.pt")
    safetensors.save_file(net.state_dict(), tmp_path / "safe.safetensors")
    for name in ("parallel.pt", "wrapped.pt", "safe.safetensors"):
        assert run(capsys, "import", tmp_path / name, "-o", tmp_path / "back.h5", "--overwrite").code == 0, name
        assert read_info(tmp_path / "back.h5").digest == expected, name
    again = nspike.to_torch(tiny_model())
    again.load_state_dict(torch.load(tmp_path / "wrapped.pt", weights_only=True)["model"])
    assert digest(nspike.from_torch(again)) == expected
    with pytest.raises(nspike.UsageError, match="not of this one"):
        again.load_state_dict(nspike.to_torch("aodnet").state_dict(), strict=False)


def test_bad_states(capsys, tmp_path):
    state = nspike.to_torch(tiny_model()).state_dict()
    key = next(key for key in state if key.endswith("weight"))

    def refused(changed, *options, code=3):
        content = io.BytesIO()
        torch.save(changed, content)
        (tmp_path / "bad.pt").write_bytes(content.getvalue())
        outcome = run(capsys, "import", tmp_path / "bad.pt", "-o", tmp_path / "back.h5", *options)
        assert outcome.code == code
        assert not (tmp_path / "back.h5").exists()
        return outcome.err

    assert f"missing keys: {key}" in refused({k: v for k, v in state.items() if k != key})
    assert "unknown keys: more" in refused({**state, "more": torch.zeros(1)})
    assert "wrong shapes: " in refused({**state, key: torch.zeros(2)})
    assert "NaN or infinite" in refused({**state, key: torch.full_like(state[key], torch.nan)})
    assert "checksum differs" in refused({**state, EXTRA: state[EXTRA][:-9]})
    newer = np.frombuffer(state[EXTRA].numpy().tobytes().replace(b'twin":1', b'twin":2'), np.uint8)
    assert "is of version 2" in refused({**state, EXTRA: torch.from_numpy(newer.copy())})
    head = np.frombuffer(b'{"nspike_twin":', np.uint8)
    assert "is damaged" in refused({**state, EXTRA: torch.from_numpy(head.copy())})
    assert "leave out the network" in refused(state, "--network", "dncnn", code=2)
    assert "leave out the degradation" in refused(state, "--sigma", "5", code=2)


def test_wrong_options(capsys, tmp_path):
    nspike.save(tmp_path / "model.h5", tiny_model())
    calls = {
        ("--format", "torch", "--size", "8", "8"): "--size is for --format nir",
        ("--format", "nir", "--ann"): "--ann is for --format torch",
        ("--format", "torch", "--ann", "--if"): "--if names neurons",
    }
    for options, message in calls.items():
        outcome = run(capsys, "export", tmp_path / "model.h5", *options, "-o", tmp_path / "net")
        assert outcome.code == 2
        assert message in outcome.err
    with pytest.raises(nspike.UsageError, match=r"not a module of nspike\.to_torch: Linear"):
        nspike.from_torch(torch.nn.Linear(1, 1))
    with pytest.raises(nspike.UsageError, match="there is no option 'speed'"):
        nspike.to_torch(tiny_model(), speed=9)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(nspike.BadInputError, match="not a state dict of nspike's"):
        nspike.to_torch(tmp_path / "other.pt")


def test_what_lies_beside_the_parameters():
    extra = pack(tiny_model(), "spiking")
    assert is_twin({EXTRA: extra})
    assert not is_twin({EXTRA: np.zeros(40, np.uint8)})
    assert not is_twin({})
    line = extra.tobytes().split(b"\n")[0]
    assert json.loads(line) == {"nspike_twin": 1, "form": "spiking"}
