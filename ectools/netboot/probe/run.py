"""The whole probe: offers, each architecture's way, faults."""

from __future__ import annotations

import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ectools.netboot.probe.clients.client import first_client, ipxe_client
from ectools.netboot.probe.clients.exchange import Line, ask_boot_server, discover, hold_lease
from ectools.netboot.probe.diagnose.follow import follow_client
from ectools.netboot.probe.diagnose.network import collect_faults, find_network_faults
from ectools.netboot.probe.report import ProbeReport
from ectools.netboot.probe.simulate.fetcher import Fetcher
from ectools.netboot.probe.wire.packet_socket import find_host, listens_here
from ectools.netboot.protocols import load_protocols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ectools.netboot.probe.clients.client import Client
    from ectools.netboot.probe.diagnose.follow import AskClient
    from ectools.netboot.probe.diagnose.trace import BootTrace
    from ectools.netboot.probe.wire.offers import Answer
    from ectools.netboot.protocols import Architecture


@dataclass(frozen=True, kw_only=True)
class ProbeRequest:
    """The parameters of a probe.

    ``interface`` None: the default route's. ``architectures`` empty: all that are known. ``seconds``: the
    window for offers, and the time for each other answer. ``mac`` None: the interface's. ``verify``: load
    what a script compares with a SHA-256, and compare it.
    """

    interface: str | None = None
    architectures: tuple[int, ...] = ()
    seconds: float = 5.0
    mac: bytes | None = None
    fetch: bool = True
    lease: bool = False
    verify: bool = False


def run_probe(
    request: ProbeRequest, *, on_progress: Callable[[str], None] = lambda _text: None
) -> ProbeReport:
    """The report of a network. ``on_progress`` is given what goes on.

    Raises InputError, LinkError, LeaseError.
    """
    host = find_host()
    interface = host.choose(request.interface)
    line = Line(
        interface=interface,
        mac=request.mac or interface.mac,
        seconds=request.seconds,
        local=host.local,
        answers_here=listens_here(load_protocols().ports.dhcp),
    )
    table = load_protocols().architectures
    wanted = [each for each in table if not request.architectures or each.number in request.architectures]
    clients = list(dict.fromkeys([*map(first_client, wanted), *map(ipxe_client, wanted)]))
    on_progress(f"{interface.name}: asking as {len(clients)} clients, for {request.seconds:g} s")
    found = discover(line, clients)
    offers = found.offers
    with _hold_address(line, offers, lease=request.lease and request.fetch) as addressed:
        fetcher = Fetcher(addressed) if request.fetch else None
        boot_traces = _follow_all(
            addressed, wanted, offers, fetcher=fetcher, verify=request.verify, on_progress=on_progress
        )
        address = next((str(each) for each in addressed.interface.addresses), None)
        ask = _bind_ask(addressed)
        network_faults = find_network_faults(offers, interface=interface.name, ask=ask)
    return ProbeReport(
        interface=interface.name,
        mac=line.mac.hex(":"),
        address=address,
        seconds=request.seconds,
        boot_traces=tuple(boot_traces),
        faults=(
            *network_faults,
            *collect_faults(boot_traces, asked_for=request.architectures),
        ),
        notes=(*found.notes, *_find_limits(line, fetch=request.fetch, lease=request.lease)),
    )


@contextlib.contextmanager
def _hold_address(line: Line, offers: Mapping[Client, tuple[Answer, ...]], *, lease: bool) -> Iterator[Line]:
    """The line, with a leased address for the length of the block where it has none and one is wanted."""
    found = [(client, offer) for client, group in offers.items() for offer in group if not offer.is_proxy]
    if line.interface.addresses or not lease or not found:
        yield line
        return
    client, offer = found[0]
    with hold_lease(line, client, offer) as address:
        interface = replace(line.interface, addresses=(address,))
        yield replace(line, interface=interface, local=line.local | {address.ip})


def _follow_all(
    line: Line,
    architectures: Sequence[Architecture],
    offers: Mapping[Client, tuple[Answer, ...]],
    *,
    fetcher: Fetcher | None,
    verify: bool,
    on_progress: Callable[[str], None],
) -> list[BootTrace]:
    """The traces of all architectures, which are followed at once: a silent server holds up one alone."""

    def go(architecture: Architecture) -> BootTrace:
        on_progress(f"{architecture.number} {architecture.name}: following what it is offered")
        return follow_client(
            architecture,
            offers,
            fetch=fetcher,
            ask=_bind_ask(line),
            mac=line.mac.hex(":"),
            find_digest=fetcher.find_digest if fetcher is not None and verify else None,
        )

    with ThreadPoolExecutor(max_workers=max(1, len(architectures))) as pool:
        return list(pool.map(go, architectures))


def _bind_ask(line: Line) -> AskClient | None:
    """Questions to port 4011; None where the interface has no address to ask from."""
    return functools.partial(ask_boot_server, line) if line.interface.addresses else None


def _find_limits(line: Line, *, fetch: bool, lease: bool) -> Iterator[str]:
    """Sentences on what this probe could not see."""
    if line.answers_here:
        yield (
            "a DHCP server or proxy runs on this host: it was asked from within, so that a firewall or a VLAN"
            " between it and its clients is not seen; probe from another machine for that"
        )
    if not fetch:
        yield "no file was asked for (--no-fetch): whether they are there is not known"
    elif not line.interface.addresses and not lease:
        yield (
            f"{line.interface.name} has no IPv4 address: neither port 4011 nor files can be asked;"
            " --lease takes an address for the time of the probe"
        )
