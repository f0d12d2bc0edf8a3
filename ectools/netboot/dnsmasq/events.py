"""dnsmasq's log as events: who asked, and what was sent.

Recorded from dnsmasq 2.90 with ``log-facility=-``, ``log-dhcp`` and ``LC_ALL=C``: one line a fact, in front
of it the part that speaks and its process, ``dnsmasq-tftp[7]: ``; without a process where it dies at its
start. With ``log-dhcp`` a DHCP exchange has many lines, each beginning with the exchange's number.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.dnsmasq.counts import ClientCounts, name_architecture
from ectools.netboot.dnsmasq.liveness import NO_FILE
from ectools.netboot.protocols import PROBE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import PurePath

    from ectools.log_limit import LogLimit

_log = log.Log(__name__)

_LINE = re.compile(r"dnsmasq(?:-(?P<part>[a-z]+))?(?P<pid>\[\d+\])?: (?P<text>.*)", re.DOTALL)
_SENT = re.compile(r"sent (?P<path>.+) to (?P<client>\S+)")
_FAILED = re.compile(r"failed sending (?P<path>.+) to (?P<client>\S+)")
_MISSING = re.compile(r"file (?P<path>.*) not found for (?P<client>\S+)")
_GAVE_UP = re.compile(r"error \d+ (?P<reason>.*) received from (?P<client>\S+)")
_EXCHANGE = re.compile(r"(?P<number>\d+) (?P<fact>.*)")
_ASKED = re.compile(r"PXE\(\S+\) (?:\d+(?:\.\d+){3} )?(?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2})+) (?P<what>.*)")
_LOST = re.compile(r"overflow: (\d+) log entries lost")
_IGNORED = "proxy-ignored"
# Exchanges that were begun and not answered: a flood of them must not fill the memory.
_MAX_EXCHANGES = 256


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    """The facts of one DHCP exchange that its lines have named so far."""

    vendor_class: str | None = None
    ipxe: bool = False
    mac: str | None = None
    file: str | None = None
    probe: bool = False


class DnsmasqLog:
    """Takes the lines in order. ``started`` is called when dnsmasq has opened its sockets, ``delivered`` with
    a client's address and the file that TFTP has sent it whole, below ``root``. ``limit`` bounds what is
    logged: who can send packets to dnsmasq decides how much it says.

    dnsmasq leaves out of a name what is not printable ASCII, before it looks for the file. ``lost`` is
    called with the number of lines that it has not written, because those before them had not been read.
    ``counts`` is kept up. ``offered`` is called with the MAC address of firmware that ProxyDHCP has answered.
    """

    def __init__(
        self,
        *,
        started: Callable[[], None],
        delivered: Callable[[str, str], None],
        limit: LogLimit,
        root: PurePath,
        lost: Callable[[int], None] = lambda _: None,
        counts: ClientCounts | None = None,
        offered: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._started = started
        self._delivered = delivered
        self._limit = limit
        self._exchanges: OrderedDict[str, _Exchange] = OrderedDict()
        self._root = f"{root}/".replace("//", "/")
        self._broke_off: tuple[str, str] | None = None
        self._serves = False
        self._lost = lost
        self._offered = offered
        self._counts = counts or ClientCounts()

    def feed(self, line: str) -> bool:
        """Take one line; returns whether it belongs in the report of a failure."""
        found = _LINE.fullmatch(line)
        if found is None:
            self._log_limited(_log.warning, "dnsmasq", line=line)
            return True
        text = found["text"].rstrip()
        match found["part"]:
            case "tftp":
                return self._take_tftp(text)
            case "dhcp":
                return self._take_dhcp(text)
        if found["pid"] is None:
            return True  # it dies at its start
        if text.startswith("started, version"):
            self._serves = True
            self._started()
        elif lost := _LOST.fullmatch(text):
            lines = int(lost[1])
            self._lost(lines)
            self._log_limited(
                _log.warning, "dnsmasq has left lines out of its log: more came than was read", lines=lines
            )
            return False
        _log.debug("dnsmasq", line=text)
        return not self._serves  # it says there why it does not start

    def _take_tftp(self, text: str) -> bool:
        # dnsmasq says at once what became of the transfer that a client has broken off.
        broke_off, self._broke_off = self._broke_off, None
        if sent := _SENT.fullmatch(text):
            self._take_sent(sent["client"], self._find_name(sent["path"]), broke_off)
        elif missing := _MISSING.fullmatch(text):
            # A warning would be too much: firmware and iPXE try names of which most hosts have none.
            name = self._find_name(missing["path"])
            if name == NO_FILE:
                return False  # its own supervisor asks whether it is there
            self._log_limited(
                _log.info,
                "TFTP was asked for a file that is not there",
                client=missing["client"],
                file=log.escape(name),
            )
        elif gave_up := _GAVE_UP.fullmatch(text):
            # Firmware asks for the size first, and breaks off.
            self._broke_off = gave_up["client"], gave_up["reason"]
            _log.debug("a TFTP client broke off", client=gave_up["client"], reason=gave_up["reason"])
        elif failed := _FAILED.fullmatch(text):
            name = log.escape(self._find_name(failed["path"]))
            if _is_of_probe(failed["client"], broke_off):
                _log.debug("the probe has read the beginning of a file", client=failed["client"], file=name)
                return False
            self._counts.failed += 1
            self._log_limited(
                _log.warning, "TFTP could not send a file to its end", client=failed["client"], file=name
            )
        elif text.startswith("TFTP root is"):
            _log.debug("dnsmasq", line=text)
        else:
            self._log_limited(_log.warning, "TFTP", line=log.escape(text))
            return True
        return False

    def _take_sent(self, client: str, name: str, broke_off: tuple[str, str] | None) -> None:
        shown = log.escape(name)
        if _is_of_probe(client, broke_off):
            self._log_limited(_log.info, "TFTP has sent a file", client=client, file=shown, probe=True)
        elif broke_off is not None and broke_off[0] == client:
            # dnsmasq logs a transfer that was broken off before its first block as sent.
            _log.debug("TFTP was asked for a file's size", client=client, file=shown)
        else:
            self._log_limited(_log.info, "TFTP has sent a file", client=client, file=shown)
            self._delivered(client, name)

    def _find_name(self, path: str) -> str:
        """The path as it was asked for, below the TFTP directory."""
        return path.removeprefix(self._root)

    def _take_dhcp(self, text: str) -> bool:
        found = _EXCHANGE.fullmatch(text)
        if found is None:
            if text.startswith(("DHCP, proxy on subnet", "read ")):
                _log.debug("dnsmasq", line=text)
                return False
            self._log_limited(_log.warning, "ProxyDHCP", line=text)
            return True
        self._take_fact(found["number"], found["fact"])
        return False

    def _take_fact(self, number: str, fact: str) -> None:
        exchange = self._exchanges.pop(number, _Exchange())
        name, _, value = fact.partition(": ")
        match name:
            case "vendor class":
                exchange = replace(exchange, vendor_class=value)
            case "user class":
                exchange = replace(exchange, ipxe=value == "iPXE")
            case "bootfile name":
                exchange = replace(exchange, file=value)
            case "client provides name":
                exchange = replace(exchange, probe=value == PROBE_NAME)
            case "sent size":
                # The first of the answer's options: everything before them has been told. Of the others,
                # nothing is kept.
                if exchange.mac is not None:
                    self._log_exchange(exchange)
                return
            case _:
                if asked := _ASKED.fullmatch(fact):
                    exchange = replace(exchange, mac=asked["mac"])
                    if asked["what"] == _IGNORED:
                        self._log_ignored(exchange)
                        return
        self._exchanges[number] = exchange
        if len(self._exchanges) > _MAX_EXCHANGES:
            self._exchanges.popitem(last=False)

    def _log_ignored(self, exchange: _Exchange) -> None:
        fields: dict[str, object] = {"mac": exchange.mac, "vendor_class": exchange.vendor_class}
        write = _log.warning
        if exchange.probe:
            # It asks as machines of all kinds: no machine waits for an answer.
            fields["probe"] = True
            write = _log.info
        else:
            self._counts.ignored[name_architecture(exchange.vendor_class)] += 1
        self._log_limited(write, "ProxyDHCP has no boot binary for this client", **fields)

    def _log_exchange(self, exchange: _Exchange) -> None:
        fields: dict[str, object] = {
            "mac": exchange.mac,
            "vendor_class": exchange.vendor_class,
            "ipxe": exchange.ipxe,
        }
        if exchange.probe:
            fields["probe"] = True
        else:
            self._counts.offers[name_architecture(exchange.vendor_class)] += 1
            if exchange.mac is not None and not exchange.ipxe:
                self._offered(exchange.mac)
        if exchange.file is None:
            self._log_limited(_log.info, "ProxyDHCP asked a client to come to its PXE service", **fields)
        else:
            self._log_limited(_log.info, "ProxyDHCP has named a boot file", **fields, file=exchange.file)

    def _log_limited(self, write: Callable[..., None], event: str, **fields: object) -> None:
        if self._limit.take(len(event) + sum(len(str(value)) for value in fields.values())):
            write(event, **fields)


def _is_of_probe(client: str, broke_off: tuple[str, str] | None) -> bool:
    """Whether ``ectools netboot probe`` at that address broke off what dnsmasq speaks of."""
    return broke_off is not None and broke_off[0] == client and broke_off[1].startswith(PROBE_NAME)
