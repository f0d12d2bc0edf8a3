"""What is booted in the matrix: by which firmware, who answers it, what is wrong.

There is one network for each of the last two, in which each firmware boots.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from support.boot_host import BOOT_FILE, TOKEN, BootHost, serve_in
from support.guests import wait_until
from support.netboot_clients import BOOT_SECONDS, Client, Firmware, start_client
from support.netboot_lab import build_netboot_lab, run

from ectools.demo.payload import UP_MARK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.netboot_lab import Lab

MARK = "matrix"
UP = f"{UP_MARK} {MARK}"
END = "every.channel: rebooting in"
"""The last that a boot script shows after its error."""
ATTEMPTS = 2
_ATTEMPTS_AT_RESTART = 8
"""The server may take a while to be there again."""
PADDING = 24 << 20
"""What makes the initrd of the case RESTART long enough to be in the middle of it."""
_RATE = "40mbit"


class Mode(StrEnum):
    """Who answers: a router that names the boot host (UniFi's "Network Boot"), a proxy, or both."""

    UNIFI = "UniFi alone"
    PROXY = "ProxyDHCP"
    BOTH = "UniFi and ProxyDHCP"


class Case(StrEnum):
    GOOD = "good"
    TAMPERED = "kernel tampered"
    TOKEN = "wrong token"
    RESTART = "server killed during the initrd"


OUT_OF_REACH = {
    (Firmware.SEABIOS, Mode.UNIFI): "a router names one file to all, and that is a UEFI program",
    (
        Firmware.SEABIOS,
        Mode.BOTH,
    ): "QEMU's PXE ROM is an iPXE, which takes the router's file before the proxy's",
    (
        Firmware.OVMF_HTTP,
        Mode.UNIFI,
    ): "the firmware takes no answer but an HTTPClient's, and a router gives none",
}
"""What a firmware cannot do, and why. The case GOOD shows that it is so."""


EXPECTED = {
    Case.GOOD: "boots, in one load of the first stage",
    Case.TAMPERED: "refuses: wrong SHA-256: not what was staged",
    Case.TOKEN: "refuses: not allowed from here, or another token is needed",
    Case.RESTART: "boots, in one load of the first stage and two of the initrd",
}


def describe(firmware: Firmware, mode: Mode, case: Case) -> str:
    """What must happen in a cell."""
    if (firmware, mode) in OUT_OF_REACH:
        return f"cannot: {OUT_OF_REACH[firmware, mode]}"
    if firmware is Firmware.SEABIOS and case is Case.TAMPERED:
        return "boots, and says that its iPXE, of 2019, verifies nothing"
    return EXPECTED[case]


def list_firmware(mode: Mode, case: Case) -> list[Firmware]:
    """What is started in a network: all that can boot there, and once what cannot."""
    return [each for each in Firmware if (each, mode) not in OUT_OF_REACH or case is Case.GOOD]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One machine's boot: what its console showed, its addresses, and the servers' logs."""

    console: str
    mac: str
    address: str | None
    host: BootHost
    router_log: str

    def shows(self, text: str) -> bool:
        """Over broken lines too."""
        return text in self.console.replace("\n", "")

    def requests(self, *path_ends: str) -> list[tuple[str, int, bool]]:
        """Name, status, whether it was sent whole, of its GETs of files whose paths end so."""
        return [
            (entry["path"].rpartition("/")[2], entry["status"], "aborted" not in entry)
            for entry in self.host.events("request", peer=self.address, method="GET")
            if entry["path"].endswith(path_ends)
        ]


def run_network(directory: Path, template: BootHost, mode: Mode, case: Case) -> dict[Firmware, Outcome]:
    """Set a network up, boot each firmware in it at the same time, and wait for how each boot ends."""
    host = BootHost(directory / "host")
    host.directory.mkdir(parents=True)
    attempts = _ATTEMPTS_AT_RESTART if case is Case.RESTART else ATTEMPTS
    host.write_settings(proxy=mode is not Mode.UNIFI, attempts=attempts)
    host.copy_releases(template)
    if case is Case.TOKEN:
        host.write_token("of-last-week")
    host.write_boot_files()
    host.write_token(TOKEN)
    if case is Case.TAMPERED:
        _tamper(host.find_file("kernel"))
    boot_file = None if mode is Mode.PROXY else BOOT_FILE
    with build_netboot_lab(directory, boot_file=boot_file) as lab, serve_in(lab, host):
        if case is Case.RESTART:
            _slow_down(lab)
        clients = {}
        with contextlib.ExitStack() as stack:
            for index, firmware in enumerate(list_firmware(mode, case)):
                own = directory / firmware.name
                own.mkdir()
                mac = f"52:54:00:00:00:{index + 1:02x}"
                client = stack.enter_context(start_client(lab.add_plug(), firmware, own, mac=mac))
                clients[firmware] = client
            if case is Case.RESTART:
                _kill_during_initrd(lab, host, list(clients.values()))
            for firmware, client in clients.items():
                _wait_for_end(lab, client, cannot=(firmware, mode) in OUT_OF_REACH)
                # It would go on taking the processor's time.
                client.process.kill()
        return {
            firmware: Outcome(
                console=client.console,
                mac=client.mac,
                address=lab.find_address(client.mac),
                host=host,
                router_log=lab.router_log,
            )
            for firmware, client in clients.items()
        }


def _tamper(kernel: Path) -> None:
    """Change one bit of the padding at a kernel's end: it still boots where nobody looks."""
    data = bytearray(kernel.read_bytes())
    data[-1] ^= 1
    kernel.unlink()
    kernel.write_bytes(data)


def _slow_down(lab: Lab) -> None:
    """A boot host behind a slow port: an initrd takes seconds."""
    shape = ["root", "tbf", "rate", _RATE, "burst", "64kb", "latency", "200ms"]
    run([*lab.inside(lab.boot), "tc", "qdisc", "add", "dev", "lan0", *shape])


def _kill_during_initrd(lab: Lab, host: BootHost, clients: Sequence[Client]) -> None:
    """Kill the server, and start another one, until each client was in the middle of its initrd once."""
    begun: dict[str, int] = {}
    unhurt = list(clients)
    deadline = time.monotonic() + BOOT_SECONDS
    while unhurt:
        assert time.monotonic() < deadline, "\n".join(client.console for client in unhurt)
        received = lab.count_received()
        for client in unhurt:
            address = lab.find_address(client.mac)
            if host.events("a node has fetched a boot file", client=address, file="kernel"):
                begun.setdefault(client.mac, received[client.plug.tap])
        share = {
            client.mac: (received[client.plug.tap] - begun[client.mac]) / PADDING
            for client in unhurt
            if client.mac in begun
        }
        # A socket's buffer is delivered even when its process is dead: the last of a kernel, or of an initrd.
        assert all(part < 0.8 for part in share.values()), f"not seen in time: {share}"
        if any(part > 0.3 for part in share.values()):
            host.kill()
            host.start(lab)
            unhurt = [client for client in unhurt if share.get(client.mac, 0) < 0.2]
        time.sleep(0.05)


def _wait_for_end(lab: Lab, client: Client, *, cannot: bool) -> None:
    """Until the guest is up, or its boot script has given up; or until it is clear that nothing will come."""
    if not cannot:
        if client.wait_for(UP, END) == UP:
            client.wait_for_line(UP)
    elif client.firmware is Firmware.SEABIOS:
        client.wait_for(UP, "No bootable device")
    else:
        asked = re.compile(rf"DHCPDISCOVER\(\S+\) {client.mac}")
        wait_until(
            lambda: len(asked.findall(lab.router_log)) > 1, "it asks a second time", seconds=BOOT_SECONDS
        )
