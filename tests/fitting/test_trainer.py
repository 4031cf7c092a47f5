"""From a dictionary to a trained model, without files."""

import numpy as np
import pytest

import nspike
from nspike.errors import BadInputError, ModelError, UsageError
from nspike.fitting.provenance import with_baseline
from nspike.images.file import ImageData, write
from nspike.registry.plugins import registry
from nspike.runtime import parallel
from tests.cli.console import run
from tests.tiny import image, tiny_model

QUICK = {"steps": 2, "batch": 2, "patch": 16}


@pytest.fixture
def photos(tmp_path):
    for i in range(2):
        write(tmp_path / f"{i}.png", ImageData(image(32, 40, seed=i)))
    return tmp_path


class Told:
    def __init__(self):
        self.calls = []

    def began(self, name, done, steps):
        self.calls.append(("began", name, done, steps))

    def fitted(self, done, layers):
        self.calls.append(("fitted", done, layers))

    def stepped(self, record, steps):
        self.calls.append(("stepped", record.step))

    def validated(self, validation):
        self.calls.append(("validated", validation.step))


def test_nothing_is_written_without_an_output(photos, monkeypatch):
    monkeypatch.chdir(photos)
    before, told = sorted(photos.iterdir()), Told()
    values = {"model": tiny_model(timesteps=2), "data": photos, "validation": photos, "validation_every": 1, **QUICK}
    trained = nspike.finetune(values, watch=told)
    assert told.calls == [
        ("began", "tiny", 0, 2), ("validated", 0), ("stepped", 1), ("validated", 1), ("stepped", 2), ("validated", 2),
    ]  # fmt: skip
    assert sorted(photos.iterdir()) == before
    assert trained.best == max(trained.validations, key=lambda v: v.psnr)
    assert trained.model.info.quality[photos.name]["psnr"] == pytest.approx(trained.best.psnr)


def test_no_input_is_replaced(photos, tmp_path):
    nspike.save(tmp_path / "m.h5", tiny_model())
    (tmp_path / "r.toml").write_text(f'model = "m.h5"\ndata = ["{photos}"]\n')
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for function, source, output in (
        (nspike.finetune, {"model": str(tmp_path / "m.h5"), "data": [str(photos)]}, "m.h5"),
        (nspike.train, {"model": str(tmp_path / "m.h5"), "data": [str(photos)]}, "m.h5"),
        (nspike.finetune, tmp_path / "r.toml", "r.toml"),
        (nspike.finetune, tmp_path / "r.toml", "m.h5"),
    ):
        with pytest.raises(UsageError, match=f"{output} would replace an input; give another name"):
            function(source, tmp_path / output, overwrite=True)
    assert {path: path.read_bytes() for path in before} == before


def test_the_best_model_is_the_result(photos):
    """Steps that make it worse: the model from before them is kept."""
    model = tiny_model(timesteps=2)
    values = {"model": model, "data": photos, "validation": photos, **QUICK, "rate": 0.3, "clip": 1e9}
    trained = nspike.finetune(values)
    assert trained.validations[-1].psnr < trained.validations[0].psnr
    assert trained.step == 0
    pixels = image(24, 24)
    np.testing.assert_array_equal(trained.model.run(pixels).image, model.run(pixels).image)
    last = nspike.finetune({key: value for key, value in values.items() if key != "validation"})
    assert last.step == 2
    assert not np.array_equal(last.model.run(pixels).image, model.run(pixels).image)


def test_parts_that_a_plan_replaces(photos):
    values = {"model": tiny_model(), "data": photos, **QUICK, "steps": 1}
    plan = {"neuron": "mprn_beta", "head": "cpm", "timesteps": 2, "neuron_parameters": {"v_init": 0.25}}
    spiking = nspike.finetune(values | plan).model.spiking
    assert (spiking.neuron, spiking.head, spiking.timesteps) == ("mprn_beta", "cpm", 2)
    assert spiking.neuron_parameters["mprn_beta"]["relu1"]["v_init"] == 0.25


def test_baselines(photos):
    tuned = nspike.finetune({"model": tiny_model(), "data": photos, **QUICK}).model
    with pytest.raises(UsageError, match="is another network than tiny"):
        with_baseline(tuned, tiny_model(width=4))
    model, pixels = tiny_model(), image(24, 24)
    compared = with_baseline(model, tiny_model(seed=2))
    np.testing.assert_array_equal(compared.run(pixels).image, model.run(pixels).image)
    np.testing.assert_array_equal(compared.run(pixels, ann=True).image, tiny_model(seed=2).run(pixels, ann=True).image)
    with pytest.raises(ModelError, match="has no spiking form"):
        with_baseline(nspike.train({"model": tiny_model(), "data": photos, **QUICK}).model, tiny_model())


def chain(folder, photos):
    """A recipe that starts from what another makes, which starts from a third's."""
    start = f'model = "{folder / "tiny.h5"}"\ndata = ["{photos}"]\nsteps = 2\nbatch = 2\npatch = 16\n'
    nspike.save(folder / "tiny.h5", nspike.train({"model": tiny_model(), "data": photos, **QUICK}).model)
    (folder / "plain.toml").write_text('name = "plain"\n' + start)
    second = start.replace(str(folder / "tiny.h5"), "plain.toml") + 'activation = "qcfs"\nlevels = 4\n'
    (folder / "levels.toml").write_text('name = "levels"\n' + second)
    third = start.replace(str(folder / "tiny.h5"), "levels.toml") + 'converter = "qcfs"\ncalibration = 4\n'
    third += 'baseline = "plain.toml"\ntimesteps = 4\nwarm_start = "regression"\nwarm_crops = 4\n'
    (folder / "spikes.toml").write_text('name = "spikes"\n' + third)
    return folder / "spikes.toml"


@pytest.mark.parametrize("tune", [nspike.train, nspike.finetune])
def test_what_it_learns_to_undo_is_its_task(tune, photos):
    start = tiny_model(timesteps=2)
    assert start.info.task == "denoise"
    values = {"model": start, "data": photos, **QUICK}
    for degradation, task in (
        ({"kind": "haze", "beta": 1.0}, "dehaze"),
        ({"kind": "jpeg", "sigma": 10}, "denoise"),
        ({"kind": "mixed", "of": [{"kind": "rain"}, {"kind": "haze"}]}, "denoise"),
    ):
        info = tune(values, degradation=degradation).model.info
        assert (info.task, info.degradation["kind"]) == (task, degradation["kind"])


def test_a_recipe_that_starts_from_recipes(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    recipe, told = chain(folder, photos), Told()
    trained = nspike.finetune(recipe, folder / "out.h5", watch=told)
    began = [call for call in told.calls if call[0] == "began"]
    assert began == [("began", name, 0, 2) for name in ("plain", "levels", "spikes")]
    assert [call[1:] for call in told.calls if call[0] == "fitted"] == [(1, 2), (2, 2)]
    made = {path.name for path in folder.glob("out*.h5")}
    assert made == {"out.h5", "out.plain.h5", "out.levels.h5"}
    model, plain = trained.model, nspike.load(folder / "out.plain.h5")
    assert model.info.provenance["training"]["before"]["done"] == 2
    pixels = image(24, 24)
    for name, array in plain.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], array)

    assert model.info.provenance["baseline"]["name"] == "plain"
    assert "fine_tuning" not in model.info.provenance["baseline"]
    again = with_baseline(model, model).info.provenance["baseline"]
    assert again == model.info.provenance["baseline"], "the origin of the ANN, not of what held it"

    step_by_step = nspike.finetune(
        nspike.fitting.reading.read_recipe(recipe) | {"model": str(folder / "out.levels.h5"), "baseline": plain}
    )
    np.testing.assert_array_equal(step_by_step.model.run(pixels).image, model.run(pixels).image)
    in_memory = nspike.finetune(recipe)
    np.testing.assert_array_equal(in_memory.model.run(pixels).image, model.run(pixels).image)

    told.calls.clear()
    again = nspike.finetune(recipe, folder / "out.h5", watch=told)
    assert [call for call in told.calls if call[0] == "stepped"] == []
    np.testing.assert_array_equal(again.model.run(pixels).image, model.run(pixels).image)


def test_a_recipe_of_fine_tuning_that_starts_from_another(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    chain(folder, photos)
    (folder / "more.toml").write_text(f'model = "spikes.toml"\ndata = ["{photos}"]\nsteps = 3\nbatch = 2\npatch = 16\n')
    told = Told()
    more = nspike.finetune(folder / "more.toml", folder / "out.h5", watch=told).model
    began = [call[1:] for call in told.calls if call[0] == "began"]
    assert began == [("plain", 0, 2), ("levels", 0, 2), ("spikes", 0, 2), ("spikes", 0, 3)]
    assert more.info.provenance["fine_tuning"]["before"]["warm_start"] == "regression"
    assert (more.spiking.timesteps, (folder / "out.spikes.h5").exists()) == (4, True)
    with pytest.raises(
        UsageError, match="warm_start fits kernels to the plain network that a model was converted from"
    ):
        nspike.finetune(folder / "more.toml", warm_start="regression", model=more)


def test_what_is_wrong_with_an_earlier_recipe_is_known_at_once(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    recipe, told = chain(folder, photos), Told()
    text = (folder / "plain.toml").read_text()
    for wrong, error, said in (
        (text + "stepz = 3\n", UsageError, "unknown key 'stepz'.*steps"),
        (text.replace(str(photos), "nowhere"), BadInputError, "nowhere"),
        (text.replace(str(folder / "tiny.h5"), "levels.toml"), UsageError, "starts from itself"),
        ("[", BadInputError, "is no TOML"),
    ):
        (folder / "plain.toml").write_text(wrong)
        with pytest.raises(error, match=said):
            nspike.finetune(recipe, folder / "out.h5", watch=told)
    (folder / "plain.toml").unlink()
    with pytest.raises(BadInputError, match=r"plain.toml"):
        nspike.finetune(recipe, folder / "out.h5", watch=told)
    assert told.calls == []
    assert not list(folder.glob("out*"))


def test_each_recipe_has_its_own_threads(photos, tmp_path_factory):
    class Threads(Told):
        def stepped(self, record, steps):
            self.calls.append(parallel.available())

    folder = tmp_path_factory.mktemp("threads")
    recipe, told = chain(folder, photos), Threads()
    for name, threads in (("plain", 1), ("levels", 2), ("spikes", 3)):
        with (folder / f"{name}.toml").open("a") as file:
            file.write(f"threads = {threads}\n")
    nspike.finetune(recipe, watch=told)
    assert [call for call in told.calls if isinstance(call, int)] == [1, 1, 2, 2, 3, 3]


def test_common_values_are_for_every_recipe(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("common")
    recipe = chain(folder, photos)
    for each in folder.glob("*.toml"):
        each.write_text(each.read_text().replace(str(photos), "elsewhere"))
    made = nspike.finetune(recipe, folder / "out.h5", data=[str(photos)], threads=1)
    assert made.model.info.provenance["fine_tuning"]["data"] == [photos.name]
    assert nspike.load(folder / "out.plain.h5").info.provenance["training"]["data"] == [photos.name]


LOSS = """from nspike import Loss, hookimpl


@hookimpl
def register_losses(register):
    register(Loss("mine", "the error, squared twice", "here", lambda seen: (seen.output - seen.target).square().square().mean()))
"""


def test_a_loss_is_set_in_the_same_way_from_everywhere(photos, tmp_path_factory, capsys):
    """A plugin's file, as keyword, as a recipe's key, from the shell: the same model to the last byte."""
    folder = tmp_path_factory.mktemp("ways")
    (folder / "mine.py").write_text(LOSS)
    nspike.save(folder / "tiny.h5", tiny_model(timesteps=2))
    keys = {"model": str(folder / "tiny.h5"), "data": [str(photos)], **QUICK, "k": 0.5}
    text = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    (folder / "plugin.toml").write_text(text + 'plugins = ["mine.py"]\n')
    (folder / "without.toml").write_text(text)
    registry.cache_clear()
    plugin = str(folder / "mine.py")
    nspike.finetune(folder / "plugin.toml", folder / "toml.h5")
    nspike.finetune(output=folder / "keys.h5", plugins=[plugin], **keys)
    nspike.finetune(folder / "without.toml", folder / "both.h5", plugins=plugin)
    outcome = run(capsys, "finetune", folder / "without.toml", "--plugin", plugin, "-o", folder / "shell.h5")
    registry.cache_clear()
    assert outcome.code == 0, outcome.err
    models = {path.name: path.read_bytes() for path in folder.glob("*.h5") if path.name != "tiny.h5"}
    assert len(models) == 4
    assert len(set(models.values())) == 1
    kept = nspike.load(folder / "keys.h5").info.provenance["fine_tuning"]
    assert (kept["pixel"], kept["k"], kept["done"], kept["gradient"]) == ("mine", 0.5, 2, "time")
    assert "plugins" not in kept


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"batch": 2**53},
            "batch = 9007199254740992 crops of 16x16 need at least .* GiB of memory, and this machine has",
        ),
        ({"warm_start": "regression", "warm_crops": 2**50}, "warm_crops = "),
        ({"converter": "rueckauer", "calibration": 2**50}, "calibration = "),
    ],
)
def test_what_cannot_be_allocated_is_known_before_it_starts(photos, changed, said):
    told = Told()
    with pytest.raises(UsageError, match=said):
        nspike.finetune({"model": tiny_model(), "data": photos, **QUICK}, watch=told, **changed)
    assert told.calls == []
    with pytest.raises(UsageError, match="batch beyond 2"):
        nspike.train({"model": tiny_model(), "data": photos, **QUICK, "batch": 2**63 - 1})
