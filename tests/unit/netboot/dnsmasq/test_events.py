"""dnsmasq's log, as dnsmasq 2.90 wrote it, and what is told of it."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from ectools import log
from ectools.log_limit import LogLimit, LogRate
from ectools.netboot.dnsmasq.events import DnsmasqLog
from ectools.netboot.dnsmasq.liveness import NO_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """\
dnsmasq[9484]: started, version 2.90 DNS disabled
dnsmasq[9484]: compile time options: IPv6 GNU-getopt DBus no-UBus i18n IDN2 DHCP DHCPv6 no-Lua TFTP conntrack
dnsmasq-dhcp[9484]: DHCP, proxy on subnet 192.168.77.0
dnsmasq-tftp[9484]: TFTP root is /var/lib/every-channel/netboot/tftp
"""
OFFER = """\
dnsmasq-dhcp[1]: 4103 available DHCP subnet: 192.168.77.0/255.255.255.0
dnsmasq-dhcp[1]: 4103 vendor class: PXEClient:Arch:00007:UNDI:003016
dnsmasq-dhcp[1]: 4103 PXE(e0) 02:00:00:00:00:01 proxy
dnsmasq-dhcp[1]: 4103 tags: arch7, e0
dnsmasq-dhcp[1]: 4103 next server: 192.168.77.2
dnsmasq-dhcp[1]: 4103 broadcast response
dnsmasq-dhcp[1]: 4103 sent size:  1 option: 53 message-type  2
dnsmasq-dhcp[1]: 4103 sent size:  4 option: 54 server-identifier  192.168.77.2
"""
FILE = """\
dnsmasq-dhcp[1]: 8199 available DHCP subnet: 192.168.77.0/255.255.255.0
dnsmasq-dhcp[1]: 8199 vendor class: PXEClient:Arch:00007:UNDI:003010
dnsmasq-dhcp[1]: 8199 user class: iPXE
dnsmasq-dhcp[1]: 8199 PXE(e0) 02:00:00:00:00:01 proxy
dnsmasq-dhcp[1]: 8199 tags: ipxe, arch7, e0
dnsmasq-dhcp[1]: 8199 bootfile name: http://192.168.77.2:8080/autoexec.ipxe
dnsmasq-dhcp[1]: 8199 next server: 192.168.77.2
dnsmasq-dhcp[1]: 8199 sent size:  1 option: 53 message-type  5
dnsmasq-dhcp[1]: 8199 sent size:  4 option: 54 server-identifier  192.168.77.2
"""
IGNORED = """\
dnsmasq-dhcp[1]: 4107 available DHCP subnet: 192.168.77.0/255.255.255.0
dnsmasq-dhcp[1]: 4107 vendor class: PXEClient:Arch:00011:UNDI:003016
dnsmasq-dhcp[1]: 4107 PXE(e0) 02:00:00:00:00:01 proxy-ignored
dnsmasq-dhcp[1]: 4107 tags: unserved, e0
"""
TFTP = """\
dnsmasq-tftp[1]: error 8 User aborted the transfer received from 192.168.77.9
dnsmasq-tftp[1]: sent /var/lib/every-channel/netboot/tftp/ec-ipxe.efi to 192.168.77.9
dnsmasq-tftp[1]: sent /var/lib/every-channel/netboot/tftp/ec-ipxe.efi to 192.168.77.9
dnsmasq-tftp[1]: file /var/lib/every-channel/netboot/tftp/none.efi not found for 192.168.77.9
dnsmasq-tftp[1]: failed sending /var/lib/every-channel/netboot/tftp/ec-ipxe.efi to 192.168.77.9
dnsmasq-tftp[1]: cannot access /var/lib/every-channel/netboot/tftp/a.efi: Permission denied
"""


class Reader:
    """What the lines lead to."""

    def __init__(self, *, rate: LogRate | None = None) -> None:
        self.stream = io.StringIO()
        self.started = 0
        self.delivered: list[tuple[str, str]] = []
        self.log = DnsmasqLog(
            started=self._start,
            delivered=lambda *what: self.delivered.append(what),
            limit=LogLimit("dnsmasq", rate=rate),
        )
        self.reported: list[str] = []

    def _start(self) -> None:
        self.started += 1

    def read(self, text: str) -> list[dict[str, Any]]:
        log.set_up(json_lines=True, stream=self.stream)
        self.reported += [line for line in text.splitlines() if self.log.feed(line)]
        entries = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [{key: value for key, value in entry.items() if key != "time"} for entry in entries]


@pytest.fixture
def reader() -> Iterator[Reader]:
    yield Reader()
    log.set_up()


def test_a_start_is_noticed_and_says_nothing(reader: Reader) -> None:
    assert reader.read(START) == []
    assert (reader.started, reader.reported) == (1, [])


def test_an_exchange_is_one_event(reader: Reader) -> None:
    mac = "02:00:00:00:00:01"
    assert reader.read(OFFER + FILE) == [
        {
            "level": "info",
            "event": "ProxyDHCP asked a client to come to its PXE service",
            "mac": mac,
            "vendor_class": "PXEClient:Arch:00007:UNDI:003016",
            "ipxe": False,
        },
        {
            "level": "info",
            "event": "ProxyDHCP has named a boot file",
            "mac": mac,
            "vendor_class": "PXEClient:Arch:00007:UNDI:003010",
            "ipxe": True,
            "file": "http://192.168.77.2:8080/autoexec.ipxe",
        },
    ]


def test_exchanges_may_be_interwoven_and_numbers_come_again(reader: Reader) -> None:
    pairs = zip(OFFER.splitlines(), FILE.splitlines(), strict=False)
    entries = reader.read("\n".join(line for pair in pairs for line in pair) + "\n" + OFFER)
    assert [entry["ipxe"] for entry in entries] == [False, True, False]


def test_a_client_that_is_not_served(reader: Reader) -> None:
    (entry,) = reader.read(IGNORED)
    assert (entry["level"], entry["event"]) == (
        "warning",
        "ProxyDHCP has no boot binary for this client",
    )
    assert entry["vendor_class"] == "PXEClient:Arch:00011:UNDI:003016"


def test_exchanges_without_an_answer_fill_no_memory(reader: Reader) -> None:
    for number in range(10_000):
        reader.log.feed(f"dnsmasq-dhcp[1]: {number} vendor class: PXEClient")
    assert len(reader.log._exchanges) <= 256


def test_tftp(reader: Reader) -> None:
    entries = reader.read(TFTP)
    assert [(entry["level"], entry.get("file"), entry.get("client")) for entry in entries] == [
        ("info", "ec-ipxe.efi", "192.168.77.9"),
        ("info", "none.efi", "192.168.77.9"),
        ("warning", "ec-ipxe.efi", "192.168.77.9"),
        ("warning", None, None),
    ]
    assert reader.delivered == [("192.168.77.9", "ec-ipxe.efi")]
    assert len(reader.reported) == 1


def test_why_it_does_not_start_is_kept_for_the_report(reader: Reader) -> None:
    """Recorded from dnsmasq 2.90, which names its process by then."""
    lines = (
        "dnsmasq[7]: TFTP directory /srv/tftp inaccessible: Permission denied",
        "dnsmasq[7]: FAILED to start up",
    )
    assert reader.read("\n".join(lines)) == []
    assert reader.reported == list(lines)


def test_last_words_are_kept_for_the_report(reader: Reader) -> None:
    words = "dnsmasq: failed to create listening socket for 192.168.77.2: Address already in use"
    assert reader.read(words + "\nsetpriv: nothing\n")[0]["line"] == "setpriv: nothing"
    assert reader.reported == [words, "setpriv: nothing"]
    assert reader.started == 0


def test_who_asks_on_and_on_does_not_fill_the_log() -> None:
    reader = Reader(rate=LogRate(burst_lines=3, lines_per_second=0.001))

    async def flood() -> list[dict[str, Any]]:
        line = "dnsmasq-tftp[1]: file /srv/tftp/none.efi not found for 192.168.77.9\n"
        sent = "dnsmasq-tftp[1]: sent /srv/tftp/ec-ipxe.efi to 192.168.77.8\n"
        return reader.read(line * 50 + sent)

    try:
        told = [entry["event"] for entry in asyncio.run(flood())]
    finally:
        log.set_up()
    assert told[:3] == ["TFTP was asked for a file that is not there"] * 3
    assert len(told) == 4
    assert "left out of the log" in told[3]
    # What is counted is not what is logged.
    assert reader.delivered == [("192.168.77.8", "ec-ipxe.efi")]


def test_the_supervisors_own_question_is_not_told(reader: Reader) -> None:
    assert reader.read(f"dnsmasq-tftp[1]: file /srv/tftp/{NO_FILE} not found for 192.168.77.2\n") == []
    assert (reader.reported, reader.delivered) == ([], [])
