"""What is fuzzed of the probe: all that reads what a server sends."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address

from support.pxe_messages import client_of

from ectools.netboot.probe.diagnose.follow import follow_client
from ectools.netboot.probe.diagnose.network import collect_faults, find_network_faults
from ectools.netboot.probe.report import ProbeReport, build_json
from ectools.netboot.probe.report_text import show_report
from ectools.netboot.probe.simulate.choose import choose_firmware, choose_http
from ectools.netboot.probe.simulate.choose_ipxe import choose_ipxe
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.wire.dhcp import Message, PacketError, build_message, parse_message
from ectools.netboot.probe.wire.dns import build_query, parse_reply, parse_search_list
from ectools.netboot.probe.wire.frames import parse_frame
from ectools.netboot.probe.wire.offers import Answer

SOURCE = IPv4Address("192.0.2.2")
UEFI, HTTP, IPXE = client_of(7), client_of(16), client_of(7, ipxe=True)


def read_packets(data: bytes) -> None:
    """Two messages from a frame and a datagram, through every choice, to the report."""
    half = len(data) // 2
    answers = tuple(
        Answer(message=message, source=SOURCE, port=67, seconds=0.1)
        for message in (_read_frame(data), _read(data), _read(data[half:]))
        if message is not None
    )

    def ask(_server: IPv4Address, _item: int | None) -> Answer | None:
        return answers[-1] if answers else None

    def fetch(uri: str, headers: object = None, limit: int = 0, names: object = None) -> Fetched:
        return Fetched(uri=uri, state=FetchState.FOUND, size=half, head=data[:half], whole=True)

    for datagram in (data, data[half:]):
        with contextlib.suppress(PacketError):
            parse_reply(build_query("boot.test", 1)[:12] + datagram, name="boot.test", xid=1)
        with contextlib.suppress(PacketError):
            parse_reply(datagram, name="boot.test", xid=int.from_bytes(datagram[:2]))
        parse_search_list(datagram)
    choose_firmware(client_of(0), answers, ask)
    choose_http(HTTP, answers)
    choose_ipxe(IPXE, answers, ask)
    offers = {UEFI: answers, IPXE: answers}
    boot_trace = follow_client(
        UEFI.architecture, offers, fetch=fetch, ask=lambda _client, server, item: ask(server, item), mac="02"
    )
    faults = (*find_network_faults(offers, interface="eth0"), *collect_faults([boot_trace], asked_for=()))
    report = ProbeReport(
        interface="eth0",
        mac="02",
        address=None,
        seconds=1,
        boot_traces=(boot_trace,),
        faults=faults,
        notes=(),
    )
    build_json(report)
    shown = show_report(report, colour=False)
    assert all(each.isprintable() or each == "\n" for each in shown)


def _read_frame(data: bytes) -> Message | None:
    try:
        return _read(parse_frame(data).payload)
    except PacketError:
        return None


def _read(data: bytes) -> Message | None:
    try:
        return parse_message(data)
    except PacketError:
        pass
    # Most bytes have not even the header: with one, the options are reached.
    head = build_message(Message(op=2, xid=1, chaddr=bytes(6), yiaddr=SOURCE))[:240]
    return parse_message(head + data)
