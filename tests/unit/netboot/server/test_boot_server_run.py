"""The boot server's life, with dnsmasq's place taken: start, look after itself, reload, stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_dnsmasq import FakeDnsmasq, ServiceManager, signals_restored
from support.free_port import choose_port
from support.served_case import LOOPBACK, ServedCase, build_settings
from support.staged import make_release, put_release

from ectools.capabilities import Capability
from ectools.errors import EcError
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.dnsmasq.model import build_boot_services, build_filenames
from ectools.netboot.dnsmasq.plan import DnsmasqPlan
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.server import HttpServer
from ectools.netboot.server import boot_records, plan
from ectools.netboot.server import run as module
from ectools.netboot.server.run import Ready, serve_boot
from ectools.netboot.settings.model import ProxyDhcp
from ectools.parsing import ListenAddress
from ectools.supervision import ChildFailedError, ChildState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from ectools.netboot.settings.model import ServerSettings

GRANTS = (Capability.NET_ADMIN,)


class Case(ServedCase):
    """A boot server on a free port. ``scenario`` runs once it is ready, and then it is asked to stop."""

    def __init__(self, directory: Path, manager: ServiceManager) -> None:
        super().__init__(directory, manager)
        self.directory = directory
        self.ready: list[Ready] = []

    def serve(
        self,
        scenario: Callable[[Ready], Coroutine[Any, Any, None]] | None = None,
        *,
        reports: Path | None = None,
        stops: bool = True,
    ) -> None:
        started: list[asyncio.Task[None]] = []

        async def play(ready: Ready) -> None:
            try:
                async with asyncio.timeout(60):
                    if scenario is not None:
                        await scenario(ready)
            finally:
                if stops:
                    os.kill(os.getpid(), signal.SIGTERM)

        def on_ready(ready: Ready) -> None:
            self.ready.append(ready)
            started.append(asyncio.get_running_loop().create_task(play(ready)))

        with signals_restored():
            serve_boot(self.load, on_ready=on_ready, dnsmasq_reports=reports)
        for task in started:
            task.result()


def build_plan(settings: ServerSettings) -> DnsmasqPlan:
    services = build_boot_services(settings, present=frozenset(build_filenames(settings).values()))
    return DnsmasqPlan(
        program="dnsmasq", services=services, configuration=f"host {settings.hostname}", directories=()
    )


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    (tmp_path / "state").mkdir()
    manager = ServiceManager(tmp_path / "notify", monkeypatch)
    case = Case(tmp_path / "state", manager)

    def note(name: str) -> Callable[..., None]:
        return lambda *_words, **_more: case.calls.append(name)

    def become(_: ServerSettings, *, with_dnsmasq: bool) -> tuple[Capability, ...]:
        case.calls.append(f"user, dnsmasq {with_dnsmasq}")
        return GRANTS if with_dnsmasq else ()

    monkeypatch.setattr(module, "become_boot_user", become)
    monkeypatch.setattr(module, "check_host", note("host"))
    monkeypatch.setattr(module, "check_address", note("address"))
    monkeypatch.setattr(module, "settle_memory", note("memory"))
    monkeypatch.setattr(plan, "build_plan", build_plan)
    monkeypatch.setattr(module, "Dnsmasq", FakeDnsmasq)

    def bind(ip: str, port: int) -> socket.socket:
        case.calls.append(f"bind {ip}:{port}")
        return bind_listener(ip, 0)

    monkeypatch.setattr(module, "bind_listener", bind)
    yield case
    manager.close()


async def get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_the_health_report_names_what_fails_again_and_again(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The boot port answers 200 all the same: its watchdog asks there."""
    monkeypatch.setattr(boot_records, "_EXPIRE_SECONDS", 0.001)

    async def fail(_: BootRegister) -> None:
        raise TypeError

    monkeypatch.setattr(BootRegister, "expire", fail)

    async def scenario(ready: Ready) -> None:
        while True:
            case.manager.messages()  # its queue is short
            answer = await get(ready.port, "/healthz")
            assert answer.startswith(b"HTTP/1.1 200 ")
            report = json.loads(answer.partition(b"\r\n\r\n")[2])
            if report["status"] == "degraded":
                break
            await asyncio.sleep(0.01)
        assert report["failing"] == ["looks for boots that have failed"]

    case.serve(scenario)


def test_from_the_start_to_the_end(case: Case) -> None:
    async def scenario(ready: Ready) -> None:
        await case.until(lambda: "WATCHDOG=1" in case.manager.messages())
        answer = await get(ready.port, "/healthz")
        report = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert report["status"] == "ok"
        assert report["release"] is None
        assert report["dnsmasq"] == "running"
        assert report["dnsmasq_restarts"] == 3
        assert report["proxy_dhcp"] is False

    case.serve(scenario)
    assert case.calls == ["user, dnsmasq True", "host", "bind 127.0.0.1:8080", "memory"]
    (ready,) = case.ready
    assert ready == Ready(url=f"http://192.0.2.10:{ready.port}/", ip=LOOPBACK, port=ready.port, release=None)
    assert ready.port != 0
    dnsmasq = FakeDnsmasq.last
    assert dnsmasq.grants == GRANTS
    assert dnsmasq.table._name.endswith("_127_0_0_1")
    assert dnsmasq.has_stopped
    messages = case.manager.messages()
    assert messages[:2] == ["STATUS=starting", "READY=1"]
    assert messages[-1] == "STOPPING=1"
    assert "STATUS=no release is staged; dnsmasq is running; 0 boots" in messages
    (missing,) = case.lines("no release is staged")
    assert (missing["level"], missing["state_dir"]) == ("warning", str(case.directory))
    (line,) = case.lines("the boot server is ready")
    assert (line["ip"], line["port"], line["url"]) == (LOOPBACK, ready.port, ready.url)
    assert len(case.lines("stopping: downloads in flight may end")) == 1
    assert [line["dropped"] for line in case.lines("has stopped")] == [0]


def test_a_staged_release_is_served_from_the_start(case: Case) -> None:
    release = make_release()
    put_release(case.directory, release, {"bzImage": b"kernel", "initrd": b"initrd"})

    async def scenario(ready: Ready) -> None:
        assert ready.release == release.id
        assert (await get(ready.port, "/bzImage")).endswith(b"\r\n\r\nkernel")
        FakeDnsmasq.last.delivered("192.0.2.7", "ec-ipxe.efi")
        await case.until(lambda: any(release.title in each for each in case.manager.messages()))

    case.serve(scenario)
    assert case.lines("no release is staged") == []
    assert f"STATUS=serving {release.title}; dnsmasq is running; 0 boots" in case.manager.messages()


def test_dnsmasq_in_another_process(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reports come to a socket; this process needs none of its rights, ports and programs."""
    reports = tmp_path / "reports"
    monkeypatch.setattr(plan, "build_plan", None)

    async def scenario(ready: Ready) -> None:
        report = json.loads((await get(ready.port, "/healthz")).partition(b"\r\n\r\n")[2])
        assert report["dnsmasq"] == "unknown"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(json.dumps({"state": "running", "restarts": 5}).encode(), str(reports))
        await asyncio.sleep(0)
        report = json.loads((await get(ready.port, "/healthz")).partition(b"\r\n\r\n")[2])
        assert (report["dnsmasq"], report["dnsmasq_restarts"]) == ("running", 5)
        # A reload asks nothing of this host either.
        os.kill(os.getpid(), signal.SIGHUP)
        await case.until(lambda: bool(case.lines("have been read again")))

    case.serve(scenario, reports=reports)
    assert case.calls == ["user, dnsmasq False", "address", "bind 127.0.0.1:8080", "memory"]


def test_dnsmasq_that_is_given_up_ends_the_server(case: Case) -> None:
    async def scenario(_: Ready) -> None:
        FakeDnsmasq.last.ended.set_exception(ChildFailedError("dnsmasq died 6 times in a row"))

    with pytest.raises(ChildFailedError, match="6 times"):
        case.serve(scenario, stops=False)
    assert case.manager.messages()[-1] == "STOPPING=1"
    assert len(case.lines("has stopped")) == 1


def test_a_stop_before_dnsmasq_serves_announces_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    start = HttpServer.start

    def stop_at_once(self: HttpServer) -> tuple[str, int]:
        # As a signal that comes while dnsmasq is waited for.
        address = start(self)
        FakeDnsmasq.last.running = stopped  # type: ignore[method-assign]
        return address

    def stopped(*, unless: asyncio.Event) -> Any:
        unless.set()
        return FakeDnsmasq.running(FakeDnsmasq.last, unless=unless)

    monkeypatch.setattr(HttpServer, "start", stop_at_once)
    case.serve()
    assert case.ready == []
    assert case.manager.messages() == ["STATUS=starting", "STOPPING=1"]


def test_a_second_signal_drops_downloads(case: Case) -> None:
    release = make_release({"bzImage": bytes(64 << 20), "initrd": b"i"})
    put_release(case.directory, release, {"bzImage": bytes(64 << 20), "initrd": b"i"})

    async def scenario(ready: Ready) -> None:
        client = socket.create_connection((LOOPBACK, ready.port))
        client.setblocking(False)
        client.send(b"GET /bzImage HTTP/1.1\r\nHost: b\r\n\r\n")
        await asyncio.get_running_loop().sock_recv(client, 10)  # it has begun
        os.kill(os.getpid(), signal.SIGTERM)
        await case.until(lambda: bool(case.lines("stopping")))
        os.kill(os.getpid(), signal.SIGTERM)
        client.close()

    case.serve(scenario, stops=False)
    assert [line["dropped"] for line in case.lines("has stopped")] == [1]


# --- Looking after itself


def test_the_watchdog_is_fed_only_while_the_server_answers_itself(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    answers: list[str | None] = [None, "no answer", "no answer", "late: upkeep", None]
    asked: list[float] = []
    fed: list[int] = []

    async def check(_: HttpServer, *, seconds: float) -> str | None:
        asked.append(seconds)
        fed.append(case.manager.messages().count("WATCHDOG=1"))
        return answers.pop(0) if answers else None

    monkeypatch.setattr(HttpServer, "check_itself", check)

    async def scenario(_: Ready) -> None:
        await case.until(lambda: len(asked) >= 7)

    case.serve(scenario)
    assert fed[:7] == [0, 1, 1, 1, 1, 2, 3]
    # Twice within the manager's time.
    assert set(asked) == {0.01}
    troubles = case.lines("does not answer itself")
    assert [(line["level"], line["reason"]) for line in troubles] == [
        ("error", "no answer"),
        ("error", "late: upkeep"),
    ]


def test_how_often_it_looks_without_a_watchdog(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    async def check(_: HttpServer, *, seconds: float) -> str | None:
        asked.append(seconds)
        return None

    monkeypatch.setattr(HttpServer, "check_itself", check)
    case.serve()
    assert asked == [5.0]


# --- Reloading


def test_what_a_reload_may_change_and_what_it_may_not(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        plan, "check_reloaded", lambda now, before: checked.append((now.hostname, before.hostname))
    )
    settings = case.settings
    other = case.directory.with_name("other")
    fixed = {
        "listenIP": replace(settings, listen_ip=IPv4Address("127.0.0.2")),
        "httpPort": replace(settings, http_port=8081),
        "stateDir": replace(settings, state_dir=other),
        "maxConnections": replace(settings, max_connections=settings.max_connections + 1),
        "fleet.listen": replace(
            settings,
            fleet=replace(settings.fleet, listen=ListenAddress(ip=IPv4Address(LOOPBACK), port=9)),
        ),
    }
    prefix = "services.every-channel.netboot"

    async def scenario(_: Ready) -> None:
        for option, changed in fixed.items():
            # Nothing of it is taken up, also not what may change.
            line = await case.reload(replace(changed, hostname="192.0.2.66"))
            assert line["level"] == "error"
            assert line["reason"] == f"a restart is needed to change {prefix}.{option}"
        both = replace(settings, http_port=8081, max_connections=5)
        line = await case.reload(both)
        assert line["reason"] == f"a restart is needed to change {prefix}.httpPort, {prefix}.maxConnections"
        assert checked == []
        assert len(FakeDnsmasq.last.plans) == 1
        line = await case.reload(EcError("bad settings"))
        assert (line["level"], line["reason"]) == ("error", "bad settings")
        # What may change does, in HTTP and in dnsmasq.
        for number, name in enumerate(("192.0.2.98", "192.0.2.99")):
            line = await case.reload(replace(settings, hostname=name))
            assert line["level"] == "info"
            assert FakeDnsmasq.last.plans[-1] == build_plan(replace(settings, hostname=name))
            assert checked[number][0] == name
        assert checked == [("192.0.2.98", "192.0.2.10"), ("192.0.2.99", "192.0.2.98")]

    case.serve(scenario)
    messages = case.manager.messages()
    assert messages.count("RELOADING=1") == len(fixed) + 4
    assert messages.count("READY=1") == 1 + len(fixed) + 4


def test_a_reload_that_this_host_does_not_allow_changes_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> None:
        raise EcError("there is no interface eth9")

    monkeypatch.setattr(plan, "check_reloaded", deny)
    release = make_release()
    put_release(case.directory, release, {"bzImage": b"kernel", "initrd": b"initrd"})

    async def scenario(ready: Ready) -> None:
        line = await case.reload(replace(case.settings, hostname="192.0.2.66"))
        assert line["reason"] == "there is no interface eth9"
        assert b"192.0.2.66" not in await get(ready.port, "/netboot.ipxe")
        assert len(FakeDnsmasq.last.plans) == 1

    case.serve(scenario)


# --- Who watches it


def test_health_and_metrics_on_an_address_of_their_own(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    port = choose_port(LOOPBACK)
    listen = ListenAddress(ip=IPv4Address(LOOPBACK), port=port)
    case.settings = replace(
        case.settings,
        fleet=replace(case.settings.fleet, listen=listen),
        proxy_dhcp=ProxyDhcp(subnet=None),  # type: ignore[arg-type]
    )

    async def scenario(ready: Ready) -> None:
        metrics = (await get(port, "/metrics")).decode()
        assert "\nevery_channel_netboot_dnsmasq_up 1\n" in metrics
        assert "\nevery_channel_netboot_release_staged 0\n" in metrics
        assert "\nevery_channel_netboot_boots_total 0\n" in metrics
        assert f"\nevery_channel_netboot_http_connections_max {case.settings.max_connections}\n" in metrics
        FakeDnsmasq.last.state = ChildState.RESTARTING
        release = make_release()
        put_release(case.directory, release, {"bzImage": b"kernel", "initrd": b"initrd"})
        report = json.loads((await get(port, "/healthz")).partition(b"\r\n\r\n")[2])
        assert report["dnsmasq"] == "restarting"
        assert report["release"] == release.id
        assert report["proxy_dhcp"] is True
        # Its slots are the boot server's, not the status listener's.
        assert report["max_connections"] == case.settings.max_connections
        metrics = (await get(port, "/metrics")).decode()
        assert "\nevery_channel_netboot_dnsmasq_up 0\n" in metrics
        assert "\nevery_channel_netboot_release_staged 1\n" in metrics

    case.serve(scenario)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port))


def test_faults_of_the_site_are_the_servers(case: Case) -> None:
    async def scenario(ready: Ready) -> None:
        def fail(_: str) -> str:
            raise ZeroDivisionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ectools.netboot.release.store.ReleaseStore.find_link_id", lambda *_: fail(""))
            await get(ready.port, "/bzImage")
        report = json.loads((await get(ready.port, "/healthz")).partition(b"\r\n\r\n")[2])
        assert report["faults"] >= 1

    case.serve(scenario)


# --- The first script


@pytest.mark.parametrize("there", ["none", "same", "other", "long", "too long to be one"])
def test_a_first_script_of_other_settings_is_told(case: Case, there: str) -> None:
    directory = case.settings.tftp_dir
    directory.mkdir(parents=True)
    script = directory / "autoexec.ipxe"
    if there == "same":
        script.write_text(plan.build_autoexec(case.settings, None))
    elif there == "other":
        script.write_text("#!ipxe\n")
    elif there != "none":
        script.write_bytes(bytes((1 << 20) + (there != "long")))
    case.serve()
    warnings = case.lines("the first boot script is not what these settings make")
    expected = [("warning", str(script))] if there in ("other", "long") else []
    assert [(line["level"], line["file"]) for line in warnings] == expected


def test_each_first_script_is_looked_at(case: Case) -> None:
    case.settings = replace(case.settings, tftp_boot_filename="sb/ipxe.efi")
    script = case.settings.tftp_dir / "sb/autoexec.ipxe"
    script.parent.mkdir(parents=True)
    script.write_text("#!ipxe\n")
    case.serve()
    warnings = case.lines("the first boot script is not what these settings make")
    assert [line["file"] for line in warnings] == [str(script)]


def test_the_directories_are_made(case: Case) -> None:
    case.settings = build_settings(case.directory / "new")
    case.serve()
    assert case.settings.tftp_dir.is_dir()
