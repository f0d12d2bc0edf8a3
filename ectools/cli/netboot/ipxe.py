"""``ectools netboot ipxe``: boot binaries and the first script into the TFTP directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ectools.cli.complete import complete_file, complete_words
from ectools.cli.netboot.state import become_owner, load_given, state_options
from ectools.errors import EcError

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.protocols import StockBinary
    from ectools.netboot.settings.model import NetbootSettings

PLACEHOLDER = "TOKEN"
"""Stands for the token in what is printed."""


@click.command(epilog="Example: ectools netboot ipxe --hostname 192.0.2.10 --state-dir ./netboot")
@state_options
@click.option("--hostname", metavar="HOST", help="Name or address that clients are sent to.")
@click.option("--http-port", type=int, metavar="N", help="TCP port of the HTTP server.")
@click.option(
    "--strategy",
    metavar="NAME",
    shell_complete=complete_words("autoexec", "embedded", "local", "remote"),
    help="Where the x86-64 UEFI binary comes from: autoexec, embedded, local, remote.",
)
@click.option(
    "--local-file",
    metavar="FILE",
    shell_complete=complete_file,
    help="The binary of the strategy local, which this implies.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Serve a binary that looks for no script, where the DHCP server tells an iPXE the script's address.",
)
@click.option(
    "--print",
    "script",
    type=click.Choice(["autoexec", "netboot"]),
    help=f"Print a script, with {PLACEHOLDER} for a token, and write nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print {folder, files, written, removed}.")
def ipxe(
    *, config: Path | None, state_dir: str | None, script: str | None, as_json: bool, **options: Any
) -> None:
    """Write the boot binaries and autoexec.ipxe into the TFTP directory.

    netboot.ipxe is the script of the release that is staged; the server makes it for each request.
    """
    from ectools.netboot.boot_files.install import install_boot_files
    from ectools.netboot.server.access import read_chain_tokens

    local = options["local_file"]
    flags = {
        "hostname": options["hostname"],
        "httpPort": options["http_port"],
        "ipxe.strategy": options["strategy"] or (None if local is None else "local"),
        "ipxe.localFile": local,
        "ipxe.force": options["force"] or None,
    }
    settings = load_given(config, state_dir, **flags)
    if script is not None:
        token = None if settings.chain_token_file is None else PLACEHOLDER
        click.echo(_build(script, settings, token), nl=False)
        return
    # Before the tokens are read: the script that holds one can be read by that user.
    become_owner(settings.state_dir)
    tokens = read_chain_tokens(settings)
    done = install_boot_files(settings, tokens[0] if tokens else None, stock=_list_stock(settings))
    if as_json:
        names = {"files": done.files, "written": done.written, "removed": done.removed}
        click.echo(json.dumps({"folder": str(done.directory), **names}))
        return
    for name in done.files:
        click.echo(f"{done.directory / name}{'' if name in done.written else ' (as it was)'}")
    for name in done.removed:
        click.echo(f"{done.directory / name} (removed: no longer configured)")


def _list_stock(settings: NetbootSettings) -> frozenset[StockBinary]:
    """The boot binaries that groups of the fleet name; of a fleet that cannot be read the server says why."""
    from ectools.netboot.boot_files.by_machine import list_wanted
    from ectools.netboot.fleet.load import load_whole

    try:
        return list_wanted(load_whole(settings.fleet.part, settings.fleet.file))
    except EcError:
        return frozenset()


def _build(script: str, settings: NetbootSettings, token: str | None) -> str:
    from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
    from ectools.netboot.boot_files.scripts.second_stage import build_netboot
    from ectools.netboot.release.store import ReleaseStore

    if script == "autoexec":
        return build_autoexec(settings, token)
    release = ReleaseStore(settings.state_dir).find_current()
    if release is None:
        raise EcError(
            f"{settings.state_dir}: no release is staged, so there is none to boot",
            hint="run: ectools netboot stage",
        )
    return build_netboot(settings, release, token)


COMMAND = ipxe
