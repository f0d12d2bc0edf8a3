"""Boots at the real server: what was acknowledged outlives it, whatever ends it, and whoever floods it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import resource
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from support.boot_http import wait_until
from support.boot_service import (
    Service,
    boot_service,
    make_state_dir,
    require_boot_services,
    stage,
    write_settings,
    write_tokens,
)
from support.kept_boots import read_boots

from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.state.sqlite import STATE_FILE

MAC = "02:00:00:00:00:01"
FILES = {"bzImage": b"kernel", "initrd": b"initrd"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return make_state_dir(tmp_path)


def begin(service: Service, mac: str = MAC, *, query: str = "") -> tuple[str, str]:
    """The boot's id and its token, from the script of a machine."""
    script = service.get(f"/netboot.ipxe?mac={mac}&arch=x86_64{query}")
    assert script.status == 200
    assert script.headers["cache-control"] == "no-store"
    text = script.body.decode()
    token = re.search(r"every_channel\.report=\S+/report\?boot=(\S+) ", text)
    boot = re.search(r"set ec-query \?boot=(\S+)", text)
    assert token is not None
    assert boot is not None
    return boot[1], token[1]


def say(service: Service, token: str, **fields: Any) -> int:
    """The status of a report."""
    return post(service, f"/report?boot={token}", urlencode(fields, doseq=True).encode())


def post(service: Service, path: str, body: bytes) -> int:
    fields = (f"Content-Type: {FORM}", f"Content-Length: {len(body)}", "Connection: close")
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: b", *fields, "", ""])
    with socket.create_connection((service.address, service.port), timeout=60) as client:
        client.sendall(head.encode() + body)
        return int(client.makefile("rb").readline().split()[1])


def test_a_boot_is_known_after_the_server_was_killed(tmp_path: Path, state: Path) -> None:
    release = stage(state, FILES)
    settings = write_settings(tmp_path)
    with boot_service(settings) as service:
        boot, token = begin(service)
        second, _ = begin(service, "02:00:00:00:00:02")
        service.process.kill()
        service.process.wait()
    assert {each.id for each in read_boots(state).values()} == {boot, second}
    files = (state / "fleet").glob(f"{STATE_FILE}*")
    assert token.encode() not in b"".join(file.read_bytes() for file in files)
    with boot_service(settings) as service:
        for name in FILES:
            assert service.get(f"/releases/{release.id}/{name}?boot={boot}").status == 200
        assert say(service, token, stage="running") == 200
        up = {"stage": "up", "healthy": "yes", "release": release.id, "system": "/nix/store/e-nixos"}
        assert say(service, token, **up) == 200
        service.process.kill()
        service.process.wait()
    kept = read_boots(state)[f"mac {MAC}"]
    assert (kept.id, kept.state) == (boot, BootState.HEALTHY)
    assert kept.stages.keys() >= {NodeStage.SCRIPT, NodeStage.KERNEL, NodeStage.RUNNING, NodeStage.UP}
    with boot_service(settings) as service:
        assert say(service, token, **up) == 200  # its answer was lost
        assert say(service, token, **{**up, "healthy": "no"}) == 403


def test_at_a_stop_everything_is_written(tmp_path: Path, state: Path) -> None:
    release = stage(state, FILES)
    with boot_service(write_settings(tmp_path)) as service:
        boot, token = begin(service)
        for name in FILES:
            service.get(f"/releases/{release.id}/{name}?boot={boot}")
        assert service.get(f"/report?boot={token}&stage=loaded").body == b""
    assert read_boots(state)[f"mac {MAC}"].last_stage is NodeStage.LOADED


def test_a_report_needs_no_token_but_its_own_and_none_is_told(tmp_path: Path, state: Path) -> None:
    release = stage(state, FILES)
    settings = write_settings(tmp_path, chainTokenFile=str(write_tokens(tmp_path, "t0ken")))
    with boot_service(settings) as service:
        assert service.get(f"/netboot.ipxe?mac={MAC}").status == 403
        _, token = begin(service, query="&token=t0ken")
        _, others = begin(service, "02:00:00:00:00:02", query="&token=t0ken")
        # A node that has another's token says what that one was given, or it is told apart by it.
        assert say(service, others, stage="up", healthy="yes", release="sha256-other") == 200
        assert say(service, token, stage="up", healthy="yes", release=release.id) == 200
        assert say(service, "x" * 32, stage="running") == 403
        watched = service.watch("/metrics").body + service.watch("/healthz").body
        seen = watched + service.log_file.read_bytes()
    for secret in (token, others):
        assert secret.encode() not in seen
        assert hashlib.sha256(secret.encode()).hexdigest().encode() not in seen
    boots = read_boots(state)
    assert boots[f"mac {MAC}"].state is BootState.HEALTHY
    other = boots["mac 02:00:00:00:00:02"]
    assert other.state is BootState.UNHEALTHY
    assert other.why == f"runs sha256-other, was given {release.id}"


def test_a_flood_of_reports_costs_others_nothing_and_is_bounded(tmp_path: Path, state: Path) -> None:
    """10,000 reports that nobody may make, and a gigabyte that one would send, beside a node that boots."""
    release = stage(state, {**FILES, "initrd": bytes(8 << 20)})
    with boot_service(write_settings(tmp_path)) as service:
        boot, token = begin(service)
        before = read_rss(service.process.pid)
        statuses: list[int] = []
        lock = threading.Lock()

        def flood(count: int) -> None:
            for _ in range(count):
                status = 0
                with contextlib.suppress(OSError, IndexError):
                    status = post(service, f"/report?boot={'x' * 32}", b"stage=up&journal=" + b"x" * 1000)
                with lock:
                    statuses.append(status)

        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(flood, 1250) for _ in range(8)]
            assert service.get(f"/releases/{release.id}/initrd?boot={boot}").status == 200
            assert say(service, token, stage="up", healthy="yes", release=release.id) == 200
            for future in futures:
                future.result()
        # Too many: turned away by the slots, or told to come later; never taken.
        assert set(statuses) <= {0, 403, 429, 503}
        assert 429 in statuses
        assert send_gigabyte(service, token) == 413
        assert read_rss(service.process.pid) - before < 64 << 20
        assert service.health()["faults"] == 0
    assert read_boots(state)[f"mac {MAC}"].state is BootState.HEALTHY
    assert len(read_boots(state)) == 1


def read_rss(pid: int) -> int:
    """Bytes of memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def send_gigabyte(service: Service, token: str) -> int:
    with socket.create_connection((service.address, service.port), timeout=60) as client:
        head = f"POST /report?boot={token} HTTP/1.1\r\nHost: b\r\nContent-Length: {1 << 30}\r\n\r\n"
        client.sendall(head.encode())
        status = int(client.makefile("rb").readline().split()[1])
        with contextlib.suppress(OSError):
            for _ in range(1 << 14):
                client.sendall(bytes(1 << 16))
            raise AssertionError("a gigabyte was read")
        return status


def test_a_store_that_cannot_be_written_keeps_no_machine_from_booting(tmp_path: Path, state: Path) -> None:
    stage(state, FILES)
    (state / "fleet" / STATE_FILE).mkdir(parents=True)  # nothing that could be opened
    with boot_service(write_settings(tmp_path)) as service:
        _, token = begin(service)
        assert say(service, token, stage="running") == 503
        health = service.health()
        assert health["status"] == "ok"
        assert "cannot be kept" in health["state"]
        assert health["boots_unwritten"] == 1
        assert len(service.events("what is remembered cannot be written")) == 1
        (state / "fleet" / STATE_FILE).rmdir()
        wait_until(lambda: service.health()["boots_unwritten"] == 0, "it is written after all")
        assert service.health()["state"] == "ok"
        assert say(service, token, stage="running") == 200
    assert read_boots(state)[f"mac {MAC}"].last_stage is NodeStage.RUNNING
