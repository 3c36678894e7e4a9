"""The command group. It imports a command only when that command is asked for or listed."""

import sys
from importlib import import_module
from typing import Any

import click

from pixelcodec import __version__
from pixelcodec.cli.signals import ending_cleanly

COMMANDS = (
    *("encode", "decode", "info", "verify", "compare", "map"),
    *("models", "eval", "sample", "complete", "train", "completion"),
)

# Modules that cannot have the name of their command, a builtin.
_MODULES = {"eval": "evaluate"}

# What a shell reports for a process that SIGINT ended: 128 + 2.
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose command ``name`` is the object ``name`` of the module ``pixelcodec.cli.name``.

    Command modules import what is heavy (torch, NumPy) inside their functions, so that help texts
    and usage errors come at once.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a first visit, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command, or return None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command = getattr(import_module(f"pixelcodec.cli.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; end quietly on Ctrl-C."""
        try:
            super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command line; end with the shell's own status on a signal, whenever it comes."""
        settings["standalone_mode"] = False  # where click would take Ctrl-C for a failure
        try:
            with ending_cleanly():
                status = super().main(*arguments, **settings)
        except click.ClickException as error:
            error.show()
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            status = INTERRUPTED
        sys.exit(status or 0)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="pixelcodec")
def main() -> None:
    """Lossless image compression by learned autoregressive models.

    A file may be - for standard input or output. Exit status: 0 done, 1 failed, 2 wrong usage, 130
    interrupted (129 and 143 by SIGHUP and SIGTERM).
    """
