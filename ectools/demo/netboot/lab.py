"""A network to boot machines on: a switch, a router, a boot host and a client, each a network namespace.

switch   a bridge, with a tap for each machine
router   192.168.77.1: leases, and the boot host and file that somebody set in it (UniFi's "Network Boot")
boot     192.168.77.2: for ``ectools netboot serve``
client   192.168.77.3: for ``ectools netboot probe``
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.processes import ProcessError, ProgramMissingError, describe_exit, launch, run, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

SUBNET = "192.168.77"
NETWORK = f"{SUBNET}.0/24"
ROUTER_IP = f"{SUBNET}.1"
BOOT_IP = f"{SUBNET}.2"
CLIENT_IP = f"{SUBNET}.3"
LAN = "lan0"
"""The interface of each host on the network."""

LAB_BRIDGE = "bridge"
"""The switch's bridge, which all hosts are on."""

_IP_SECONDS = 30.0
_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


class LabError(EcError):
    """The network cannot be set up."""


@dataclass(frozen=True, kw_only=True)
class Plug:
    """Where a machine's card is plugged in: QEMU's ``-netdev`` without its id, and what QEMU has to run in.

    ``Lab.add_plug`` makes one on the switch; ``user,tftp=DIR,bootfile=NAME`` needs neither root nor lab.
    """

    netdev: str
    wrapper: tuple[str, ...] = ()
    tap: str = ""


@dataclass
class Lab:
    """The namespaces' names, with a ``tag`` that is its own; ``directory`` holds logs and leases."""

    directory: Path
    tag: str = field(default_factory=lambda: secrets.token_hex(3))
    _taps: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def switch(self) -> str:
        return f"ec-switch-{self.tag}"

    @property
    def router(self) -> str:
        return f"ec-router-{self.tag}"

    @property
    def boot(self) -> str:
        return f"ec-boot-{self.tag}"

    @property
    def client(self) -> str:
        return f"ec-client-{self.tag}"

    def inside(self, namespace: str) -> list[str]:
        """The words before a command that is to run in a namespace.

        Not ``ip netns exec``: it mounts another /sys, which may be forbidden, and nothing here reads it.
        """
        return ["nsenter", f"--net=/run/netns/{namespace}", "--"]

    def ip(self, namespace: str, *words: str) -> str:
        """What ip(8) prints in a namespace. Raises ProcessError."""
        return run([*self.inside(namespace), "ip", *words], timeout=_IP_SECONDS).stdout

    def add_bridge(self, name: str) -> None:
        """Another bridge of the switch, without a host on it yet."""
        self.ip(self.switch, "link", "add", name, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        self.ip(self.switch, "link", "set", name, "up")

    def add_plug(self, bridge: str = LAB_BRIDGE) -> Plug:
        """A new tap on a bridge of the switch, for one machine."""
        name = f"tap{next(self._taps)}"
        self.ip(self.switch, "tuntap", "add", name, "mode", "tap")
        self.ip(self.switch, "link", "set", name, "master", bridge, "up")
        netdev = f"tap,ifname={name},script=no,downscript=no"
        return Plug(netdev=netdev, wrapper=tuple(self.inside(self.switch)), tap=name)

    def count_received(self) -> dict[str, int]:
        """Tap → bytes that the machine behind it has been sent."""
        links = json.loads(self.ip(self.switch, "-json", "-statistics", "link", "show"))
        return {link["ifname"]: link["stats64"]["tx"]["bytes"] for link in links}

    def find_address(self, mac: str) -> str | None:
        """The address that the router leased to a card."""
        leases = self.directory / "leases"
        lines = leases.read_text().splitlines() if leases.exists() else []
        return next((line.split()[2] for line in lines if line.split()[1] == mac), None)

    @property
    def router_log_file(self) -> Path:
        return self.directory / "router.log"

    @property
    def router_log(self) -> str:
        """What the router's dnsmasq logged."""
        return self.router_log_file.read_text()


def make_network(lab: Lab) -> None:
    """The namespaces and the links between them; ``remove_network`` takes them away again.

    Takes root, or ``own_namespaces``, which need no taking away. Raises LabError, ProgramMissingError.
    """
    hosts = {lab.router: ROUTER_IP, lab.boot: BOOT_IP, lab.client: CLIENT_IP}
    for namespace in (lab.switch, *hosts):
        try:
            run(["ip", "netns", "add", namespace], timeout=_IP_SECONDS)
        except ProgramMissingError:
            raise
        except ProcessError as error:
            raise LabError(
                f"network namespaces cannot be made: {error.stderr.strip() or error.message}",
                hint="it takes root, and CAP_SYS_ADMIN where root is a container's",
            ) from error
        lab.ip(namespace, "link", "set", "lo", "up")
    lab.add_bridge(LAB_BRIDGE)
    for namespace, address in hosts.items():
        _plug_in(lab, namespace, address)
    # Without IPv6 in the network, iPXE of 2019 waits for it, each time that it configures its card.
    lab.ip(lab.router, "address", "add", "fd77::1/64", "dev", LAN, "nodad")


def remove_network(lab: Lab) -> None:
    """What ``make_network`` has made so far."""
    for namespace in (lab.switch, lab.router, lab.boot, lab.client):
        with contextlib.suppress(ProcessError):
            run(["ip", "netns", "delete", namespace], timeout=_IP_SECONDS)


def _plug_in(lab: Lab, namespace: str, address: str) -> None:
    port = namespace.split("-")[1]
    pair = ("link", "add", port, "type", "veth", "peer", "name", LAN, "netns", namespace)
    lab.ip(lab.switch, *pair)
    lab.ip(lab.switch, "link", "set", port, "master", LAB_BRIDGE, "up")
    lab.ip(namespace, "address", "add", f"{address}/24", "dev", LAN)
    lab.ip(namespace, "link", "set", LAN, "up")


def start_router(
    lab: Lab, *, dnsmasq: str, boot_file: str | None, end_with_parent: bool = True
) -> subprocess.Popen[bytes]:
    """The router's DHCP server, running; the caller stops it.

    ``boot_file``: it names the boot host (siaddr) and this file to every client, as UniFi's "Network Boot"
    does; None: it gives leases alone. Raises LabError where it does not start.
    """
    pid_file, errors = lab.directory / "router.pid", lab.directory / "router.stderr"
    # As root's group too: a process that changes its group forgets that it ends with its parent (prctl(2)).
    user = ("--user=root", "--group=root")
    argv = [
        *(*lab.inside(lab.router), dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"),
        *(f"--interface={LAN}", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--log-dhcp"),
        *(f"--dhcp-range={SUBNET}.100,{SUBNET}.199,10m", f"--dhcp-option=option:router,{ROUTER_IP}"),
        *(f"--dhcp-leasefile={lab.directory / 'leases'}", f"--pid-file={pid_file}", *user),
        *("--enable-ra", "--dhcp-range=fd77::,ra-only"),
        f"--log-facility={lab.router_log_file}",
        *([] if boot_file is None else [f"--dhcp-boot={boot_file},,{BOOT_IP}"]),
    ]
    with errors.open("wb") as stream:
        process = launch(argv, stdout=stream, stderr=stream, end_with_parent=end_with_parent)
    deadline = time.monotonic() + _START_SECONDS
    while not pid_file.exists():
        status = process.poll()
        if status is not None or time.monotonic() > deadline:
            stop(process, term_seconds=1)
            how = "it does not come up" if status is None else describe_exit(status)
            raise LabError(f"the router's dnsmasq: {how}\n{errors.read_text('utf-8', 'replace')}".rstrip())
        time.sleep(_POLL_SECONDS)
    return process
