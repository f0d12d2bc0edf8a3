"""``ectools netboot ipxe``: boot binaries and the first script into the TFTP folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ectools.errors import EcError

PLACEHOLDER = "TOKEN"
"""Stands for the token in what is printed."""


@click.command(epilog="Example: ectools netboot ipxe --hostname 192.0.2.10 --state-dir ./netboot")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The settings, as JSON.")
@click.option("--state-dir", metavar="DIR", help="Folder of all that is served.")
@click.option("--hostname", metavar="HOST", help="Name or address that clients are sent to.")
@click.option("--http-port", type=int, metavar="N", help="TCP port of the HTTP server.")
@click.option(
    "--strategy",
    metavar="NAME",
    help="Where the x86-64 UEFI binary comes from: autoexec, embedded, local, remote.",
)
@click.option("--local-file", metavar="FILE", help="The binary of the strategy local, which this implies.")
@click.option(
    "--print",
    "script",
    type=click.Choice(["autoexec", "netboot"]),
    help=f"Print a script, with {PLACEHOLDER} for a token, and write nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print {folder, files, written, removed}.")
def ipxe(*, config: Path | None, script: str | None, as_json: bool, **options: Any) -> None:
    """Write the boot binaries and autoexec.ipxe into the TFTP folder.

    netboot.ipxe is the script of the release that is staged; the server makes it for each request.
    """
    from ectools.credentials import CHAIN_TOKEN, read_tokens
    from ectools.netboot.ipxe.install import install_boot_files
    from ectools.netboot.load import load_settings
    from ectools.netboot.settings import OPTION_PREFIX

    local = options["local_file"]
    settings = load_settings(
        config,
        flags={
            "stateDir": options["state_dir"],
            "hostname": options["hostname"],
            "httpPort": options["http_port"],
            "ipxe.strategy": options["strategy"] or (None if local is None else "local"),
            "ipxe.localFile": local,
        },
    )
    token_file = settings.chain_token_file
    if script is not None:
        click.echo(_build(script, settings, None if token_file is None else PLACEHOLDER), nl=False)
        return
    token = None
    if token_file is not None:
        option = f"{OPTION_PREFIX}.chainTokenFile"
        token = read_tokens(token_file, credential=CHAIN_TOKEN, option=option, at_most=2)[0]
    done = install_boot_files(settings, token)
    if as_json:
        names = {"files": done.files, "written": done.written, "removed": done.removed}
        click.echo(json.dumps({"folder": str(done.folder), **names}))
        return
    for name in done.files:
        click.echo(f"{done.folder / name}{'' if name in done.written else ' (as it was)'}")
    for name in done.removed:
        click.echo(f"{done.folder / name} (removed: no longer configured)")


def _build(script: str, settings: Any, token: str | None) -> str:
    from ectools.netboot.ipxe.script import build_autoexec, build_netboot
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
