"""A folder with a small network, images to measure and images to calibrate on."""

from dataclasses import replace

from PIL import Image

from nspike.restoration.opening import save
from tests.tiny import image, tiny_model

MODEL = tiny_model()


def lay_out(folder, count=2):
    """ann.h5, tiny.h5 (spiking), data/ of grey images, calibrate/, pairs/ without GT."""
    save(folder / "tiny.h5", MODEL)
    save(folder / "ann.h5", replace(MODEL, spiking=None))
    for name, number in (("data", count), ("calibrate", 2)):
        (folder / name).mkdir()
        for i in range(number):
            Image.fromarray(image(30, 32 + i, seed=i + 10 * len(name))).save(folder / name / f"{i}.png")
    return folder


OPTIONS = ("--calibrate", "calibrate", "--crops", 2, "--crop-size", 16, "--threads", 1)
"""What makes conversions quick."""

RECIPE = """\
data = ["calibrate"]
degradation = {kind = "noise", sigma = 25.0}
steps = 2
batch = 1
patch = 16
"""
