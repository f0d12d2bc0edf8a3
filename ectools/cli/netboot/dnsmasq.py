"""``ectools netboot dnsmasq``: TFTP and ProxyDHCP in a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ectools.cli.log_format import log_format_option, use_log_format
from ectools.cli.netboot.state import config_option
from ectools.netboot.settings.model import NETBOOT_CONFIG

if TYPE_CHECKING:
    from ectools.netboot.settings.model import ServerSettings


@click.command(epilog="Example: ectools netboot dnsmasq --config netboot.json --reports /run/netboot/dnsmasq")
@config_option
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Tell `ectools netboot serve --dnsmasq-reports SOCKET` what dnsmasq does.",
)
@click.option(
    "--load-limit",
    metavar="USER",
    help="Load the limit per address for a dnsmasq that runs as USER (nftables), start nothing.",
)
@log_format_option
def dnsmasq(*, config: Path | None, reports: Path | None, load_limit: str | None, log_format: str) -> None:
    """Serve the boot files over TFTP, and ProxyDHCP where it is enabled, until SIGTERM or SIGINT.

    `ectools netboot serve` does that too; this is for a service manager, which gives this process the rights
    to its ports, and the one that serves HTTP none. SIGHUP reads the settings again.
    """
    if config is None and NETBOOT_CONFIG.exists():
        config = NETBOOT_CONFIG
    use_log_format(log_format)

    def load() -> ServerSettings:
        from ectools.netboot.settings.load import load_server_settings
        from ectools.privileges import root_reads

        with root_reads(config):
            return load_server_settings(config)

    if load_limit is not None:
        from ectools.netboot.dnsmasq.transfer_limit import load_unit_table

        load_unit_table(load(), user=load_limit)
    else:
        from ectools.netboot.server.dnsmasq_service import serve_dnsmasq

        serve_dnsmasq(load, reports=reports)


COMMAND = dnsmasq
