"""``ectools netboot serve``: HTTP, TFTP and ProxyDHCP for what is staged."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ectools.cli.complete import complete_interface
from ectools.cli.log_format import log_format_option, use_log_format
from ectools.cli.netboot.state import state_options
from ectools.netboot.settings.model import NETBOOT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.server.run import Ready
    from ectools.netboot.settings.model import ServerSettings


@click.command(epilog="Example: ectools netboot serve --listen-ip 192.0.2.10 --hostname 192.0.2.10")
@state_options
@click.option("--listen-ip", metavar="IP", help="This host's address on the clients' network.")
@click.option(
    "--interface", metavar="NAME", shell_complete=complete_interface, help="The interface that has it."
)
@click.option("--hostname", metavar="NAME", help="The name or address that clients are sent to.")
@click.option("--http-port", type=int, metavar="N", help="TCP port of the HTTP server.")
@click.option("--proxy-subnet", metavar="CIDR", help="Answer PXE clients of this network (ProxyDHCP).")
@click.option(
    "--check", "only_check", is_flag=True, help="Check the settings, and warn of what is in the way here."
)
@click.option("--print-dnsmasq", is_flag=True, help="Print dnsmasq's configuration, start nothing.")
@click.option(
    "--dnsmasq-reports",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Serve HTTP alone: `ectools netboot dnsmasq` does the rest, and reports to this socket.",
)
@click.option(
    "--control-socket",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Be asked and told of the fleet here (`ectools fleet --help`), by this user and its group.",
)
@log_format_option
@click.option("--json", "as_json", is_flag=True, help="When ready, print {url, ip, port, release}.")
def serve(
    *,
    config: Path | None,
    state_dir: str | None,
    listen_ip: str | None,
    interface: str | None,
    hostname: str | None,
    http_port: int | None,
    proxy_subnet: str | None,
    only_check: bool,
    print_dnsmasq: bool,
    dnsmasq_reports: Path | None,
    control_socket: Path | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Serve the current release over HTTP, and the boot files over TFTP, until SIGTERM or SIGINT.

    dnsmasq does TFTP, and ProxyDHCP where it is enabled; their ports take root or CAP_NET_BIND_SERVICE, and
    ProxyDHCP CAP_NET_ADMIN too. Root becomes the user that the state directory belongs to. A release that is
    staged meanwhile is served at once. SIGHUP reads settings and tokens again.
    """
    if only_check and print_dnsmasq:
        raise click.UsageError("--check and --print-dnsmasq exclude each other")
    if config is None and NETBOOT_CONFIG.exists():
        config = NETBOOT_CONFIG
    flags = {
        "stateDir": state_dir,
        "listenIP": listen_ip,
        "interface": interface,
        "hostname": hostname,
        "httpPort": http_port,
        "proxyDhcp.subnet": proxy_subnet,
    }

    def load() -> ServerSettings:
        from ectools.netboot.settings.load import load_server_settings
        from ectools.privileges import root_reads

        with root_reads(config):
            return load_server_settings(config, flags=flags)

    if only_check:
        _check(load())
    elif print_dnsmasq:
        _print_dnsmasq(load())
    else:
        use_log_format(log_format)

        def announce(ready: Ready) -> None:
            if as_json:
                click.echo(json.dumps(asdict(ready)))

        _serve(load, announce, dnsmasq_reports, control_socket)


def _check(settings: ServerSettings) -> None:
    from ectools.netboot.boot_files.chain import warn_of_chain
    from ectools.netboot.server.host_warnings import find_host_warnings

    warn_of_chain(settings)
    for warning in find_host_warnings(settings):
        click.echo(f"warning: {warning.subject}: {warning.message}\n  hint: {warning.hint}", err=True)
    click.echo("the settings can be used", err=True)


def _print_dnsmasq(settings: ServerSettings) -> None:
    from ectools.netboot.dnsmasq.check import list_boot_files
    from ectools.netboot.dnsmasq.model import build_boot_services
    from ectools.netboot.dnsmasq.render import render_configuration

    services = build_boot_services(settings, present=list_boot_files(settings.tftp_dir))
    click.echo(render_configuration(services), nl=False)


def _serve(
    load: Callable[[], ServerSettings],
    announce: Callable[[Ready], None],
    dnsmasq_reports: Path | None,
    control_socket: Path | None,
) -> None:
    from ectools.netboot.server.run import serve_boot

    serve_boot(load, on_ready=announce, dnsmasq_reports=dnsmasq_reports, control_socket=control_socket)


COMMAND = serve
