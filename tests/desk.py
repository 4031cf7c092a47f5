"""A folder as the documents take it for granted: images, a checkpoint, and small models under the shipped ones' names."""

import shutil
from pathlib import Path

import numpy as np

from nspike.images import file as images
from nspike.model import shipped as models
from nspike.model.file import save
from tests.plugins.torch_files import Writer
from tests.tiny import image, tiny_model

MODELS = {
    "dncnn-s15": {"degradation": {"sigma": 15.0}},
    "dncnn-s25": {},
    "dncnn-s50": {"degradation": {"sigma": 50.0}, "seed": 2},
    "aodnet": {"task": "dehaze", "colour": "rgb", "mode": "image"},
    "vdsr": {"task": "superres", "colour": "y", "mode": "add"},
}


def write(path, *shape, **options):
    """An image's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, images.ImageData(image(*shape, **options)))
    return path


def checkpoint(path, width=4):
    """A small DnCNN as torch.save writes it."""
    draw, writer = np.random.default_rng(0), Writer()
    shapes = {"0": (width, 1, 3, 3), "2": (width, width, 3, 3), "4": (1, width, 3, 3)}
    tensors = {f"model.{n}.weight": draw.normal(0, 0.3, shape).astype(np.float32) for n, shape in shapes.items()}
    tensors |= {f"model.{n}.bias": draw.normal(0, 0.1, shape[0]).astype(np.float32) for n, shape in shapes.items()}
    return writer.save(path, {name: writer.tensor(array) for name, array in tensors.items()})


def lay_out(folder, monkeypatch):
    """Fill `folder`, go there, and let small models stand for the shipped ones."""
    shelf = folder / "shelf"
    shelf.mkdir(parents=True)
    for name, details in MODELS.items():
        save(shelf / f"{name}.h5", tiny_model(name=name, **details))
    monkeypatch.setattr(models, "shipped", lambda: sorted((path.stem, path) for path in shelf.glob("*.h5")))
    here = folder / "here"
    write(here / "photo.png", 40, 48)
    write(here / "noisy.png", 40, 48, seed=1)
    write(here / "clean.png", 40, 48, seed=2)
    write(here / "hazy.png", 30, 34, 3)
    write(here / "small.png", 20, 24, 3)
    for i in range(2):
        write(here / "photos" / f"p{i}.png", 64, 66, seed=i)
        write(here / "pairs" / "hazy" / f"s{i}_1.png", 30, 32, 3, seed=i)
        write(here / "pairs" / "GT" / f"s{i}.png", 30, 32, 3, seed=i + 5)
    checkpoint(here / "dncnn_25.pth")
    shutil.copy(Path(__file__).parent / "data" / "onnx" / "unet_torchscript_11.onnx", here / "net.onnx")
    monkeypatch.chdir(here)
    return here
