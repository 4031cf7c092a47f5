"""What a network can be for. This is the one list of tasks; it imports nothing, so that the command line can show it at once."""

from typing import Literal, get_args

Task = Literal["denoise", "dehaze", "superres", "derain", "deblur"]
TASKS: tuple[Task, ...] = get_args(Task)
