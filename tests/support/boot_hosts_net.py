"""Boot hosts in network namespaces of their own, each with one link to the nodes and another one to NATS."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.needs import give_up, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class HostNet:
    """One host's: ``address`` is its own for nodes, ``nats`` where it finds the machine that NATS runs on."""

    namespace: str
    address: str
    nats: str
    state_link: str

    @property
    def wrapper(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace]

    def cut(self) -> None:
        """From now on no packet of NATS's comes or goes; nodes are served all the same."""
        run_ip("link", "set", self.state_link, "down")

    def mend(self) -> None:
        run_ip("link", "set", self.state_link, "up")


@contextlib.contextmanager
def build_host_nets(count: int) -> Iterator[list[HostNet]]:
    """The namespaces, for the length of the block. Nodes and NATS are in the caller's own."""
    require_tool("ip", "install iproute2")
    if os.geteuid() != 0:
        give_up("network namespaces are root's to make")
    with contextlib.ExitStack() as stack:
        yield [_build(stack, number) for number in range(count)]


def _build(stack: contextlib.ExitStack, number: int) -> HostNet:
    tag = secrets.token_hex(3)
    namespace = f"ec-boot-{tag}"
    made = subprocess.run(["ip", "netns", "add", namespace], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        give_up(f"network namespaces cannot be made: {made.stderr.strip()}")
    stack.callback(subprocess.run, ["ip", "netns", "delete", namespace], check=False)
    run_ip("-netns", namespace, "link", "set", "lo", "up")
    # RFC 2544's addresses, of which two tests at once seldom choose the same.
    third = secrets.randbelow(250)
    networks = {"n": f"198.18.{third}", "s": f"198.19.{third}"}
    for kind, network in networks.items():
        near, far = f"ec{kind}{tag}", f"{kind}{number}"
        run_ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
        for where, link, host in ((), near, 1), (("-netns", namespace), far, 2):
            run_ip(*where, "address", "add", f"{network}.{host}/30", "dev", link)
            run_ip(*where, "link", "set", link, "up")
    return HostNet(
        namespace=namespace,
        address=f"{networks['n']}.2",
        nats=f"{networks['s']}.1",
        state_link=f"ecs{tag}",
    )


def run_ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
