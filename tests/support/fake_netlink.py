"""A netlink, a /sys and a /dev of the test's, for the macvtap link."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyroute2

from ectools.capabilities import Capability
from ectools.vm import macvtap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

NULL = os.makedev(1, 3)  # /dev/null, which stands for the device of a link


@dataclass
class Link:
    """A network link, and what it was made with."""

    index: int
    alias: str | None = None
    flags: int = 1
    made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return {"flags": self.flags, "index": self.index}[name]

    def get_attr(self, name: str) -> str | None:
        return {"IFLA_IFALIAS": self.alias, "IFLA_ADDRESS": self.made.get("address", "02:aa:00:00:00:02")}[
            name
        ]


class Kernel:
    """Of a network: its links by name, the files that show them, the time, and this thread's capabilities."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.links = {"eth0": Link(2)}
        self.next_index = 7
        self.calls: list[tuple[str, str]] = []
        self.fails: dict[str, int] = {}
        """An error number for an operation of netlink's: ``alias``."""
        self.device = NULL
        self.slow: dict[str, float] = {}
        """When a file appears: seconds after the link was made."""
        self.permitted = {Capability.NET_ADMIN, Capability.DAC_OVERRIDE}
        self.in_force: list[Capability] = []
        self.now = 100.0
        self._later: list[tuple[float, Callable[[], object]]] = []
        (root / "dev").mkdir()
        monkeypatch.setattr(macvtap, "Path", lambda path: root / str(path).removeprefix("/"))
        monkeypatch.setattr(macvtap, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep))
        monkeypatch.setattr(macvtap, "raised", self._raised)
        monkeypatch.setattr(macvtap, "has_capability", lambda capability: capability in self.permitted)
        monkeypatch.setattr(macvtap, "forget_capability", self.permitted.remove)
        monkeypatch.setattr(pyroute2, "IPRoute", self._open)

    @contextlib.contextmanager
    def _raised(self, *capabilities: Capability) -> Iterator[None]:
        self.in_force += capabilities
        try:
            yield
        finally:
            del self.in_force[-len(capabilities) :]

    @contextlib.contextmanager
    def _open(self) -> Iterator[Kernel]:
        assert self.in_force == [Capability.NET_ADMIN]
        yield self

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for when, call in self._later:
            if when <= self.now:
                call()
        self._later = [(when, call) for when, call in self._later if when > self.now]

    def link_lookup(self, *, ifname: str) -> list[int]:
        return [self.links[ifname].index] if ifname in self.links else []

    def get_links(self, index: int | None = None) -> list[Link]:
        return [link for link in self.links.values() if index in (None, link.index)]

    def link(self, command: str, **fields: Any) -> None:
        if command == "add":
            self._fail("add")
            name = fields.pop("ifname")
            self.links[name] = Link(self.next_index, made=fields)
            self.calls.append(("add", name))
            self.show(name, self.next_index)
            self.next_index += 1
            return
        (name,) = [name for name, link in self.links.items() if link.index == fields["index"]]
        if command == "del":
            self.calls.append(("del", name))
            del self.links[name]
        elif "ifalias" in fields:
            self._fail("alias")
            self.calls.append(("alias", name))
            self.links[name].alias = fields["ifalias"]
        elif "IFLA_AF_SPEC" in fields:
            self._fail("addresses")
            ((family, mode),) = fields["IFLA_AF_SPEC"]["attrs"]
            assert (family, mode["attrs"]) == ("AF_INET6", [["IFLA_INET6_ADDR_GEN_MODE", 1]])
            self.calls.append(("no addresses", name))
        else:
            assert fields["state"] == "up"
            self._fail("up")
            self.calls.append(("up", name))

    def _fail(self, operation: str) -> None:
        if operation in self.fails:
            raise pyroute2.NetlinkError(self.fails[operation])

    def show(self, name: str, index: int) -> None:
        """The files of a link that was made, now or when ``slow`` says."""
        number = self.root / f"sys/class/net/{name}/tap{index}/dev"
        node = self.root / f"dev/tap{index}"

        def write() -> None:
            number.parent.mkdir(parents=True)
            number.write_text(f"{os.major(self.device)}:{os.minor(self.device)}\n")

        for what, call in (("number", write), ("node", lambda: node.symlink_to("/dev/null"))):
            if what in self.slow:
                self._later.append((self.now + self.slow[what], call))
            else:
                call()
