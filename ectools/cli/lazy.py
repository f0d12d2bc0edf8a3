"""Groups of commands: each says what was probably meant, and one loads a command when it is named."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ectools.suggest import find_similar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST = 3
_SENTENCE = 200


class CommandGroup(click.Group):
    """A click group that lists its commands in the order in which they are used, and knows mistyped ones.

    A command of another group is found too: ``ectools stage`` is told of ``ectools netboot stage``.
    """

    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        return [*self.commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with the whole first sentence of its help, which click cuts off at the end of the line."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        shown = [
            (name, each.get_short_help_str(limit=_SENTENCE))
            for name, each in found
            if each and not each.hidden
        ]
        if shown:
            with formatter.section("Commands"):
                formatter.write_dl(shown)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises click.UsageError, with what is nearly the command's name."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            begun = [each for each in known if each.startswith(name)]
            similar = begun[:_MOST] or self._find_below(ctx, name) or find_similar(name, known, most=_MOST)
            meant = f" Did you mean {' or '.join(map(repr, similar))}?" if similar else ""
            raise click.UsageError(f"No such command {name!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def _find_below(self, ctx: click.Context, name: str) -> list[str]:
        """The commands of that very name in the groups of this one, as they are typed."""
        return [f"{path} {name}" for path, group in self._walk(ctx) if group.get_command(ctx, name)][:_MOST]

    def _walk(self, ctx: click.Context, path: str = "") -> Iterator[tuple[str, click.Group]]:
        for each in self.list_commands(ctx):
            try:
                command = self.get_command(ctx, each)
            except ImportError:
                continue  # an installation that lacks something says so when that command is named
            if isinstance(command, CommandGroup):
                inner = f"{path} {each}".strip()
                yield inner, command
                yield from command._walk(ctx, inner)


class LazyGroup(CommandGroup):
    """A group whose commands live in modules of their own, each as ``COMMAND``.

    ``modules``: command → (module, one line of help), in the order in which they are used. A command's module
    is imported only when that command runs: ``--help`` and completion must not wait for what it needs.
    """

    def __init__(self, *args: Any, modules: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._modules, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(self._modules[cmd_name][0]).COMMAND
        assert isinstance(command, click.Command)  # noqa: S101 - each module's COMMAND is one
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click gives it
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in self._modules.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names without their modules, then options."""
        named = [(name, line) for name, (_, line) in self._modules.items() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=line) for name, line in named), *options]


def completion_variable(program: str) -> str:
    """The variable of the environment by which click is asked to complete."""
    return f"_{program.upper().replace('-', '_')}_COMPLETE"
