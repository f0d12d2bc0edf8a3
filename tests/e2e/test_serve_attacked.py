"""``ectools netboot serve`` while somebody has a lock, a crowd is not of its networks, or nothing answers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_http import DEADLINE_SECONDS, Client, wait_until
from support.boot_service import (
    Service,
    boot_service,
    build_argv,
    make_state_dir,
    require_boot_services,
    stage,
    write_settings,
)
from support.free_port import choose_port
from support.hanging_mount import hanging_mount

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {"bzImage": b"kernel", "initrd": bytes(1 << 20)}


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return make_state_dir(tmp_path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_foreign_lock_on_a_release_holds_up_nobody_else(tmp_path: Path, state: Path) -> None:
    old = stage(state, FILES)
    new = stage(state, {**FILES, "bzImage": b"kernel two"})
    with boot_service(write_settings(tmp_path)) as service:
        with locked(state / "releases" / old.id / "release.json"):
            assert service.get(f"/releases/{old.id}/bzImage").status == 503
            assert new.id.encode() in service.get("/netboot.ipxe").body
            assert service.get("/initrd").body == bytes(1 << 20)
            assert service.health()["status"] == "ok"
        assert service.get(f"/releases/{old.id}/bzImage").body == b"kernel"


def test_a_locked_new_release_leaves_the_one_before_in_force(tmp_path: Path, state: Path) -> None:
    old = stage(state, FILES)
    with boot_service(write_settings(tmp_path)) as service:
        assert old.id.encode() in service.get("/netboot.ipxe").body
        new = stage(state, {**FILES, "bzImage": b"kernel two"})
        with locked(state / "releases" / new.id / "release.json"):
            assert old.id.encode() in service.get("/netboot.ipxe").body
        assert new.id.encode() in service.get("/netboot.ipxe").body


def test_a_fifo_in_place_of_a_file_holds_up_nobody(tmp_path: Path, state: Path) -> None:
    release = stage(state, FILES)
    directory = state / "releases" / release.id
    (directory / "initrd").unlink()
    os.mkfifo(directory / "initrd")
    with boot_service(write_settings(tmp_path)) as service:
        assert service.get("/initrd").status == 404
        assert service.get("/bzImage").body == b"kernel"


def test_strangers_take_no_slot(tmp_path: Path, state: Path) -> None:
    """Refused where they connect: a crowd of them leaves all slots to those who are allowed."""
    stage(state, FILES)
    settings = write_settings(tmp_path, httpAllowedCIDRs=["127.9.0.0/16"], maxConnections=8)
    with boot_service(settings) as service, contextlib.ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection((service.address, service.port))) for _ in range(300)
        ]
        for number in range(20):
            source = f"127.9.0.{number + 1}"
            with Client(service.port, address=service.address, source=source) as client:
                assert client.request("/netboot.ipxe").status == 200
        for stranger in crowd:
            stranger.close()
        # Who is told at all is told why. While the crowd has its places in the lobby, nobody else of it is.
        wait_until(lambda: ask(service) == 403, "a stranger is told")
        health = json.loads(service.watch("/healthz").body)
        assert health["turned_away"]["stranger"] >= 300
        assert health["turned_away"]["overload"] == 0
        wait_until(lambda: service.events("clients are turned away"), "the log tells of them")
        assert service.events("clients are turned away")[0]["reason"] == "not of an allowed network"


def ask(service: Service) -> int | None:
    """The status of an answer; None where the connection is closed without one."""
    with contextlib.suppress(OSError), Client(service.port, address=service.address) as client:
        client.send("/netboot.ipxe")
        answer = client.socket.recv(4096)
        return int(answer.split()[1]) if answer else None
    return None


def test_a_trusted_proxy_speaks_for_many(tmp_path: Path, state: Path) -> None:
    """Its connections are not of one client: no share of one address is held against it."""
    stage(state, {**FILES, "initrd": bytes(64 << 20)})
    settings = write_settings(
        tmp_path, trustedProxies=["127.8.0.1"], httpAllowedCIDRs=["127.9.0.0/16"], maxConnections=4
    )
    with boot_service(settings) as service, contextlib.ExitStack() as stack:
        allowed = {"X-Forwarded-For": "127.9.0.1"}
        for _ in range(3):
            client = Client(
                service.port, address=service.address, source="127.8.0.1", receive_buffer=64 << 10
            )
            stack.enter_context(client)
            client.send("/initrd", allowed)
            assert client.read_header()[0] == 200
        for number in range(3):
            node = Client(service.port, address=service.address, source=f"127.9.0.{number + 1}")
            stack.enter_context(node)
            assert node.request("/bzImage").status == 200
        assert all("aborted" not in line for line in service.requests())
        refused = stack.enter_context(Client(service.port, address=service.address, source="127.8.0.1"))
        assert refused.request("/netboot.ipxe", {"X-Forwarded-For": "127.7.0.1"}).status == 403


def test_whoever_watches_is_answered_whatever_the_crowd(tmp_path: Path, state: Path) -> None:
    release = stage(state, {**FILES, "initrd": bytes(64 << 20)})
    with boot_service(write_settings(tmp_path, maxConnections=2)) as service, contextlib.ExitStack() as stack:
        for _ in range(300):
            client = Client(service.port, address=service.address, receive_buffer=64 << 10)
            stack.callback(client.socket.close)
            with contextlib.suppress(OSError):
                client.send("/initrd")
        health = json.loads(service.watch("/healthz").body)
        assert (health["status"], health["release"]) == ("ok", release.id)
        assert health["max_connections"] == 2
        response = service.watch("/metrics")
        assert response.headers["content-type"] == "text/plain; version=0.0.4"
        metrics = dict(
            line.rsplit(" ", 1) for line in response.body.decode().splitlines() if not line.startswith("#")
        )
        assert metrics["every_channel_netboot_http_connections"] == "2"
        assert int(metrics['every_channel_netboot_http_turned_away_total{reason="overload"}']) > 100
        assert metrics["every_channel_netboot_dnsmasq_up"] == "1"
        assert metrics["every_channel_netboot_release_staged"] == "1"
        assert metrics["every_channel_netboot_faults_total"] == "0"
        assert service.watch("/netboot.ipxe").status == 404


def test_a_status_address_that_is_taken_is_no_reason_not_to_boot(tmp_path: Path, state: Path) -> None:
    stage(state, FILES)
    settings = write_settings(tmp_path)
    raw = json.loads(settings.read_text())
    port = choose_port(raw["listenIP"])
    settings.write_text(json.dumps({**raw, "fleet": {"listen": f"{raw['listenIP']}:{port}"}}))
    with socket.create_server((raw["listenIP"], port)), boot_service(settings) as service:
        assert service.get("/netboot.ipxe").status == 200
        warning = service.events("the status listener cannot be had")[0]
        assert str(port) in warning["reason"]
    with boot_service(settings) as service:
        assert service.watch("/healthz").status == 200


def test_a_status_address_that_is_freed_while_the_store_is_away_ends_nothing(
    tmp_path: Path, state: Path
) -> None:
    stage(state, FILES)
    settings = write_settings(tmp_path)
    address, _, port = json.loads(settings.read_text())["fleet"]["listen"].rpartition(":")
    with contextlib.ExitStack() as taken:
        taken.enter_context(socket.create_server((address, int(port))))
        with boot_service(settings) as service:
            state.rename(tmp_path / "away")
            taken.close()
            service.wait_for_event("the status listener is there")
            assert service.watch("/healthz").status == 503
            (tmp_path / "away").rename(state)
            wait_until(lambda: service.watch("/healthz").status == 200, "the store is back")


@pytest.mark.parametrize("listen", ["9090", "localhost:9090", "127.0.0.1:0", "::1:9090", "[127.0.0.1]:80"])
def test_what_is_no_address_for_the_status_listener_is_refused(tmp_path: Path, listen: str) -> None:
    settings = write_settings(tmp_path, fleet={"listen": listen})
    argv = build_argv(settings, "--check")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "services.every-channel.netboot.fleet.listen" in done.stderr


def watchdog_messages(manager: socket.socket, seconds: float) -> list[str]:
    manager.settimeout(seconds)
    found = []
    with contextlib.suppress(TimeoutError):
        while len(found) < 3:
            message = manager.recv(4096).decode()
            if message == "WATCHDOG=1":
                found.append(message)
    return found


def test_the_watchdog_is_fed_by_an_answer_over_http_alone(tmp_path: Path, state: Path) -> None:
    """And that is had whatever the crowd: a full server is not a dead one."""
    stage(state, FILES)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with boot_service(write_settings(tmp_path), env=env) as service:
            assert len(watchdog_messages(manager, 20)) == 3
            # Its own requests are no client's: not in the way of one, and not turned away.
            assert service.health()["turned_away"]["overload"] == 0
            full = stack_of_clients(service)
            assert len(watchdog_messages(manager, 20)) == 3
            for client in full:
                client.socket.close()


def test_a_disk_that_hangs_is_no_reason_to_end_the_server(tmp_path: Path, state: Path) -> None:
    """A restart brings no disk back: health says that the root is gone, and the watchdog is fed."""
    stage(state, FILES)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "6000000"}
        with boot_service(write_settings(tmp_path), env=env) as service, hanging_mount(state):
            assert json.loads(service.get("/healthz").body)["root"] is False
            watchdog_messages(manager, 0.1)
            manager.settimeout(DEADLINE_SECONDS)
            while manager.recv(4096) != b"WATCHDOG=1":
                assert not service.events("does not answer itself")


def stack_of_clients(service: Service) -> list[Client]:
    """As many as there are slots, from one address, each with half a request."""
    clients = []
    for _ in range(1100):
        client = Client(service.port, address=service.address)
        clients.append(client)
        with contextlib.suppress(OSError):
            client.socket.sendall(b"GET /")
    return clients


def test_a_stopped_process_is_seen_by_its_watchdog(tmp_path: Path, state: Path) -> None:
    stage(state, FILES)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with boot_service(write_settings(tmp_path), env=env) as service:
            assert watchdog_messages(manager, 20)
            service.process.send_signal(signal.SIGSTOP)
            manager.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    manager.recv(4096)
            assert watchdog_messages(manager, 1.5) == []
            service.process.send_signal(signal.SIGCONT)
            assert watchdog_messages(manager, 20)


def test_a_fifo_in_place_of_a_releases_record_holds_up_nobody(tmp_path: Path, state: Path) -> None:
    release = stage(state, FILES)
    other = "sha256-" + "1" * 32
    with boot_service(write_settings(tmp_path)) as service:
        shutil.copytree(state / "releases" / release.id, state / "releases" / other)
        record = state / "releases" / other / "release.json"
        record.unlink()
        os.mkfifo(record)
        assert service.get(f"/releases/{other}/bzImage").status in (404, 500)
        assert service.get("/netboot.ipxe").status == 200
