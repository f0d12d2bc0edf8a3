"""dnsmasq's log, as dnsmasq 2.90 wrote it, and what is told of it."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from ectools import log
from ectools.log_limit import LogLimit, LogRate
from ectools.netboot.dnsmasq.counts import ClientCounts
from ectools.netboot.dnsmasq.events import DnsmasqLog
from ectools.netboot.dnsmasq.liveness import NO_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """\
dnsmasq[9484]: started, version 2.90 DNS disabled
dnsmasq[9484]: compile time options: IPv6 GNU-getopt DBus no-UBus i18n IDN2 DHCP DHCPv6 no-Lua TFTP conntrack
dnsmasq-dhcp[9484]: DHCP, proxy on subnet 192.168.77.0
dnsmasq-tftp[9484]: TFTP root is /srv/tftp
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
dnsmasq-tftp[1]: sent /srv/tftp/ec-ipxe.efi to 192.168.77.9
dnsmasq-tftp[1]: sent /srv/tftp/ec-ipxe.efi to 192.168.77.9
dnsmasq-tftp[1]: file /srv/tftp/none.efi not found for 192.168.77.9
dnsmasq-tftp[1]: failed sending /srv/tftp/ec-ipxe.efi to 192.168.77.9
dnsmasq-tftp[1]: cannot access /srv/tftp/a.efi: Permission denied
"""


class Reader:
    """What the lines lead to."""

    def __init__(self, *, rate: LogRate | None = None) -> None:
        self.stream = io.StringIO()
        self.started = 0
        self.delivered: list[tuple[str, str]] = []
        self.offered: list[str] = []
        self.counts = ClientCounts()
        self.log = DnsmasqLog(
            started=self._start,
            delivered=lambda *what: self.delivered.append(what),
            limit=LogLimit("dnsmasq", rate=rate),
            root=PurePosixPath("/srv/tftp"),
            counts=self.counts,
            offered=self.offered.append,
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
    assert reader.offered == [mac]  # of iPXE's own exchange it was loaded before


def test_clients_are_counted_by_their_architecture(reader: Reader) -> None:
    unserved = IGNORED.replace("00011", "00002").replace("4107", "4108")
    reader.read(OFFER + FILE + IGNORED + unserved + TFTP)
    assert reader.counts.to_json() == {
        "offers": {"x64 UEFI": 2},
        "ignored": {"ARM 64-bit UEFI": 1, "other": 1},
        "failed": 1,
    }


def test_the_probe_is_not_counted(reader: Reader) -> None:
    name = "dnsmasq-dhcp[1]: {} client provides name: ectools-probe\n"
    reader.read(name.format(4103) + OFFER + name.format(4107) + IGNORED)
    assert reader.counts.to_json() == {"offers": {}, "ignored": {}, "failed": 0}


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


def test_an_exchange_that_was_pushed_out_is_not_told(reader: Reader) -> None:
    """Of 257 the first is forgotten, and the second is there still."""

    def say(number: int, fact: str) -> str:
        return f"dnsmasq-dhcp[1]: {number} {fact}\n"

    asked = "PXE(e0) 192.0.2.9 02:00:00:00:00:01 proxy"
    reader.read("".join(say(number, asked) for number in range(257)))
    answered = "sent size:  1 option: 53 message-type  2"
    assert len(reader.read(say(0, answered))) == 0
    assert len(reader.read(say(1, answered))) == 1
    # Told once: the other options of the same answer are of no exchange.
    assert len(reader.read(say(1, answered) * 3)) == 1


def test_an_exchange_in_use_is_not_the_one_that_is_pushed_out(reader: Reader) -> None:
    asked = "PXE(e0) 02:00:00:00:00:01 proxy"
    lines = [f"dnsmasq-dhcp[1]: 0 {asked}"]
    lines += [f"dnsmasq-dhcp[1]: {number} {asked}" for number in range(1, 256)]
    lines += ["dnsmasq-dhcp[1]: 0 bootfile name: a.efi", f"dnsmasq-dhcp[1]: 256 {asked}"]
    lines += ["dnsmasq-dhcp[1]: 0 sent size:  1 option: 53"]
    (entry,) = reader.read("\n".join(lines))
    assert (entry["event"], entry["file"], entry["vendor_class"]) == (
        "ProxyDHCP has named a boot file",
        "a.efi",
        None,
    )


@pytest.mark.parametrize(("user_class", "ipxe"), [("iPXE", True), ("ipxe", False), ("iPXE2", False)])
def test_ipxe_is_known_by_its_user_class(reader: Reader, user_class: str, ipxe: bool) -> None:
    (entry,) = reader.read(OFFER.replace("tags: arch7, e0", f"user class: {user_class}"))
    assert entry["ipxe"] is ipxe


def test_an_answer_to_nobody_is_not_told(reader: Reader) -> None:
    """A DHCP client that is none of PXE's has no line with its address."""
    assert reader.read(OFFER.replace("PXE(e0)", "DHCPDISCOVER(e0)")) == []


def test_a_client_that_is_not_served_is_forgotten(reader: Reader) -> None:
    told = reader.read(IGNORED)
    assert told[0]["mac"] == "02:00:00:00:00:01"
    assert len(reader.read("dnsmasq-dhcp[1]: 4107 sent size:  1 option: 53 message-type  2\n")) == 1


def test_a_size_that_is_asked_for_is_no_delivery_and_the_next_one_is(reader: Reader) -> None:
    refused = "dnsmasq-tftp[1]: error 8 User aborted the transfer received from 192.168.77.9\n"
    sent = "dnsmasq-tftp[1]: sent /srv/tftp/a.efi to 192.168.77.9\n"
    other = "dnsmasq-tftp[1]: sent /srv/tftp/a.efi to 192.168.77.8\n"
    reader.read(refused + other + sent)
    assert reader.delivered == [("192.168.77.8", "a.efi"), ("192.168.77.9", "a.efi")]
    reader.read(refused + sent)
    assert len(reader.delivered) == 2


def test_names_of_files_are_told_as_they_were_asked_for(reader: Reader) -> None:
    lines = (
        "dnsmasq-tftp[1]: sent /srv/tftp/a to b/c.efi to 192.168.77.9\n"
        "dnsmasq-tftp[1]: file /srv/tftp/x not found for y not found for 192.168.77.9\n"
        "dnsmasq-tftp[1]: file /srv/tftp/d//x\x1b[2J\\é not found for 192.168.77.9\n"
        "dnsmasq-tftp[1]: failed sending /srv/tftp/d/z.efi to 192.168.77.9\n"
        "dnsmasq-tftp[1]: file /elsewhere/a.efi not found for 192.168.77.9\n"
    )
    assert [(entry["event"], entry["file"]) for entry in reader.read(lines)] == [
        ("TFTP has sent a file", "a to b/c.efi"),
        ("TFTP was asked for a file that is not there", "x not found for y"),
        ("TFTP was asked for a file that is not there", "d//x\\x1b[2J\\\\\\xe9"),
        ("TFTP could not send a file to its end", "d/z.efi"),
        ("TFTP was asked for a file that is not there", "/elsewhere/a.efi"),
    ]
    assert reader.delivered == [("192.168.77.9", "a to b/c.efi")]
    assert reader.reported == []


def test_what_tftp_cannot_do_is_told_without_escapes(reader: Reader) -> None:
    (entry,) = reader.read("dnsmasq-tftp[1]: cannot access /srv/tftp/d/\x07: Permission denied\n")
    assert (entry["level"], entry["line"]) == (
        "warning",
        "cannot access /srv/tftp/d/\\x07: Permission denied",
    )


def test_a_directory_that_is_the_root_has_one_slash() -> None:
    reader = Reader()
    reader.log = DnsmasqLog(
        started=lambda: None,
        delivered=lambda *_: None,
        limit=LogLimit("dnsmasq"),
        root=PurePosixPath("/"),
    )
    try:
        assert reader.read("dnsmasq-tftp[1]: sent /a.efi to 192.0.2.9\n")[0]["file"] == "a.efi"
    finally:
        log.set_up()


PROBE_ENDS = "dnsmasq-tftp[1]: error 0 ectools-probe: that is enough received from 192.168.77.9\n"


def test_what_the_probe_fetches_is_no_machines(reader: Reader) -> None:
    """dnsmasq 2.90 says of a transfer that is broken off at its last block that it was sent."""
    sent = "dnsmasq-tftp[1]: sent /srv/tftp/d/a.efi to 192.168.77.9\n"
    failed = "dnsmasq-tftp[1]: failed sending /srv/tftp/d/big.efi to 192.168.77.9\n"
    (entry,) = reader.read(PROBE_ENDS + sent + PROBE_ENDS + failed)
    assert (entry["level"], entry["event"], entry["file"], entry["probe"]) == (
        "info",
        "TFTP has sent a file",
        "d/a.efi",
        True,
    )
    assert reader.delivered == []
    # Another's transfer is its own, and so is the next one from that address.
    told = reader.read(PROBE_ENDS + failed.replace("77.9", "77.8") + sent)
    assert [entry["level"] for entry in told[1:]] == ["warning", "info"]
    assert reader.delivered == [("192.168.77.9", "d/a.efi")]


def test_the_probe_asks_as_machines_that_nobody_has(reader: Reader) -> None:
    name = "dnsmasq-dhcp[1]: 4107 client provides name: ectools-probe\n"
    vendor, rest = IGNORED.split("dnsmasq-dhcp[1]: 4107 PXE", 1)
    (entry,) = reader.read(f"{vendor}{name}dnsmasq-dhcp[1]: 4107 PXE{rest}")
    assert (entry["level"], entry["probe"]) == ("info", True)
    assert entry["event"] == "ProxyDHCP has no boot binary for this client"
    (_, other) = reader.read(IGNORED.replace("4107", "4108"))
    assert (other["level"], "probe" in other) == ("warning", False)


def test_what_the_probe_is_told_is_marked(reader: Reader) -> None:
    marked = FILE.replace("8199 user", "8199 client provides name: ectools-probe\ndnsmasq-dhcp[1]: 8199 user")
    (entry, other) = reader.read(marked + FILE.replace("8199", "8200"))
    assert (entry["probe"], "probe" in other) == (True, False)


@pytest.mark.parametrize(
    ("line", "event", "reported"),
    [
        ("dnsmasq-dhcp[1]: no address range available", "ProxyDHCP", True),
        ("dnsmasq-dhcp[1]: DHCP, proxy on subnet 192.0.2.0", None, False),
        ("dnsmasq-tftp[1]: TFTP root is /srv/tftp ", None, False),
        ("dnsmasq-tftp[1]: out of memory", "TFTP", True),
        ("dnsmasq-script[1]: what", None, True),
        ("setpriv: failed", "dnsmasq", True),
        ("dnsmasq: failed", None, True),
    ],
)
def test_lines_of_other_kinds(reader: Reader, line: str, event: str | None, reported: bool) -> None:
    told = reader.read(line + "\n")
    assert [(entry["level"], entry["event"]) for entry in told] == (
        [] if event is None else [("warning", event)]
    )
    assert bool(reader.reported) is reported


def test_what_it_says_once_it_serves_is_not_why_it_does_not_start(reader: Reader) -> None:
    reader.read("dnsmasq[1]: before\ndnsmasq[1]: started, version 2.90\ndnsmasq[1]: after\n")
    assert (reader.reported, reader.started) == (["dnsmasq[1]: before"], 1)
    reader.read("dnsmasq[1]: exiting on receipt of SIGTERM\n")
    assert reader.reported == ["dnsmasq[1]: before"]


def test_events_are_charged_by_their_size(reader: Reader) -> None:
    charged: list[int] = []

    class Limit:
        def take(self, size: int) -> bool:
            charged.append(size)
            return False

    reader.log._limit = Limit()  # type: ignore[assignment]
    assert reader.read("dnsmasq-tftp[1]: sent /srv/tftp/a.efi to 192.0.2.9\n") == []
    assert charged == [len("TFTP has sent a file") + len("192.0.2.9") + len("a.efi")]
