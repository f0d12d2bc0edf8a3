"""The rules for the loopback in a kernel: in a network namespace, on a user of this machine.

What a guest gets from them, and their unit, is in eval/test_units_on_systemd_loopback.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import wait_until
from support.needs import give_up, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns

USER, UID = "daemon", 1
TABLE = f"every-channel-guest-{UID}"
HOLD = [sys.executable, "-m", "ectools.cli.main", "vm", "loopback-filter", "--user", USER]

# Listens everywhere on three ports, TCP and UDP; then says what a user reaches of the addresses.
TRY = """
import json, os, socket, sys
kept = []
for port in (53, 8080, 9001):
    kept.append(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
    kept.append(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    kept[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    kept[-1].bind(("::", port))
os.setgroups([])
os.setgid(65534)
os.setuid(int(sys.argv[1]))
reached = []
for text in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    for port in (53, 8080, 9001):
        for protocol, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
            with socket.socket(family, kind) as client:
                client.settimeout(20)
                try:
                    client.connect((text, port))
                    client.send(b"x")
                except OSError:
                    continue
                reached.append(f"{protocol} {text} {port}")
print(json.dumps(reached))
"""
ADDRESSES = ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "192.0.2.1")


@dataclass(frozen=True)
class Place:
    """A network namespace with a loopback and an address of its own."""

    process: subprocess.Popen[str]
    directory: Path

    def wrap(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", "--", *argv]

    def run(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(self.wrap(*argv), capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, (argv, done.stderr)
        return done.stdout

    def reach(self, uid: int) -> set[str]:
        """What a user reaches: protocol, address, port."""
        return set(json.loads(self.run("/usr/bin/python3", "-c", TRY, str(uid), *ADDRESSES)))

    def write(self, boot: dict[str, Any]) -> list[str]:
        """The arguments for a settings file."""
        path = self.directory / "settings.json"
        http = {"root": "/srv/netboot", **boot.get("http", {})}
        path.write_text(json.dumps({"boot": {**boot, "http": http}}))
        return ["--config", str(path)]

    def has_table(self) -> bool:
        return TABLE in self.run("nft", "list", "tables")

    @contextlib.contextmanager
    def hold(self, boot: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
        """The filter for the length of the block."""
        with (self.directory / "stderr").open("wb") as errors:
            child = subprocess.Popen(self.wrap(*HOLD, *self.write(boot)), stderr=errors)
        try:
            wait_until(lambda: self.has_table() or child.poll() is not None, seconds=60, what="the rules")
            assert child.poll() is None, (self.directory / "stderr").read_text()
            yield child
        finally:
            child.kill()
            child.wait()
            # Its nft dies after it, and the table with that.
            wait_until(lambda: not self.has_table(), seconds=60, what="no rules")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    require_tool("nft", "install nftables")
    require_tool("nsenter", "install util-linux")
    if os.geteuid() != 0:
        give_up("network namespaces are made as root")
    script = "ip link set lo up && ip address add 192.0.2.1/32 dev lo && echo up && exec sleep infinity"
    argv = [require_tool("unshare", "install util-linux"), "--net", "--kill-child", "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "up\n":
                give_up("this kernel lets root make no network namespace")
            yield Place(process, tmp_path)
        finally:
            process.kill()


def test_the_user_keeps_what_the_settings_name_and_all_that_is_not_loopback(place: Place) -> None:
    everything = {
        f"{protocol} {address} {port}"
        for protocol in ("tcp", "udp")
        for address in ADDRESSES
        for port in (53, 8080, 9001)
    }
    assert place.reach(UID) == everything
    outside = {entry for entry in everything if " 192.0.2.1 " in entry}
    # Three ways to say 127.0.0.1.
    server = {f"tcp {address} 8080" for address in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1")}
    with place.hold({}):
        assert place.reach(UID) == outside | server
        assert place.reach(UID + 1) == everything
    dns = {entry for entry in everything if entry.endswith(" 53")}
    with place.hold({"http": {"bindIp": "::"}, "userNet": {"dnsServers": ["10.0.2.3"]}}):
        assert place.reach(UID) == outside | server | {"tcp ::1 8080", "tcp :: 8080"} | dns


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_rules_go_with_their_process_and_not_before(place: Place, number: signal.Signals) -> None:
    with place.hold({}) as child:
        place.run("nft", "flush", "ruleset")
        place.run("nft", "delete", "table", "inet", TABLE, check=False)
        assert place.has_table()
        child.send_signal(number)
        assert child.wait(60) == (-number if number is signal.SIGKILL else 0)
        wait_until(lambda: not place.has_table(), seconds=60, what="no rules")


def test_what_another_program_left_under_the_name_is_replaced(place: Place) -> None:
    place.run("nft", "add", "table", "inet", TABLE)
    with place.hold({}) as child:
        wait_until(
            lambda: "loopback" in place.run("nft", "list", "table", "inet", TABLE), seconds=60, what="rules"
        )
        assert child.poll() is None


def test_a_second_filter_for_a_user_is_refused_and_changes_nothing(place: Place) -> None:
    with place.hold({}):
        before = place.run("nft", "list", "ruleset")
        argv = place.wrap(*HOLD, *place.write({"http": {"port": 9001}}))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        assert "cannot be loaded; nft: Could not process rule: Operation not permitted" in done.stderr
        assert TABLE in done.stderr
        assert place.run("nft", "list", "ruleset") == before


def test_without_the_right_to_it_says_so(place: Place) -> None:
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"]
    argv = place.wrap(*drop, *HOLD, *place.write({}))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "CAP_NET_ADMIN" in done.stderr
    assert not place.has_table()


def test_it_leaves_no_history_of_its_commands(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place.directory / "home"))
    (place.directory / "home").mkdir()
    with place.hold({}) as child:
        child.terminate()
        child.wait(60)
    assert list((place.directory / "home").iterdir()) == []
