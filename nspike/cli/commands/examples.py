"""`nspike examples`."""

from pathlib import Path

import click

from nspike.cli.guard import check_free, check_report, take_folder
from nspike.cli.options import json_option, overwrite_option
from nspike.cli.output import emit
from nspike.cli.text import one_line


@click.command()
@click.argument("folder", metavar="DIR")
@overwrite_option
@json_option
def command(folder: str, overwrite: bool, json_file: str | None) -> None:
    """Write the images that come with nspike into a folder, which is made if it is not there.

    noisy.png, hazy.png and small.png are to be restored, by each task's model; clean.png, hazy_clean.png and
    small_clean.png are what they were made of, for --reference.

    \b
    Example:
      nspike examples images
      nspike run images/noisy.png --sigma 25 --reference images/clean.png
    """
    from nspike.files.atomic import write_bytes
    from nspike.restoration.batch import make_folder
    from nspike.restoration.bundled import examples

    check_report("--json", json_file, made=[folder])
    targets = {Path(folder) / name: source for name, source in examples().items()}
    for target in targets:
        check_free(target, overwrite)
    take_folder(folder)
    make_folder(Path(folder))
    for target, source in targets.items():
        write_bytes(target, source.read_bytes())
    emit("\n".join(map(one_line, targets)), {"folder": folder, "files": [target.name for target in targets]}, json_file)
