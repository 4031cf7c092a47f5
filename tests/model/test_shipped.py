import importlib.machinery
import importlib.util
from dataclasses import replace

import pytest

from nspike.errors import ModelError, UsageError
from nspike.model import shipped as models
from nspike.model.file import save
from tests.small_models import small_ann, small_snn

MODELS = {
    "dncnn-s15": ("denoise", {"sigma": 15.0}),
    "dncnn-s25": ("denoise", {"sigma": 25.0}),
    "dncnn-s50": ("denoise", {"sigma": 50.0}),
    "aodnet": ("dehaze", {}),
    "vdsr": ("superres", {"scales": [2, 3, 4]}),
}


def ship(folder, monkeypatch):
    """Let `folder` stand for the package of shipped models."""
    spec = importlib.machinery.ModuleSpec("nspike_weights", None)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, (task, degradation) in MODELS.items():
        save(folder / f"{name}.h5", small_snn(name=name, task=task, degradation=degradation))
    (folder / "README.md").write_text("not a model")
    ship(folder, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return folder


def test_shipped(weights):
    assert models.shipped() == [(name, weights / f"{name}.h5") for name in sorted(MODELS)]
    assert models.IN_STEPS in MODELS


def test_what_is_really_shipped_can_be_read():
    for name, path in models.shipped():
        assert models.read_info(path).info.name == name


def test_of_models_for_the_same_one_made_for_the_steps_comes_first(weights):
    model = small_snn(name="dncnn-s25-t5", degradation={"sigma": 25.0})
    save(weights / "dncnn-s25-t5.h5", model.with_spiking(replace(model.spiking, timesteps=5)))
    made_for = models.read_info(weights / "dncnn-s25.h5").timesteps
    assert made_for != 5
    assert models.default_for("denoise") == "dncnn-s25"
    assert models.default_for("denoise", sigma=24.0) == "dncnn-s25"
    assert models.default_for("denoise", timesteps=made_for) == "dncnn-s25"
    assert models.default_for("denoise", timesteps=5) == "dncnn-s25-t5"
    assert models.default_for("denoise", sigma=24.0, timesteps=5) == "dncnn-s25-t5"
    assert models.default_for("denoise", sigma=15.0, timesteps=5) == "dncnn-s15", "the noise comes first"
    assert models.default_for("denoise", sigma=24.0, timesteps=7) == "dncnn-s25"


def test_few_spikes_come_first_but_where_a_neuron_a_head_or_steps_are_asked_for(weights):
    for name in ("dncnn-s25", "dncnn-s15", "vdsr"):
        task, degradation = MODELS[name]
        model = small_snn(name=f"{name}-few", task=task, degradation=degradation)
        spiking = replace(model.spiking, neuron="few_spikes", head="membrane", timesteps=1)
        save(weights / f"{name}-few.h5", replace(model, spiking=spiking))
    assert models.default_for("denoise") == models.DEFAULT == "dncnn-s25-few"
    assert models.default_for("denoise", sigma=16.0) == "dncnn-s15-few"
    assert models.default_for("superres", scale=2) == "vdsr-few"
    assert models.default_for("denoise", sigma=50.0) == "dncnn-s50", "there is no other"
    for asked in (
        {"neuron": "mprn"},
        {"neuron": "if"},
        {"head": "cpm"},
        {"timesteps": 7},
        {"steps": True},
        {"plain": True},
    ):
        assert models.default_for("denoise", **asked) == "dncnn-s25"
        assert models.default_for("denoise", sigma=16.0, **asked) == "dncnn-s15"
    for asked in ({"neuron": "few_spikes"}, {"timesteps": 1}):
        assert models.default_for("denoise", **asked) == "dncnn-s25-few"
        assert models.default_for("denoise", sigma=16.0, **asked) == "dncnn-s15-few"


def test_find(weights, tmp_path):
    assert models.find("vdsr") == weights / "vdsr.h5"
    mine = tmp_path / "mine.h5"
    mine.touch()
    assert models.find(mine) == mine
    assert models.find("mine.h5").name == "mine.h5"
    (tmp_path / "aodnet").mkdir()
    assert models.find("aodnet") == weights / "aodnet.h5", "a folder of that name is not meant"
    (tmp_path / "vdsr").touch()
    assert models.find("vdsr").resolve() == tmp_path / "vdsr", "a file of that name is"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("dncn-s25", r"no model 'dncn-s25'. Did you mean 'dncnn-s25'\? Known: aodnet, dncnn-s15"),
        ("xyzzy", "no model 'xyzzy'. Known: aodnet"),
        ("", "no model ''"),
        ("folder/vdsr.h5", r"folder/vdsr.h5: no such model file. Did you mean 'vdsr'\?"),
        ("a\0b", "no model|no such"),
        ("x" * 5000, "no model"),
    ],
)
def test_unknown_names(weights, name, error):
    with pytest.raises(ModelError, match=error):
        models.find(name)


def test_nothing_shipped(tmp_path, monkeypatch):
    ship(tmp_path, monkeypatch)
    with pytest.raises(ModelError, match="none is shipped"):
        models.find("vdsr")
    with pytest.raises(ModelError, match="no model for the task denoise is shipped"):
        models.default_for("denoise")


def test_default_for(weights):
    assert models.default_for("denoise") == "dncnn-s25"
    assert [models.default_for("denoise", sigma=s) for s in (0, 16, 21, 30, 49.9, 300)] == [
        *("dncnn-s15", "dncnn-s15", "dncnn-s25"),
        *("dncnn-s25", "dncnn-s50", "dncnn-s50"),
    ]
    assert models.default_for("denoise", sigma=20) == "dncnn-s15", "of two equally near, the first by name"
    assert models.default_for("dehaze") == "aodnet"
    assert models.default_for("superres") == models.default_for("superres", scale=3) == "vdsr"


def test_default_for_colour_where_the_plain_network_runs(weights):
    """A colour denoiser without a spiking form is chosen for plain networks and colour images alone."""
    told = small_ann(name="drunet-color", colour="rgb", degradation={"sigma": [0.0, 55.0]})
    save(weights / "drunet-color.h5", told)
    assert models.default_for("denoise", sigma=25, colour=True) == "dncnn-s25"
    assert models.default_for("denoise", sigma=25, plain=True) == "dncnn-s25"
    for sigma in (0, 25, 55, None):
        assert models.default_for("denoise", sigma=sigma, colour=True, plain=True) == "drunet-color"
    assert models.default_for("dehaze", colour=True) == models.default_for("dehaze") == "aodnet"
    assert models.default_for("superres", scale=2, colour=True, plain=True) == "vdsr"


SPIKERIR = {
    "spikerir-denoise": ("denoise", {"kind": "noise", "sigma": [0.0, 55.0]}),
    "spikerir-derain": ("derain", {"kind": "rain"}),
    "spikerir-dehaze": ("dehaze", {"kind": "haze"}),
    "spikerir-motion": ("deblur", {"kind": "motion"}),
    "spikerir-defocus": ("deblur", {"kind": "defocus"}),
}


@pytest.fixture
def spikerir(weights):
    """The five models of SpikerIR beside the others, by what their files say."""
    save(weights / "aodnet.h5", small_snn(name="aodnet", task="dehaze", degradation={}, colour="rgb"))
    for name, (task, degradation) in SPIKERIR.items():
        model = small_snn(name=name, task=task, degradation=degradation, colour="rgb")
        save(weights / f"{name}.h5", replace(model, network=replace(model.network, name="spikerir_lite")))
    return weights


def test_models_are_chosen_by_what_their_files_say(spikerir):
    chosen = [models.default_for(task) for task in ("derain", "dehaze", "deblur", "defocus", "superres")]
    assert chosen == ["spikerir-derain", "spikerir-dehaze", "spikerir-motion", "spikerir-defocus", "vdsr"]
    (spikerir / "spikerir-dehaze.h5").unlink()
    (spikerir / "spikerir-motion.h5").rename(spikerir / "any-name.h5")
    assert models.default_for("dehaze") == "aodnet"
    assert models.default_for("deblur") == "any-name"


def test_colour_is_denoised_together_where_the_range_covers_the_noise(spikerir, monkeypatch):
    colour = [models.default_for("denoise", sigma=sigma, colour=True) for sigma in (0, 3, 16, 55, 56, 69, 90)]
    assert colour == [*["spikerir-denoise"] * 4, "dncnn-s50", "dncnn-s50", "spikerir-denoise"]
    assert models.default_for("denoise", colour=True) == "spikerir-denoise"
    gray = [models.default_for("denoise", sigma=sigma) for sigma in (3, 11, 16, 30, 45)]
    assert gray == ["spikerir-denoise", "dncnn-s15", "dncnn-s15", "dncnn-s25", "dncnn-s50"]
    assert models.default_for("denoise") == "dncnn-s25"
    monkeypatch.setitem(models.COLOURS, True, ("gray", "rgb", "y"))
    assert models.default_for("denoise", sigma=16, colour=True) == "dncnn-s15", "the preference can be turned round"


def test_a_blind_denoiser_of_colours_serves_the_files_that_it_was_trained_on(spikerir):
    noise = {"sigma": 23, "in_channel": 15.4, "colour": True}
    assert models.default_for("denoise", **noise, jpeg=True) == "dncnn-s15"
    assert models.default_for("denoise", **noise) == "spikerir-denoise"
    assert models.default_for("denoise", sigma=3) == "spikerir-denoise"
    assert models.default_for("denoise", sigma=3, jpeg=True) == "dncnn-s15"
    assert models.default_for("dehaze", colour=True, jpeg=True) == "spikerir-dehaze"
    other = small_snn(name="another", colour="rgb", degradation={"kind": "jpeg", "sigma": [0.0, 50.0], "share": 1.0})
    save(spikerir / "another.h5", other)
    assert models.default_for("denoise", **noise, jpeg=True) == "another"
    assert models.default_for("denoise", **noise) == "spikerir-denoise", "it was trained on JPEGs alone"
    half = small_snn(name="half", colour="rgb", degradation={"kind": "jpeg", "sigma": [0.0, 60.0], "share": 0.5})
    save(spikerir / "half.h5", half)
    assert models.default_for("denoise", sigma=58, colour=True) == "half"


def test_models_made_with_the_neuron_come_first(spikerir):
    """And those with the head; what no model was made with changes nothing."""
    mprn = replace(small_snn().spiking, neuron="mprn", head="cpm")
    for name in ("dncnn-s15", "dncnn-s25", "dncnn-s50", "aodnet"):
        task, degradation = MODELS[name]
        info = {"name": name, "task": task, "degradation": degradation}
        colour = "rgb" if name == "aodnet" else "gray"
        save(spikerir / f"{name}.h5", replace(small_snn(**info, colour=colour), spiking=mprn))
    colour = {"colour": True}
    assert models.default_for("denoise", sigma=20, **colour) == "spikerir-denoise"
    assert models.default_for("denoise", sigma=16, neuron="mprn", **colour) == "dncnn-s15"
    assert models.default_for("denoise", sigma=3, neuron="mprn", **colour) == "dncnn-s15"
    assert models.default_for("denoise", neuron="mprn", **colour) == "dncnn-s25"
    assert models.default_for("denoise", sigma=16, head="cpm", **colour) == "dncnn-s15"
    assert models.default_for("denoise", sigma=16, neuron="if", **colour) == "spikerir-denoise"
    assert models.default_for("denoise", sigma=16, neuron="if") == "dncnn-s15", "a grey image is no colour image"
    assert models.default_for("denoise", sigma=16, neuron="lif", **colour) == "spikerir-denoise"
    assert models.default_for("dehaze", **colour) == "spikerir-dehaze"
    assert models.default_for("dehaze", neuron="mprn", **colour) == "aodnet"
    assert models.default_for("dehaze", neuron="if", **colour) == "spikerir-dehaze"
    assert models.default_for("derain", neuron="mprn", **colour) == "spikerir-derain"


def test_plain_networks_have_an_order_of_their_own(spikerir):
    told = small_ann(name="drunet-color", colour="rgb", degradation={"sigma": [0.0, 55.0]})
    save(spikerir / "zdrunet.h5", replace(told, network=replace(told.network, name="drunet")))
    assert models.default_for("denoise", sigma=25, colour=True, plain=True) == "zdrunet"
    assert models.default_for("denoise", sigma=25, colour=True) == "spikerir-denoise"


@pytest.mark.parametrize(("task", "kind"), [("derain", "rain"), ("deblur", "motion"), ("defocus", "defocus")])
def test_a_task_without_a_model_says_what_to_train(weights, task, kind):
    with pytest.raises(ModelError, match=f'no model for the task {task} .*kind = "{kind}"'):
        models.default_for(task)


def test_without_a_model_of_motion_blur_that_of_defocus_is_named(spikerir):
    (spikerir / "spikerir-motion.h5").unlink()
    with pytest.raises(
        ModelError, match="for what is out of focus take --task defocus; else give one with --model FILE"
    ):
        models.default_for("deblur")


def test_what_models_are_for():
    defocus = small_ann(task="deblur", degradation={"kind": "defocus"}).info
    assert models.purpose(defocus) == "defocus"
    assert models.is_for(defocus, "deblur")
    assert models.is_for(defocus, "defocus")
    assert models.purpose(small_ann(task="deblur", degradation={"kind": "motion"}).info) == "deblur"
    assert not models.is_for(small_ann(task="deblur").info, "defocus")
    assert models.noise_levels(small_ann(degradation={"sigma": [55, 0.0]}).info) == [0, 55]
    assert models.noise_levels(small_ann(degradation={"sigma": "much"}).info) == []


def test_default_for_what_cannot_be(weights):
    with pytest.raises(ModelError, match="no shipped model enlarges 5 times; expected one of 2, 3, 4"):
        models.default_for("superres", scale=5)
    with pytest.raises(UsageError, match="noise level has no meaning for the task dehaze"):
        models.default_for("dehaze", sigma=25)
    with pytest.raises(UsageError, match="scale has no meaning for the task denoise"):
        models.default_for("denoise", scale=2)


def test_dehazing_has_the_structure_of_the_plain_networks_result():
    """At T = 10 it had bands and blotches, and an SSIM of 0.82 to the plain network's result."""
    from nspike import load
    from nspike.images.file import read
    from nspike.images.metrics import ssim
    from nspike.restoration.bundled import image_for
    from nspike.restoration.image import restore

    model, hazy = load("aodnet"), read(image_for("dehaze")[0]).pixels
    assert ssim(restore(model, hazy).image, restore(model, hazy, ann=True).image, 255, "uniform7") > 0.9


def test_dehazing_uses_less_energy_than_the_plain_network_and_keeps_its_quality():
    from nspike.model.file import read_info

    figures = read_info(models.find("aodnet")).info.quality["SOTS_indoor"]
    assert figures["energy_ratio paper"] < 0.81
    assert figures["psnr"] > figures["psnr_ann"]
