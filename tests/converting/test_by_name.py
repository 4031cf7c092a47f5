import json
from dataclasses import replace

import numpy as np
import pytest
from nspike_plugins import aodnet, cpm, dncnn, if_, membrane, mprn, rueckauer

from nspike.contracts.converter import Converter, Scales
from nspike.converting.conversion import CROP, convert
from nspike.errors import BadInputError, PluginError, UsageError
from nspike.model.file import digest
from nspike.model.model import OUTPUT, Info, Model
from tests.own_neurons import LEAKY
from tests.plugins.chains import aod, chain


def ann_model(plugin=dncnn, tensors=None):
    network, parameters = plugin.read(tensors if tensors is not None else chain(4, 8, norm="torch"))
    return Model(Info("test", "denoise", "gray", provenance={"recipe": "random"}), network, parameters)


def images(count=3, channels=1, side=30):
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 0.05, (count, channels, side, side + 4))
    return list((0.5 + np.cumsum(steps, axis=3)).astype(np.float32))


def run(model, planes, neuron=if_.NEURON, head=membrane.HEAD, **options):
    return convert(model, planes, converter=rueckauer.CONVERTER, neuron=neuron, head=head, **options)


def test_a_converted_model_and_its_report():
    seen = []
    model, report = run(
        ann_model(), images(), options={"percentile": 99}, progress=lambda done, total: seen.append((done, total))
    )
    assert all(conv.batch_norm_eps is None for conv in model.network.convs)
    assert set(model.spiking.scales) == {"relu1", "relu2", "relu3", OUTPUT}
    assert model.spiking.neuron_parameters["if"]["relu2"] == {"v_init": 0.0}
    assert model.info.provenance["recipe"] == "random"
    assert model.info.provenance["converter_options"]["percentile"] == 99
    assert model.info.quality["psnr_to_ann"] == report.psnr_to_ann
    assert [layer.name for layer in report.layers] == ["relu1", "relu2", "relu3", OUTPUT]
    assert report.layers[0].clipped == pytest.approx(0.01 * 0.5, abs=0.01)
    assert 0 < report.layers[0].rate < 1
    assert report.crops == 3
    assert "only 3 images" in report.note
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["name"] == "relu1"
    assert "relu3" in report.to_text()
    assert "against the ANN" in report.to_text()
    assert seen[-1] == (12, 12)


def test_without_a_report_the_model_is_the_same():
    told, _ = run(ann_model(), images())
    model, report = run(ann_model(), images(), report=False)
    assert digest(replace(model, info=told.info)) == digest(told)
    assert not report.layers
    assert "not measured" in report.to_text()
    assert "psnr_to_ann" not in model.info.quality


def test_more_steps_come_nearer_to_the_ann():
    model = ann_model()
    few, many = (run(model, images(), timesteps=t, options={"percentile": 100})[1] for t in (4, 64))
    assert many.psnr_to_ann > few.psnr_to_ann + 10
    assert few.first_bad is not None
    assert many.first_bad is None
    assert many.layers[-1].correlation > 0.99


def test_release_leaves_smaller_residuals():
    model = ann_model()
    plain, release = (run(model, images(), neuron=n)[1].layers[0] for n in (if_.NEURON, mprn.NEURON))
    assert release.residual_half < plain.residual_half
    assert release.error < plain.error


def test_twelve_crops_and_targets():
    planes = images(14, side=CROP + 6)
    targets = [plane - 0.01 for plane in planes]
    model = ann_model(tensors=chain(2, 3))
    _, report = run(model, planes, targets=targets, timesteps=5)
    assert report.crops == 12
    assert report.note == ""
    assert report.rounding_against == "target"
    assert abs(report.rounding) < max(0.05, 4 * report.rounding_error)


def test_aodnet_with_cpm():
    model, report = run(ann_model(aodnet, aod()), images(channels=3), neuron=mprn.NEURON, head=cpm.CPM, timesteps=20)
    assert model.spiking.scales[OUTPUT].tolist() == [1, 1, 1]
    assert model.spiking.head_parameters["cpm"]["weight"].shape == (3, 3, 3, 3)
    assert report.psnr_to_ann > 20


def test_parameters_of_the_neuron_go_before_the_converters():
    model, _ = run(ann_model(), images(), options={"v_init": 0.5}, neuron=mprn.NEURON, neuron_parameters={"beta": 1})
    assert model.spiking.neuron_parameters["mprn"]["relu1"] == {"beta": 1.0, "v_init": 0.5}
    model, _ = run(ann_model(), images(), options={"v_init": 0.5}, neuron_parameters={"v_init": 0.1})
    assert model.spiking.neuron_parameters["if"]["relu1"] == {"v_init": 0.1}


def test_a_neuron_with_its_own_kernel_has_a_report_of_the_engines_run():
    model, report = run(ann_model(), images(1), neuron=LEAKY.fast)
    assert model.spiking.neuron == "leaky"
    assert "leaky" in report.note
    assert [layer.name for layer in report.layers] == [*model.spiking.scales]
    assert all(np.isnan(layer.residual_half) and 0 <= layer.correlation <= 1 for layer in report.layers)
    assert report.rounding is None
    assert report.psnr_to_ann > 0
    assert "PSNR of the SNN against the ANN" in report.to_text()


def test_the_same_twice():
    one, two = (run(ann_model(), images()) for _ in range(2))
    assert one[1] == two[1]
    np.testing.assert_array_equal(one[0].spiking.scales["relu2"], two[0].spiking.scales["relu2"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"timesteps": 0}, UsageError, "T = 0"),
        ({"timesteps": 127}, UsageError, "T = 127"),
        ({"options": {"percentile": 10}}, UsageError, "percentile"),
        ({"neuron_parameters": {"gamma": 1}}, UsageError, "gamma"),
        ({"planes": []}, BadInputError, "at least one"),
        ({"planes": images(channels=3)}, BadInputError, r"\(1, H, W\)"),
        ({"planes": [np.full((1, 8, 8), np.nan, np.float32)]}, BadInputError, "NaN"),
        ({"targets": images(2)}, BadInputError, "shapes"),
    ],
)
def test_what_cannot_be_converted(change, error, message):
    planes = change.pop("planes", images())
    with pytest.raises(error, match=message):
        run(ann_model(), planes, **change)


def test_a_converter_that_breaks_its_contract():
    broken = Converter("broken", "", "", (), lambda calibration, options: Scales({"relu1": np.ones(3)}, {}))
    with pytest.raises(PluginError, match="broken: scales of 'relu1' must be 8 positive"):
        convert(ann_model(), images(), converter=broken, neuron=if_.NEURON, head=membrane.HEAD)


def test_what_is_known_of_a_spiking_form_goes_with_it():
    """A converted model that is converted again, and one that is compared with another plain network."""
    first, _ = run(ann_model(), images(), report=False)
    tuned = first.with_provenance(fine_tuning={"steps": 3}, calibration={"crops": 4})
    again, _ = run(tuned, images(), options={"percentile": 99}, report=False)
    assert again.info.provenance == {"recipe": "random", "converter": "rueckauer", **options_of(again)}
    compared = tuned.with_provenance(baseline={"name": "stronger", "training": {"steps": 9}})
    other, _ = run(compared, images(), report=False)
    assert other.info.provenance == {"training": {"steps": 9}, "converter": "rueckauer", **options_of(other)}


def options_of(model):
    return {"converter_options": model.info.provenance["converter_options"]}
