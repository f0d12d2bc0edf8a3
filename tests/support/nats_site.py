"""Boot hosts in network namespaces that share one fleet over NATS."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from support.boot_hosts_net import HostNet, build_host_nets
from support.boot_service import Service, boot_service, stage, write_fleet_settings
from support.nats_servers import NatsServer, start_nats

from ectools.netboot.release.pins import pin
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Site:
    """The hosts of one site, of which each has two releases. ``start`` and ``kill`` are of one of them."""

    port = 8080

    def __init__(
        self,
        directory: Path,
        nets: Sequence[HostNet],
        nats: NatsServer,
        nodes: Sequence[str],
        *,
        initrd: bytes,
    ) -> None:
        self.initrd = initrd
        self.directory = directory
        self.nets = nets
        self.nats = nats
        self.services: dict[int, Service] = {}
        self._stacks: dict[int, contextlib.ExitStack] = {}
        self.settings = [self._prepare(number, nodes) for number in range(len(nets))]

    def _prepare(self, number: int, nodes: Sequence[str]) -> Path:
        directory = self.directory / f"boot-{number}"
        state = directory / "state"
        state.mkdir(parents=True)
        self.before, self.after = (
            stage(state, {"bzImage": f"kernel {which}".encode() * 100, "initrd": self.initrd})
            for which in (1, 2)
        )
        pin(ReleaseStore(state), self.before.id)
        fleet = {
            "groups": {"runners": {"release": self.before.id}},
            "nodes": {
                name: {"group": "runners", "match": {"mac": [find_mac(at)]}} for at, name in enumerate(nodes)
            },
            "state": f"nats://{self.nets[number].nats}:{self.nats.port}",
            "hostName": f"boot-{number}",
        }
        path = write_fleet_settings(directory, fleet)
        raw = json.loads(path.read_text())
        address = self.nets[number].address
        raw |= {"listenIP": address, "hostname": address, "httpPort": self.port}
        raw["fleet"]["listen"] = f"{address}:9090"
        path.write_text(json.dumps(raw))
        return path

    def sock(self, number: int) -> Path:
        return self.directory / f"{number}.sock"

    def start(self, number: int) -> None:
        stack = self._stacks[number] = contextlib.ExitStack()
        arguments = ("--control-socket", str(self.sock(number)))
        service = boot_service(self.settings[number], wrapper=self.nets[number].wrapper, arguments=arguments)
        self.services[number] = stack.enter_context(service)

    def kill(self, number: int) -> None:
        self.services[number].process.send_signal(signal.SIGKILL)
        self.services[number].process.wait()
        self._stacks.pop(number).close()

    def close(self) -> None:
        for stack in self._stacks.values():
            stack.close()


def find_mac(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


@contextlib.contextmanager
def start_site(
    directory: Path, origin: str, nodes: Sequence[str], *, hosts: int = 3, initrd: bytes = b"initrd"
) -> Iterator[Site]:
    """``origin``: of its NATS server (``find_nats``)."""
    with (
        build_host_nets(hosts) as nets,
        start_nats(directory / "nats", origin, host="0.0.0.0") as nats,
    ):
        site = Site(directory, nets, nats, nodes, initrd=initrd)
        try:
            for number in range(hosts):
                site.start(number)
            yield site
        finally:
            site.close()
