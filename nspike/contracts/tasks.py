"""What a network can be for. This is the one list of tasks; it imports nothing, so that the command line can show it at once."""

from typing import Literal, get_args

Task = Literal["denoise", "dehaze", "superres", "derain", "deblur", "defocus"]
TASKS: tuple[Task, ...] = get_args(Task)

KIND_OF: dict[Task, str] = {
    "denoise": "noise",
    "dehaze": "haze",
    "superres": "bicubic",
    "derain": "rain",
    "deblur": "motion",
    "defocus": "defocus",
}
"""The kind of degradation that a task usually undoes; "deblur" is motion blur."""
