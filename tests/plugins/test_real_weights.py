"""The published and our own exports, where they are at hand beside the checkout."""

from pathlib import Path

import numpy as np
import pytest
from nspike_plugins import aodnet, dncnn, drunet, pytorch, vdsr

from nspike.ann import run as ann
from nspike.contracts.architecture import recognise
from nspike.contracts.format import read_checkpoint
from nspike.graph.mode import restored

WEIGHTS = Path(__file__).parents[2].parent / "shared" / "weights"
ALL = [dncnn.ARCHITECTURE, vdsr.ARCHITECTURE, aodnet.ARCHITECTURE, drunet.ARCHITECTURE]


@pytest.mark.parametrize(
    ("file", "name", "count", "eps"),
    [
        ("own/dncnn_gray_s25.pth", "dncnn", 558_017, 1e-5),
        ("own/aodnet.pth", "aodnet", 1_761, None),
        ("own/vdsr_y.pth", "vdsr", 665_921, None),
        ("own/drunet_color.pth", "drunet", 4_253_664, None),
        ("third_party/kair_dncnn_25.pth", "dncnn", 555_137, None),
        ("third_party/mayanksingal_dehazer.pth", "aodnet", 1_761, None),
        ("third_party/twtygqyy_model_epoch_50.pth", "vdsr", 664_704, None),
    ],
)
def test_an_export_is_recognised_and_runs(file, name, count, eps):
    path = WEIGHTS / file
    if not path.exists():
        pytest.skip(f"{file} is not at hand")
    formats = []
    pytorch.register_formats(formats.append)
    tensors = read_checkpoint(path, formats).tensors
    architecture = recognise(tensors, ALL)
    assert architecture.name == name
    network, parameters = architecture.read(tensors)
    assert sum(array.size for array in parameters.values()) == count
    assert network.convs[1].batch_norm_eps == eps
    plane = np.full((1, network.channels, 16, 16), 0.5, np.float32)
    image = restored(network.mode, plane, ann.run(network, parameters, plane))
    assert np.abs(image - plane).mean() < 0.4
