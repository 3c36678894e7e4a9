"""What a shell is told when it asks how a word of the command line may go on.

It asks at every press of a key: nothing here imports torch.
"""

from glob import escape, glob
from pathlib import Path
from shlex import quote

import click
from click.shell_completion import CompletionItem

Items = list[CompletionItem]


def model_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Give the installed models; where none goes on so, a file is meant."""
    names = [name for name in installed_models() if name.startswith(incomplete)]
    return _plain(names) or _any_file(incomplete)


def pxc_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Give the .pxc files, where the shell can take their names as they stand.

    Names that need quotes, and folders to go on into, it can only complete itself, and then among
    all files.
    """
    found = glob(f"{escape(incomplete)}*")
    names = sorted(name for name in found if name.endswith(".pxc"))
    if any(quote(name) != name for name in names) or any(Path(name).is_dir() for name in found):
        return _any_file(incomplete)
    return _plain(names) or _any_file(incomplete)


def installed_models() -> list[str]:
    """Return the names of the models that are installed."""
    from pixelcodec.models import zoo

    return zoo.names()


def _plain(names: list[str]) -> Items:
    return [CompletionItem(name) for name in names]


def _any_file(incomplete: str) -> Items:
    return [CompletionItem(incomplete, type="file")]
