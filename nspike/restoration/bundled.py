"""The bundled images that `nspike run` restores when it is given none: one for each task, with its clean version."""

from pathlib import Path

from nspike import images
from nspike.contracts.architecture import Task
from nspike.errors import UsageError

_NAMES: dict[Task, tuple[str, str]] = {
    "denoise": ("chelsea_noisy25.png", "chelsea.png"),
    "dehaze": ("coffee_hazy.png", "coffee.png"),
    "superres": ("astronaut_lr.png", "astronaut.png"),
}


def image_for(task: Task) -> tuple[Path, Path]:
    """The files of a degraded image and of its clean version; for super-resolution, the clean one is twice as large.

    Raises UsageError for a task without one.
    """
    if task not in _NAMES:
        raise UsageError(f"no image for {task} comes with nspike; name one to restore")
    folder = Path(images.__file__).parent / "bundled"
    degraded, clean = _NAMES[task]
    return folder / degraded, folder / clean


def examples() -> dict[str, Path]:
    """All of them: the name under which `nspike examples` writes each -> its file."""
    (noisy, clean), (hazy, hazy_clean), (small, small_clean) = map(image_for, _NAMES)
    return {
        "clean.png": clean,
        "noisy.png": noisy,
        "hazy.png": hazy,
        "hazy_clean.png": hazy_clean,
        "small.png": small,
        "small_clean.png": small_clean,
    }
