"""``pixelcodec completion``: the script that has a shell complete the command line."""

import click
from click.shell_completion import get_completion_class

from pixelcodec.cli.common import examples


@click.command(
    epilog=examples(
        "pixelcodec completion bash > pixelcodec.bash",
        "pixelcodec completion zsh > _pixelcodec",
        "pixelcodec completion fish > pixelcodec.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands.

    For bash, put `eval "$(pixelcodec completion bash)"` into ~/.bashrc; for zsh, the same with zsh
    into ~/.zshrc; for fish, save the script as ~/.config/fish/completions/pixelcodec.fish.
    """
    script = get_completion_class(shell)
    assert script is not None
    program = ctx.find_root().command
    click.echo(script(program, {}, "pixelcodec", "_PIXELCODEC_COMPLETE").source())
