"""``ectools vm``, and ``every-channel-ipxe-qemu``: run a persistent QEMU guest that boots over iPXE."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ectools.cli.lazy import CommandGroup
from ectools.cli.log_format import use_log_format
from ectools.cli.main import run_command
from ectools.errors import InputError
from ectools.vm.settings import GUEST_CONFIG, GUEST_OPTIONS, KvmPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_CONTEXT = {"help_option_names": ["-h", "--help"]}


def _config_option(command: Callable[..., _T]) -> Callable[..., _T]:
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=GUEST_CONFIG,
        show_default=True,
        metavar="FILE",
        help=f"The settings of {GUEST_OPTIONS}: alone, or in a host description.",
    )(command)


def _require_filter_option(command: Callable[..., _T]) -> Callable[..., _T]:
    return click.option(
        "--require-loopback-filter",
        "require_filter",
        is_flag=True,
        help="Fail where the guest can reach all of this host's loopback, in place of a warning.",
    )(command)


@click.group(
    cls=CommandGroup,
    context_settings=_CONTEXT,
    epilog="Example: ectools vm run --config examples/ipxe-qemu.json",
)
def vm() -> None:
    """Run a persistent QEMU guest that boots over iPXE."""


@vm.command(epilog="Example: ectools vm run --config examples/ipxe-qemu.json")
@_config_option
@_require_filter_option
def run(*, config: Path, require_filter: bool) -> int:
    """Run the guest until it powers itself off, or SIGTERM or SIGINT ends it."""
    return _run(config, require_filter=require_filter)


@vm.command(epilog="Example: ectools vm argv --config examples/ipxe-qemu.json --accel tcg --json")
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, in place of a line for a shell.")
@click.option(
    "--accel",
    type=click.Choice(["kvm", "tcg"]),
    help="The accelerator, in place of the one that a start tries first.",
)
def argv(*, config: Path, as_json: bool, accel: str | None) -> None:
    """Print QEMU's argument list. Nothing is started, made or looked at.

    The descriptors that a run hands to QEMU stand in it as 3 (QMP) and 4 (macvtap).
    """
    from ectools.vm.argv import Accelerator, Tap, build_qemu_argv, first_accelerator
    from ectools.vm.load import load_guest_settings

    settings = load_guest_settings(config)
    accelerator = first_accelerator(settings) if accel is None else Accelerator(accel)
    if accelerator is Accelerator.KVM and settings.kvm is KvmPolicy.NEVER:
        raise InputError(f"--accel kvm: {GUEST_OPTIONS}.enableKvm is false", hint="set it to true")
    tap = None if settings.lan is None else Tap(fd=4, mac=settings.lan.macvtap.mac_address)
    arguments = build_qemu_argv(settings, accelerator=accelerator, qmp_fd=3, tap=tap)
    click.echo(json.dumps(arguments) if as_json else shlex.join(arguments))


@vm.command("boot-script", epilog="Example: ectools vm boot-script --config examples/ipxe-qemu.json")
@_config_option
def boot_script(*, config: Path) -> None:
    """Print the iPXE script that the guest's boot file runs, with a placeholder where a token would stand."""
    _print_boot_script(config)


@vm.command(
    "loopback-filter",
    epilog="Example: sudo ectools vm loopback-filter --config examples/ipxe-qemu.json --user guest",
)
@_config_option
@click.option("--user", required=True, metavar="USER", help="The user, not root, that QEMU will run as.")
@click.option("--print", "only_print", is_flag=True, help="Print the nftables rules, load nothing.")
def loopback_filter(*, config: Path, user: str, only_print: bool) -> None:
    """Keep a user away from this host's loopback, except for what the guest needs, until SIGTERM or SIGINT.

    The nftables rules are for all of the user's programs, and go when this one ends. It needs root, or
    CAP_NET_ADMIN.
    """
    from ectools.vm.load import load_guest_settings
    from ectools.vm.loopback_filter import build_filter, hold_filter

    uid = _find_uid(user)
    rules = build_filter(load_guest_settings(config), uid=uid)
    if only_print:
        click.echo(rules, nl=False)
    else:
        use_log_format("auto")
        hold_filter(rules, uid=uid)


@vm.command(
    "lan-link",
    epilog="Example: sudo ectools vm lan-link --config examples/ipxe-qemu.json --user guest",
)
@_config_option
@click.option("--user", metavar="USER", help="The user, not root, that QEMU will run as.")
@click.option("--remove", is_flag=True, help="Remove the link that was made.")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Note in FILE which link was made; --remove removes that one, whatever the settings say by then.",
)
def lan_link(*, config: Path, user: str | None, remove: bool, record: Path | None) -> None:
    """Make the macvtap link of the guest's LAN NIC for a user who may not make it, and leave it there.

    The guest is started afterwards, by that user. It needs root, or CAP_NET_ADMIN and CAP_CHOWN.
    """
    if remove == (user is not None):
        raise click.UsageError("give --user, or --remove in its place")
    from ectools.vm.load import load_guest_settings
    from ectools.vm.macvtap import make_link, remove_link, remove_recorded

    if remove and record is not None and remove_recorded(record):
        return
    settings = load_guest_settings(config)
    if settings.lan is None:
        raise InputError(f"{GUEST_OPTIONS}.lan.enable: is false", hint="without a LAN there is no link")
    if user is None:
        remove_link(settings.lan.macvtap, settings)
    else:
        make_link(settings.lan.macvtap, settings, uid=_find_uid(user), record_file=record)


@vm.command(epilog="Example: ectools vm check --config examples/ipxe-qemu.json")
@_config_option
def check(*, config: Path) -> None:
    """Check the settings, without looking at the machine."""
    _check(config)


@click.command(
    context_settings=_CONTEXT,
    epilog="Example: every-channel-ipxe-qemu --config /etc/every-channel/ipxe-qemu.json",
)
@_config_option
@click.option("--check", "only_check", is_flag=True, help="Check the settings, start nothing.")
@click.option("--print-boot-script", is_flag=True, help="Print the guest's iPXE script, start nothing.")
@_require_filter_option
def every_channel_ipxe_qemu(
    *, config: Path, only_check: bool, print_boot_script: bool, require_filter: bool
) -> int:
    """Run a persistent QEMU guest that boots over iPXE.

    It runs until the guest powers itself off, or SIGTERM or SIGINT ends it. Exit status: 0 the guest was
    powered off or stopped, 1 it failed, 2 the settings cannot be used.
    """
    if only_check and print_boot_script:
        raise click.UsageError("--check and --print-boot-script exclude each other")
    if only_check:
        _check(config)
        return 0
    if print_boot_script:
        _print_boot_script(config)
        return 0
    return _run(config, require_filter=require_filter)


def _find_uid(user: str) -> int:
    """The number of the user that a guest will run as. Raises InputError: there is none, or it is root."""
    from ectools.privileges import find_user

    identity = find_user(user)
    if identity is None:
        raise InputError(f"--user {user}: there is no such user", hint="the one that QEMU runs as")
    if identity.uid == 0:
        raise InputError(
            f"--user {user}: a guest does not run as root, and this would be for all of the system",
            hint="run the guest as a user of its own",
        )
    return identity.uid


def _check(config: Path) -> None:
    from ectools.vm.load import load_guest_settings

    load_guest_settings(config)
    click.echo(f"{config}: the settings can be used", err=True)


def _print_boot_script(config: Path) -> None:
    from ectools.vm.boot_script import build_boot_script, find_effective_url
    from ectools.vm.load import load_boot_script_settings

    boot = load_boot_script_settings(config)
    if boot.chain is None and boot.listen.port == 0:
        raise InputError(f"{GUEST_OPTIONS}.boot.http.port: 0 is known only at run time", hint="name a port")
    script = build_boot_script(
        url=find_effective_url(boot.chain, boot.listen),
        dns=boot.dns,
        token=None if boot.chain is None or boot.chain.token_file is None else "REDACTED",
    )
    click.echo(script, nl=False)


def _run(config: Path, *, require_filter: bool) -> int:
    from ectools.vm.load import load_guest_settings
    from ectools.vm.runner import run_guest

    use_log_format("auto")
    return run_guest(load_guest_settings(config), require_filter=require_filter)


COMMAND = vm


def main() -> int:
    """The program ``every-channel-ipxe-qemu``, loaded; the return value is the exit status."""
    return run_command(every_channel_ipxe_qemu, prog_name="every-channel-ipxe-qemu")
