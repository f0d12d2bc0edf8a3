"""What the guest may reach of the loopback: found in the settings, and said as rules."""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import pwd
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from support.golden import compare

from ectools.cli.vm import COMMAND
from ectools.errors import InputError
from ectools.vm import loopback_filter
from ectools.vm.loopback import build_rules, find_openings, find_unfiltered
from ectools.vm.loopback_filter import LoopbackError, build_filter, check_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings

EXAMPLE = Path(__file__).parents[3] / "examples/ipxe-qemu.json"

SERVER = "tcp 127.0.0.1/32 8080"
DNS = {f"{protocol} {net} 53" for protocol in ("tcp", "udp") for net in ("127.0.0.0/8", "::1/128")}


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        ({}, {SERVER}),
        ({"http": {"port": 80}}, {"tcp 127.0.0.1/32 80"}),
        ({"http": {"bindIp": "0.0.0.0"}}, {SERVER}),
        ({"http": {"bindIp": "::"}}, {SERVER, "tcp ::1/128 8080"}),
        # The guest reaches another address by itself, and not over the loopback's.
        ({"http": {"bindIp": "192.0.2.1"}}, set()),
        ({"http": {"bindIp": "127.0.0.7"}, "chainUrl": "http://a/b"}, {"tcp 127.0.0.7/32 8080"}),
        ({"http": {"bindIp": "::1"}, "chainUrl": "http://a/b"}, {"tcp ::1/128 8080"}),
        ({"http": {"enable": False}, "chainUrl": "http://a/b"}, set()),
        ({"chainUrl": "http://10.0.2.2:8080/netboot.ipxe"}, {SERVER}),
        ({"chainUrl": "http://10.0.2.2:9000/b"}, {SERVER, "tcp 127.0.0.1/32 9000"}),
        ({"chainUrl": "http://10.0.2.2/b"}, {SERVER, "tcp 127.0.0.1/32 80"}),
        ({"chainUrl": "https://10.0.2.2/b"}, {SERVER, "tcp 127.0.0.1/32 443"}),
        ({"chainUrl": "http://[fec0::2]:9000/b"}, {SERVER, "tcp ::1/128 9000"}),
        # QEMU serves TFTP itself, and 127.0.0.1 is the guest's own.
        ({"chainUrl": "tftp://10.0.2.2/b"}, {SERVER}),
        ({"chainUrl": "http://127.0.0.1:9000/b"}, {SERVER}),
        ({"userNet": {"dnsServers": ["10.0.2.3"]}}, {SERVER, *DNS}),
        (
            {"userNet": {"dnsServers": ["127.0.0.53", "10.0.2.3"]}},
            {SERVER, "tcp 127.0.0.53/32 53", "udp 127.0.0.53/32 53"},
        ),
    ],
)
def test_open_is_what_the_settings_name(
    boot: dict[str, Any], expected: set[str], settings_of: Callable[..., GuestSettings]
) -> None:
    found = find_openings(settings_of({"boot": boot}).boot)
    assert len(found) == len(set(found))
    assert {f"{opening.protocol} {opening.network} {opening.port}" for opening in found} == expected


def test_the_rules_are_these(settings_of: Callable[..., GuestSettings]) -> None:
    boot = {"http": {"bindIp": "::"}, "userNet": {"dnsServers": ["10.0.2.3"]}}
    compare("vm/loopback.nft", build_rules(find_openings(settings_of({"boot": boot}).boot), uid=994))


def test_a_port_that_is_not_known_beforehand_is_refused(settings_of: Callable[..., GuestSettings]) -> None:
    settings = settings_of({"boot": {"http": {"port": 0}}})
    with pytest.raises(InputError, match=r"boot\.http\.port: 0"):
        build_filter(settings, uid=994)


@pytest.mark.parametrize("command", ["loopback-filter", "lan-link"])
def test_the_user_must_be_one_and_not_root(command: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.json"
    config.write_text(
        '{"boot": {"http": {"root": "/"}}, "lan": {"enable": true, "macvtap": {"interface": "x"}}}'
    )
    for user, reason in (("nobody of that name", "no such user"), ("root", "does not run as root")):
        result = CliRunner().invoke(COMMAND, [command, "--config", str(config), "--user", user])
        assert isinstance(result.exception, InputError)
        assert reason in result.exception.message


def test_this_users_loopback_is_open() -> None:
    assert find_unfiltered() == "127.0.0.1"


def test_an_open_loopback_is_an_error_where_the_filter_is_required_and_else_a_warning(
    settings_of: Callable[..., GuestSettings],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of({})
    with pytest.raises(LoopbackError, match="every service on this host's loopback"):
        check_loopback(settings, required=True)
    check_loopback(settings, required=False)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    caplog.clear()
    check_loopback(settings_of({"boot": {"userNet": {"hostLoopback": "all"}}}), required=True)
    monkeypatch.setattr(loopback_filter, "find_unfiltered", lambda: None)
    check_loopback(settings, required=True)
    assert caplog.records == []


def test_the_rules_can_be_printed() -> None:
    user = getpass.getuser() if getpass.getuser() != "root" else "daemon"
    arguments = ["loopback-filter", "--config", str(EXAMPLE), "--user", user, "--print"]
    result = CliRunner().invoke(COMMAND, arguments)
    assert result.exit_code == 0
    assert f"meta skuid {pwd.getpwnam(user).pw_uid} ip daddr 127.0.0.0/8" in result.stdout
    assert "tcp dport 8080 accept" in result.stdout


class Kernel:
    """TCP, as far as a loopback is tried: the error number for each call of an address family."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: dict[tuple[str, int], int] = {}
        self.did: list[tuple[object, ...]] = []
        monkeypatch.setattr(socket, "socket", self._open)

    def _open(self, family: int, kind: int) -> Socket:
        assert kind == socket.SOCK_STREAM
        self.fail("socket", family)
        return Socket(self, family)

    def fail(self, call: str, family: int) -> None:
        if number := self.errors.get((call, family)):
            raise OSError(number, os.strerror(number))


class Socket(contextlib.AbstractContextManager["Socket"]):
    def __init__(self, kernel: Kernel, family: int) -> None:
        self._kernel, self._family = kernel, family

    def __exit__(self, *_: object) -> None:
        self._kernel.did.append(("close",))

    def bind(self, address: tuple[str, int]) -> None:
        self._kernel.fail("bind", self._family)
        self._kernel.did.append(("bind", *address))

    def listen(self, backlog: int) -> None:
        self._kernel.did.append(("listen", backlog))

    def settimeout(self, seconds: float) -> None:
        self._kernel.did.append(("timeout", seconds))

    def getsockname(self) -> tuple[str, int]:
        return "any", 4711

    def connect(self, address: tuple[str, int]) -> None:
        assert address == ("any", 4711)
        self._kernel.fail("connect", self._family)


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ({}, "127.0.0.1"),
        ({("connect", socket.AF_INET): errno.ECONNREFUSED}, "::1"),
        (
            dict.fromkeys([("connect", socket.AF_INET), ("connect", socket.AF_INET6)], errno.ECONNREFUSED),
            None,
        ),
        (
            {("connect", socket.AF_INET): errno.ETIMEDOUT, ("bind", socket.AF_INET6): errno.EADDRNOTAVAIL},
            None,
        ),
        (
            {("connect", socket.AF_INET): errno.EPERM, ("socket", socket.AF_INET6): errno.EAFNOSUPPORT},
            None,
        ),
    ],
)
def test_each_loopback_of_the_host_is_tried(
    errors: dict[tuple[str, int], int], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(monkeypatch)
    kernel.errors = errors
    assert find_unfiltered() == found
    assert kernel.did[:3] == [("bind", "127.0.0.1", 0), ("listen", 1), ("timeout", 5.0)]
    assert kernel.did.count(("close",)) % 2 == (("bind", socket.AF_INET6) in errors)


def test_a_loopback_that_cannot_be_tried_is_not_taken_for_a_filtered_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch)
    kernel.errors = {("bind", socket.AF_INET): errno.ENOBUFS}
    with pytest.raises(OSError, match="No buffer space available"):
        find_unfiltered()
