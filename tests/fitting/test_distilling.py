"""Distillation: shapes are matched, the teacher's features are its plain network's, errors are known before the first step."""

from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.ann import run as ann
from nspike.autograd.spatial import adaptive_average, bilinear, interpolate, mapped
from nspike.autograd.tensor import Tensor
from nspike.errors import UsageError
from nspike.fitting.direct import DirectOptions, DirectTraining
from nspike.fitting.distilling import Distillation, TeacherKeys
from nspike.graph.initialise import initial_parameters
from nspike.images.file import ImageData, write
from nspike.trainable.features import check_tap
from tests.fitting.test_direct import batches, started
from tests.fitting.test_finetuning import same
from tests.tiny import image, tiny_model
from tests.trainable.networks import model_of, unet

TAPS = {"dec": "e", "latent": "d", "enc_lif2": "in"}


def teacher(seed=4):
    """Untrained, its features of about the size of the image's."""
    network = unet(3, 12)
    return replace(model_of(network), parameters=initial_parameters(network, seed))


def distillation(match="pool", taps=None, student=None, **more):
    student = student or started().model
    return Distillation(more.pop("teacher", teacher()), student, taps or TAPS, match=match, seed=0, patch=16)


def training(distillation, state=None, pixel=None, **options):
    options = {"steps": 8, "rate": 3e-3, "pixel": pixel or {"hkd": {"gamma": 0.5}}, **options}
    return DirectTraining(
        started(), DirectOptions(**options), batches, threshold=1.0, state=state, distillation=distillation
    )


# ----- matching -----


def test_maps_along_an_axis():
    x = np.random.default_rng(0).random((2, 6, 4, 8))
    pooled = mapped(mapped(Tensor(x), matrix=adaptive_average(8, 4), axis=3), matrix=adaptive_average(4, 2), axis=2)
    np.testing.assert_allclose(pooled.data, x.reshape(2, 6, 2, 2, 4, 2).mean(axis=(3, 5)), rtol=1e-12)
    large = mapped(mapped(Tensor(x), matrix=bilinear(8, 24), axis=3), matrix=bilinear(4, 12), axis=2)
    np.testing.assert_allclose(large.data, interpolate(Tensor(x), factor=3).data, rtol=1e-12)
    np.testing.assert_allclose(
        adaptive_average(5, 3), [[0.5, 0.5, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 0.5, 0.5]]
    )
    for matrix in (adaptive_average(6, 4), bilinear(6, 9)):
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
        nspike.check_gradients(lambda y, m=matrix: mapped(y, matrix=m, axis=1), x)


@pytest.mark.parametrize("match", ["pool", "adapter"])
@pytest.mark.parametrize(
    ("student", "aim", "pooled"),
    [
        ((2, 48, 8, 8), (2, 96, 8, 8), (2, 48, 8, 8)),
        ((2, 96, 8, 8), (2, 48, 4, 8), (2, 48, 4, 8)),
        ((2, 5, 4, 6), (2, 5, 8, 9), (2, 5, 8, 9)),
    ],
)
def test_shapes_are_matched(match, student, aim, pooled):
    known = distillation(match)
    draw = np.random.default_rng(1)
    if match == "adapter":
        known._adapters["dec"] = Tensor(draw.normal(size=(aim[1], student[1], 1, 1)), requires_grad=True)
    own, other = known._matched("dec", Tensor(draw.random(student)), draw.random(aim))
    assert own.shape == other.shape == (pooled if match == "pool" else aim)
    assert not other.requires_grad
    if match == "pool" and student[1:] == (48, 8, 8):
        reference = other.data
        np.testing.assert_allclose(reference.mean(), reference.mean(axis=1).mean(), rtol=1e-12)


def test_gradients_of_matching():
    """By differences: through pooling, interpolation and the adapter, which has one too."""
    draw = np.random.default_rng(2)
    aim = draw.random((2, 6, 8, 3))

    both = distillation("pool"), distillation("adapter")

    def loss(feature, kernel=None):
        known = both[kernel is not None]
        if kernel is not None:
            known._adapters["dec"] = kernel
        own, other = known._matched("dec", feature, aim)
        return (own - other).square().mean()

    nspike.check_gradients(loss, draw.random((2, 4, 4, 6)), entries=20)
    nspike.check_gradients(loss, draw.random((2, 4, 4, 6)), draw.random((6, 4, 1, 1)), entries=20)


def test_the_teachers_features_are_those_of_its_plain_network():
    known, (degraded, clean) = distillation(), batches(0)
    found, model = known.features(degraded, clean), teacher()
    capture = {"e": None, "d": None, "in": None}
    ann.run(model.network, model.parameters, degraded, capture=capture)
    for name, own in TAPS.items():
        np.testing.assert_array_equal(found[name], capture[own])


def test_a_teacher_is_told_the_noise_of_every_crop():
    """The shipped denoiser, crops of σ = 10 and σ = 40."""
    model = nspike.load("drunet-color")
    draw = np.random.default_rng(3)
    clean = np.repeat(draw.uniform(0.3, 0.7, (2, 1, 1, 1)), 3, axis=1) * np.ones((2, 3, 16, 16))
    clean = clean.astype(np.float32)
    noise = np.sign(draw.normal(size=clean.shape)) * np.array([10, 40]).reshape(2, 1, 1, 1) / 255
    degraded = (clean + noise).astype(np.float32)
    layer = next(
        name for name in (f"up1_block{i}" for i in (4, 3, 2, 1)) if name in {x.name for x in model.network.layers}
    )
    known = Distillation(model, started().model, {"dec": layer}, match="pool", seed=0, patch=16)
    found = known.features(degraded, clean)["dec"]
    for n, sigma in enumerate((10, 40)):
        network = model.network.at_noise(sigma)
        capture = {layer: None}
        output = ann.run(network, model.parameters, degraded[n : n + 1], capture=capture)
        np.testing.assert_allclose(found[n], capture[layer][0], atol=2e-4)
        assert np.abs(output - clean[n]).mean() < np.abs(degraded[n] - clean[n]).mean()


# ----- runs -----


@pytest.mark.parametrize("match", ["pool", "adapter"])
def test_it_learns_and_adapters_are_not_shipped(match):
    run = training(distillation(match))
    run.batches = lambda number: batches(0)
    run.run()
    assert run.history[-1].loss < run.history[0].loss
    adapters = {name for name in run.parameters if name.startswith("teacher.")}
    assert adapters == ({f"teacher.{name}.weight" for name in TAPS} if match == "adapter" else set())
    assert not any("teacher" in name for name in run.model.parameters)
    seen = run.forward(0)
    assert set(seen.features) == set(seen.teacher) == set(TAPS)
    assert all(seen.features[name].shape == seen.teacher[name].shape for name in TAPS)


def test_features_come_nearer_to_the_teachers():
    """With a large γ their distance falls by more than without."""
    last = []
    for gamma in (0.0, 20.0):
        run = training(distillation(), pixel={"hkd": {"gamma": gamma, "w": 0.0}}, steps=8, rate=1e-2, settle=0.0)
        run.run()
        seen = run.forward(0)
        last.append(sum((seen.features[k] - seen.teacher[k]).square().mean().item() for k in TAPS))
    assert last[1] < 0.9 * last[0]


def test_an_interrupted_run_goes_on_with_its_adapters(tmp_path):
    whole = training(distillation("adapter"), steps=5)
    before = whole.parameters["teacher.dec.weight"].data
    whole.run()
    assert not np.array_equal(whole.parameters["teacher.dec.weight"].data, before)
    first = training(distillation("adapter"), tmp_path / "a.state.npz", steps=5)
    for _ in range(2):
        first.step()
    first.save()
    rest = training(distillation("adapter"), tmp_path / "a.state.npz", steps=5)
    assert rest.done == 2
    rest.run()
    same(whole, rest)
    with pytest.raises(UsageError, match=r"another recipe \(teacher\)"):
        training(distillation("adapter", teacher=teacher(5)), tmp_path / "a.state.npz", steps=5)


def test_recipes_with_a_teacher(tmp_path):
    """A spiking network that is fine-tuned and a plain one, too; what is kept of the recipe; the file holds no teacher."""
    for i in range(2):
        write(tmp_path / f"{i}.png", ImageData(image(32, 40, seed=i)))
    nspike.save(tmp_path / "teacher.h5", model_of(unet(1, 8), seed=3))
    names = [layer.name for layer in tiny_model().network.layers]
    table = {"model": "teacher.h5", "taps": {"relu1": "a"}, "match": "adapter"}
    keys = f'model = "tiny.h5"\ndata = ["{tmp_path}"]\nsteps = 2\nbatch = 2\npatch = 16\npixel = "hkd"\n'
    keys += '[teacher]\nmodel = "teacher.h5"\ntaps = { relu1 = "a" }\nmatch = "adapter"\n'
    nspike.save(tmp_path / "tiny.h5", tiny_model(timesteps=2))
    (tmp_path / "recipe.toml").write_text(keys)
    assert "relu1" in names
    tuned = nspike.finetune(tmp_path / "recipe.toml", tmp_path / "out.h5")
    assert tuned.model.info.provenance["fine_tuning"]["teacher"] == table
    plain = nspike.train({"model": tiny_model(), "data": tmp_path, "steps": 2, "batch": 2, "patch": 16, "pixel": "hkd",
                          "teacher": {**table, "model": model_of(unet(1, 8), seed=3)}})  # fmt: skip
    assert plain.model.info.provenance["training"]["teacher"] == {**table, "model": "unet"}
    assert (tmp_path / "out.h5").stat().st_size < (tmp_path / "tiny.h5").stat().st_size + 20_000


# ----- errors -----


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"taps": {"decc": "e"}}, "network shortcuts has no layer 'decc' to tap.*dec"),
        ({"taps": {"dec": "ee"}}, "the teacher unet has no layer 'ee' to tap"),
        ({"taps": {"out": "e"}}, "is the output or like the image"),
        ({"taps": {"dec_dw": "e"}}, "inside the neurons 'dec_lif2' alone; tap 'dec_lif2'"),
        ({"teacher": model_of(unet(1, 8))}, "takes images of 1 channels and the network that learns 3; give a teacher"),
        ({"teacher": replace(started().model, info=nspike.Info("s", "denoise", "rgb", trained="spiking"))},
         "the teacher s was trained as a spiking network and has no plain one"),
    ],
    ids=["student layer", "teacher layer", "output", "inside", "channels", "spiking"],
)  # fmt: skip
def test_teachers_that_are_refused(changed, said):
    with pytest.raises(UsageError, match=said):
        distillation(**changed)


def test_crops_that_the_teacher_cannot_take():
    with pytest.raises(UsageError, match="sides that are multiples of 2, and crops have 17; change patch"):
        Distillation(teacher(), started().model, TAPS, match="pool", seed=0, patch=17)


def test_a_teacher_that_no_loss_looks_at():
    with pytest.raises(UsageError, match="has a teacher, but no loss that compares with it"):
        training(distillation(), pixel="l1_fft")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"taps": {"a": "b"}}, "has no model"),
        ({"model": "drunet-color"}, "has no taps"),
        ({"model": "drunet-color", "taps": {"a": 1}}, "has no taps"),
        ({"model": "drunet-color", "taps": {"a": "b"}, "macth": "pool"}, "unknown key 'macth'.*match"),
        ({"model": "drunet-color", "taps": {"a": "b"}, "match": "pol"}, "match = 'pol'; expected pool or adapter"),
    ],
)
def test_tables_that_are_refused(table, said):
    with pytest.raises(UsageError, match=said):
        TeacherKeys.of(table)


def test_taps_of_the_student_that_there_are():
    for name in TAPS:
        check_tap(started().model.network, name)
