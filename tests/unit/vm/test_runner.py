"""A guest's life around its run: what is prepared in which order, signals, and the terminal afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import EcError
from ectools.vm import macvtap, runner
from ectools.vm.argv import Tap
from ectools.vm.runner import prepare, run_guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ectools.vm.settings import GuestSettings
    from ectools.vm.stop import StopRequest
    from ectools.vm.supervise import GuestPlan

TAP = Tap(fd=7, mac=None)
LAN = {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}}


class Host:
    """Where nothing can fail; ``did`` is what was done, in its order, and undone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.token: str | None = None
        self.required: bool | None = None
        self.url = ""
        self.programs: list[tuple[str, str]] = []
        self.supervise: Callable[[GuestPlan, StopRequest], Any] | None = None
        monkeypatch.setattr(runner, "find_program", self._find_program)
        monkeypatch.setattr(runner, "bind_listener", self._bind)
        monkeypatch.setattr(runner, "read_token", self._read_token)
        monkeypatch.setattr(runner, "become_guest_user", lambda _: self.did.append("user"))
        monkeypatch.setattr(runner, "check_boot_root", lambda _: self.did.append("root"))
        monkeypatch.setattr(runner, "check_loopback", self._check_loopback)
        monkeypatch.setattr(runner, "hold_disk", self._hold_disk)
        monkeypatch.setattr(runner, "hold_boot_file", self._hold_boot_file)
        monkeypatch.setattr(macvtap, "hold_macvtap", lambda *_: self._hold("tap", TAP))
        monkeypatch.setattr(runner, "supervise", self._supervise)

    def _find_program(self, name: str, *, hint: str) -> str:
        self.programs.append((name, hint))
        return f"/bin/{name}"

    @contextlib.contextmanager
    def _hold(self, what: str, value: Any = None) -> Iterator[Any]:
        self.did.append(what)
        try:
            yield value
        finally:
            self.did.append(f"-{what}")

    def _bind(self, ip: str, port: int) -> contextlib.AbstractContextManager[Any]:
        assert (ip, port) == ("127.0.0.1", 0)
        return self._hold("bind", SimpleNamespace(getsockname=lambda: ("127.0.0.1", 4711)))

    def _read_token(self, _: object) -> str | None:
        self.did.append("token")
        return self.token

    def _check_loopback(self, _: object, *, required: bool) -> None:
        self.did.append("loopback")
        self.required = required

    def _hold_disk(self, _: object, *, image_program: str) -> contextlib.AbstractContextManager[None]:
        assert image_program == "/bin/qemu-img"
        return self._hold("disk")

    def _hold_boot_file(
        self, _: object, *, url: str, token: str | None
    ) -> contextlib.AbstractContextManager[None]:
        assert token == self.token
        self.url = url
        return self._hold("boot file")

    async def _supervise(self, plan: GuestPlan, stop: StopRequest) -> None:
        self.did.append("guest")
        assert self.supervise is not None
        await self.supervise(plan, stop)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


@pytest.fixture
def settings(settings_of: Callable[..., GuestSettings]) -> GuestSettings:
    return settings_of({"boot": {"http": {"port": 0}}, **LAN})


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[Any]]:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_all_is_prepared_in_order_and_undone_in_reverse(host: Host, settings: GuestSettings) -> None:
    with prepare(settings) as plan:
        # The port and the token while it is root; the link last, when nothing else can fail.
        prepared = ["bind", "token", "user", "root", "loopback", "disk", "boot file", "tap"]
        assert host.did == prepared
        assert (plan.settings, plan.program, plan.tap) == (settings, "/bin/qemu-system-x86_64", TAP)
        assert plan.http is not None
        assert (plan.http.root, plan.http.listen.port) == (Path("/srv/netboot"), 4711)
        assert str(plan.http.listen.ip) == "127.0.0.1"
        assert (plan.secrets, plan.interactive) == ((), False)
    assert host.did[len(prepared) :] == ["-tap", "-boot file", "-disk", "-bind"]
    assert host.url == "http://10.0.2.2:4711/netboot.ipxe"
    assert host.required is False


def test_a_failure_half_way_undoes_what_was_done(
    host: Host, settings: GuestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EcError("no boot file")

    monkeypatch.setattr(runner, "hold_boot_file", fail)
    with pytest.raises(EcError, match="no boot file"), prepare(settings):
        pass
    assert host.did[-3:] == ["disk", "-disk", "-bind"]


def test_without_a_server_or_a_lan_neither_is_there(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    settings = settings_of({"boot": {"http": {"enable": False}, "chainUrl": "http://a/x"}})
    with prepare(settings, require_filter=True) as plan:
        assert (plan.http, plan.tap) == (None, None)
    assert not {"bind", "tap"} & set(host.did)
    assert host.url == "http://a/x"
    assert host.required is True


def test_a_server_of_somebody_elses_is_at_the_port_of_the_settings(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    with prepare(settings_of({"boot": {"http": {"enable": False, "port": 99}}})) as plan:
        assert plan.http is None
    assert host.url == "http://10.0.2.2:99/netboot.ipxe"


def test_a_token_is_a_secret_as_it_is_and_as_it_is_sent(host: Host, settings: GuestSettings) -> None:
    host.token = "a/b"
    with prepare(settings) as plan:
        assert plan.secrets == ("a%2Fb", "a/b")


def test_the_programs_are_the_packages_or_those_on_path(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    store = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-qemu"
    with contextlib.suppress(AssertionError), prepare(settings_of({"package": store})):
        pass
    (qemu, hint), (image, _) = host.programs
    assert (qemu, image) == (f"{store}/bin/qemu-system-x86_64", f"{store}/bin/qemu-img")
    assert "package must be a QEMU package" in hint


@pytest.mark.parametrize(
    ("serial", "tty_in", "tty_out", "interactive"),
    [
        ("mon:stdio", True, True, True),
        ("mon:stdio", False, True, False),
        ("mon:stdio", True, False, False),
        ("file:/var/log/guest", True, True, False),
    ],
)
def test_the_console_is_a_terminal_where_there_is_one(
    serial: str,
    tty_in: bool,
    tty_out: bool,
    interactive: bool,
    host: Host,
    settings_of: Callable[..., GuestSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of({"serial": serial, "boot": {"http": {"port": 0}}})
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: tty_in))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: tty_out))
    with prepare(settings) as plan:
        assert plan.interactive is interactive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_guest_runs_asks_it_to_stop(
    number: signal.Signals, host: Host, settings: GuestSettings
) -> None:
    async def guest(_: GuestPlan, stop: StopRequest) -> None:
        signal.raise_signal(number)
        async with asyncio.timeout(60):
            await stop.requested.wait()
            signal.raise_signal(number)  # a second one: the next step
            await stop.hurried()

    host.supervise = guest
    assert run_guest(settings, require_filter=True) == 0
    assert host.required is True
    assert host.did[-5:] == ["guest", "-tap", "-boot file", "-disk", "-bind"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_preparation_ends_it_in_order(
    number: signal.Signals,
    host: Host,
    settings: GuestSettings,
    monkeypatch: pytest.MonkeyPatch,
    told: Any,
) -> None:
    def ask_twice(*_: object) -> contextlib.AbstractContextManager[None]:
        # What is left is to clean up: a second signal does not cut it short.
        @contextlib.contextmanager
        def hold() -> Iterator[None]:
            try:
                signal.raise_signal(number)
                yield
            finally:
                signal.raise_signal(number)
                host.did.append("cleaned up")

        return hold()

    monkeypatch.setattr(macvtap, "hold_macvtap", ask_twice)
    assert run_guest(settings) == 0
    assert host.did[-4:] == ["cleaned up", "-boot file", "-disk", "-bind"]
    assert told.take() == [("info", "stopped before the guest was started", {})]


def test_signals_after_the_guest_do_not_cut_the_end_short(
    host: Host, settings: GuestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def guest(*_: object) -> None:
        raise EcError("the guest is broken")

    @contextlib.contextmanager
    def hold(*_: object) -> Iterator[None]:
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(number)
            host.did.append("cleaned up")

    host.supervise = guest
    monkeypatch.setattr(macvtap, "hold_macvtap", hold)
    with pytest.raises(EcError, match="the guest is broken"):
        run_guest(settings)
    assert host.did[-4:] == ["cleaned up", "-boot file", "-disk", "-bind"]


def test_a_terminal_is_as_it_was(
    host: Host, settings: GuestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, terminal = os.openpty()
    with os.fdopen(ours, "wb"), os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        before = termios.tcgetattr(terminal)

        async def guest(*_: object) -> None:
            raw = termios.tcgetattr(terminal)
            raw[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(terminal, termios.TCSANOW, raw)
            assert termios.tcgetattr(terminal) != before

        host.supervise = guest
        assert run_guest(settings) == 0
        assert termios.tcgetattr(terminal) == before


def test_what_nobody_looks_at_is_in_the_log(host: Host, settings: GuestSettings, told: Any) -> None:
    async def guest(*_: object) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    host.supervise = guest
    run_guest(settings)
    assert [fields["reason"] for _, _, fields in told.take() if "reason" in fields] == [
        "ZeroDivisionError: division by zero"
    ]
