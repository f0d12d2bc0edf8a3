"""``ectools completion``: what a shell reads to complete a command line."""

from __future__ import annotations

import click

from ectools.cli.lazy import completion_variable

COMPLETED_SHELLS = ("bash", "zsh", "fish")
COMPLETED_PROGRAMS = ("ectools", "every-channel-ipxe-qemu")


@click.command(
    "completion",
    epilog="Example: ectools completion bash > ~/.local/share/bash-completion/completions/ectools",
)
@click.argument("shell", type=click.Choice(COMPLETED_SHELLS))
@click.option(
    "--program",
    type=click.Choice(COMPLETED_PROGRAMS),
    default=COMPLETED_PROGRAMS[0],
    show_default=True,
    help="Of which program.",
)
def completion(*, shell: str, program: str) -> None:
    """Print the script that completes commands, options and their values in bash, zsh or fish.

    bash: in ~/.local/share/bash-completion/completions/ectools, or in ~/.bashrc the line
    eval "$(ectools completion bash)". zsh: as _ectools in a directory of $fpath. fish: as
    ~/.config/fish/completions/ectools.fish. The NixOS modules and the Nix package bring all three.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - each of COMPLETED_SHELLS has one
    variable = completion_variable(program)
    # Not source(): for bash it starts a bash, to look whether it is new enough.
    script = kind(click.Command(program), {}, program, variable)
    click.echo(kind.source_template % script.source_vars(), nl=False)


COMMAND = completion
