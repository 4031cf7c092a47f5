"""What a conversion's report says in words."""

import nspike
from nspike.converting.report import ConversionReport, LayerReport, first_bad
from nspike.model.model import OUTPUT
from tests.converting.test_by_name import ann_model, images


def report(fitted_to="none", **errors):
    layers = tuple(LayerReport(name, 0.3, 0.3, 0.9, error, 0.0, 0.1, 0.1, 0.3) for name, error in errors.items())
    return ConversionReport(layers, first_bad(layers), crops=4, output_fitted_to=fitted_to)


def test_a_bad_output_is_said():
    """It is no layer of neurons, and after a fit to clean images it need not follow the ANN; but it is not passed over."""
    text = report(relu1=0.1, **{OUTPUT: 0.6}).to_text()
    assert "no layer of neurons is bad" in text
    assert "the output is not the ANN's: relative error 0.600, from the layers before it or the head" in text
    fitted = report("targets", relu1=0.1, **{OUTPUT: 0.6}).to_text()
    assert "relative error 0.600; fitted to clean images, it need not be" in fitted


def test_the_report_knows_what_the_output_was_fitted_to():
    options = {"timesteps": 4, "targets": images()}
    assert nspike.convert(ann_model(), images(), **options)[1].output_fitted_to == "targets"
    assert nspike.convert(ann_model(), images(), fast=True, **options)[1].output_fitted_to == "none"


def test_a_good_output_is_not():
    text = report(relu1=0.7, relu2=0.8, **{OUTPUT: 0.4}).to_text()
    assert "first bad layer (relative error from 0.5 on): relu1" in text
    assert "the output is not" not in text
