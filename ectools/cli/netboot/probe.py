"""``ectools netboot probe``: a DHCP and PXE client without a machine."""

from __future__ import annotations

import json
import re
import sys

import click

from ectools.cli.complete import complete_architecture, complete_interface
from ectools.cli.param_types import Seconds
from ectools.log import use_colour

_MAC = re.compile(r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}")


def _parse_mac(_context: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    if _MAC.fullmatch(value) is None or int(value[:2], 16) & 1:
        raise click.BadParameter(f"{value}: expected the address of one machine, such as 02:00:00:12:34:56")
    return bytes.fromhex(re.sub("[:-]", "", value))


def _check_architectures(
    _context: click.Context, _parameter: click.Parameter, value: tuple[int, ...]
) -> tuple[int, ...]:
    from ectools.netboot.protocols import load_protocols

    table = load_protocols()
    for number in value:
        if table.find_architecture(number) is None:
            known = ", ".join(str(each.number) for each in table.architectures)
            raise click.BadParameter(f"{number}: expected one of {known}")
    return value


@click.command(
    "probe",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: sudo ectools netboot probe --interface eth0 --arch 7",
)
@click.option(
    "--interface",
    metavar="NAME",
    shell_complete=complete_interface,
    help="The interface to ask on.  [default: the default route's]",
)
@click.option(
    "--arch",
    "architectures",
    type=int,
    multiple=True,
    metavar="N",
    callback=_check_architectures,
    shell_complete=complete_architecture,
    help="A client architecture (DHCP option 93): 7 is x64 UEFI, 0 BIOS, 16 x64 UEFI HTTP boot. May be given"
    " several times.  [default: all]",
)
@click.option(
    "--timeout",
    type=Seconds(min=0.5, max=120),
    default=5.0,
    show_default=True,
    metavar="S",
    help="How long offers are collected, and how long each other answer is waited for.",
)
@click.option(
    "--mac",
    metavar="MAC",
    callback=_parse_mac,
    help="Ask as the machine with this hardware address.  [default: the interface's]",
)
@click.option("--no-fetch", is_flag=True, help="Ask for no file: only who offers what.")
@click.option(
    "--lease",
    is_flag=True,
    help="Where the interface has no IPv4 address: take a lease for the time of the probe, and give it back.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Load all of kernel and initrd, and compare the SHA-256 that the boot script expects.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object on standard output.")
def run_probe(
    *,
    interface: str | None,
    architectures: tuple[int, ...],
    timeout: float,
    mac: bytes | None,
    no_fetch: bool,
    lease: bool,
    verify: bool,
    as_json: bool,
) -> int:
    """Ask the network as the firmware of a node would, and as iPXE would: who answers what, what would be
    loaded next, and what is wrong.

    It takes no lease from anybody, unless --lease is given, and loads no more of a file than it needs to know
    what it is. It needs the right to send frames (CAP_NET_RAW). Exits 1 where a fault was found, 2 for wrong
    usage; a warning is no fault.
    """
    if no_fetch and (verify or lease):
        raise click.UsageError("--no-fetch goes with neither --verify nor --lease")
    from ectools.netboot.probe.report import build_json
    from ectools.netboot.probe.report_text import show_report
    from ectools.netboot.probe.run import ProbeRequest, run_probe

    def on_progress(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(text, err=True)

    request = ProbeRequest(
        interface=interface,
        architectures=architectures,
        seconds=timeout,
        mac=mac,
        fetch=not no_fetch,
        lease=lease,
        verify=verify,
    )
    report = run_probe(request, on_progress=on_progress)
    if as_json:
        click.echo(json.dumps(build_json(report), indent=2, ensure_ascii=False))
    else:
        click.echo(show_report(report, colour=use_colour(sys.stdout)))
    return 1 if report.failed else 0


COMMAND = run_probe
