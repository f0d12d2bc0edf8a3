"""``ectools service``: the services as systemd units on a system without NixOS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ectools.cli.lazy import CommandGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import PurePosixPath

    from ectools.service.settings import ServiceName, ServiceSettings

_T = TypeVar("_T")

_NAMES = ("netboot", "ipxe-qemu")
_CONTEXT = {"help_option_names": ["-h", "--help"]}


def _service_argument(command: Callable[..., _T]) -> Callable[..., _T]:
    return click.argument("name", type=click.Choice(_NAMES))(command)


def _config_option(command: Callable[..., _T]) -> Callable[..., _T]:
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The settings, alone or in a host description.  [default: /etc/every-channel/NAME.json]",
    )(command)


def _root_option(command: Callable[..., _T]) -> Callable[..., _T]:
    return click.option(
        "--root",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        default=Path("/"),
        metavar="DIR",
        help="The tree of a system that does not run, in place of this one.",
    )(command)


@click.group(
    cls=CommandGroup,
    context_settings=_CONTEXT,
    epilog="Example: ectools service install netboot --config host.toml",
)
def service() -> None:
    """Install services as systemd units, where there is no NixOS to do so."""


@service.command(epilog="Example: ectools service show netboot --config examples/boot-host.toml -o units")
@_service_argument
@_config_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write each file to this directory, by its name.",
)
def show(*, name: str, config: Path | None, output: Path | None) -> None:
    """Print the files that install would write: units, users, directories, settings.

    With -o each is a file of its own, as `systemd-analyze verify DIR/*.service` reads them.
    """
    from ectools.files import write_all_atomic
    from ectools.service.files import build_files
    from ectools.service.programs import find_programs

    settings = _load(name, config)
    files = build_files(settings, find_programs())
    texts = {**files.texts, **dict([files.settings])}
    if output is None:
        for path, text in texts.items():
            click.echo(f"# {path}\n{text}")
        return
    output.mkdir(parents=True, exist_ok=True)
    # By the kind too: users and directories have one name.
    named = {
        each: each.name
        if each.parent.name in ("system", "every-channel")
        else f"{each.parent.name}-{each.name}"
        for each in texts
    }
    write_all_atomic({output / named[each]: content.encode() for each, content in texts.items()})
    click.echo("".join(f"{output / named[each]}\n" for each in texts), nl=False)


@service.command(epilog="Example: ectools service install netboot --config boot-host.toml")
@_service_argument
@_config_option
@_root_option
def install(*, name: str, config: Path | None, root: Path) -> None:
    """Install a service: settings, units, users and directories; enable it, and start it.

    Again after a change of the settings: it does what has changed. Files that somebody else has written, or
    changed, are refused; drop-ins (systemctl edit) stay. Root alone can do it.
    """
    from ectools.errors import InputError
    from ectools.service.files import build_files, settings_path
    from ectools.service.install import ServiceError, check_system, is_in_place, owns_settings
    from ectools.service.install import install as install_service
    from ectools.service.programs import find_hidden, find_programs

    check_system(root)
    settings = _load(name, config)
    programs = find_programs(root)
    hidden = find_hidden(programs)
    if hidden and root == Path("/"):
        raise InputError(
            f"{hidden[0]}: a unit does not see this installation",
            hint="install the package for the whole system: the Debian package, or pipx install --global",
        )
    place = config or Path(settings_path(settings.name))
    if is_in_place(place, settings.name, root=root):
        owned = owns_settings(settings.name, root=root)
        settings = replace(settings, text=settings.raw.decode())
    else:
        owned = True
    files = build_files(settings, programs, owns_settings=owned)
    outcome = install_service(files, settings.name, root=root)
    _say("written", outcome.written)
    _say("as it was", outcome.unchanged)
    _say("removed", outcome.removed)
    _say_ports(settings)
    if outcome.failed:
        raise ServiceError(
            f"installed, but not started: {', '.join(outcome.failed)}",
            hint=f"journalctl --unit {outcome.failed[0]} says why; install again once that is mended",
        )


@service.command(epilog="Example: ectools service remove netboot")
@_service_argument
@_root_option
def remove(*, name: str, root: Path) -> None:
    """Stop a service, disable it, and remove what install has written, except its state and its users."""
    from ectools.service.install import remove as remove_service
    from ectools.service.settings import ServiceName

    outcome = remove_service(ServiceName(name), root=root)
    _say("removed", outcome.removed)
    _say("left, because it is not as it was written", outcome.left)
    if not outcome.removed:
        click.echo(f"{name} is not installed", err=True)


def _load(name: str, config: Path | None) -> ServiceSettings:
    from ectools.service.files import settings_path
    from ectools.service.settings import ServiceName, load_service_settings

    service_name: ServiceName = ServiceName(name)
    return load_service_settings(service_name, config or Path(settings_path(service_name)))


def _say(what: str, paths: Iterable[PurePosixPath]) -> None:
    for path in paths:
        click.echo(f"{path} ({what})")


def _say_ports(settings: ServiceSettings) -> None:
    from ectools.netboot.server.host import list_ports
    from ectools.netboot.settings.model import ServerSettings

    if isinstance(settings.settings, ServerSettings):
        ports = ", ".join(f"{protocol} {port}" for protocol, port in list_ports(settings.settings))
        click.echo(f"a firewall on this host has to let in: {ports}", err=True)


COMMAND = service
