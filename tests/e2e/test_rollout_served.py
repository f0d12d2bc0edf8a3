"""``ectools rollout`` with a real boot server: a good release goes out, a bad one goes back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.boot_http import wait_until
from support.boot_service import Service, boot_service, require_boot_services
from support.needs import require_tool
from support.served_rollout import NODES, ask_script, boot_and_follow, lock, prepare, report, rollout

from ectools.netboot.release.store import ReleaseStore


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


def boot(service: Service, node: str, *, healthy: bool = True) -> str:
    """The release that a node has booted and reported on, as its script has it do it."""
    return boot_and_follow(service, node, healthy=healthy)[0]


def test_a_good_release_goes_out_by_waves_though_the_server_is_killed(tmp_path: Path) -> None:
    settings_file, before, after = prepare(tmp_path)
    sock = tmp_path / "control.sock"
    arguments = ("--control-socket", str(sock))
    with boot_service(settings_file, arguments=arguments) as service:
        assert {boot(service, node) for node in NODES} == {before.id}
        rollout(sock, "start", after.id, "--group", "runners", "--waves", "50%,100%")
        # What is healthy opens the next wave: all ask before anybody reports.
        asked = [ask_script(service, node) for node in NODES[:2]]
        assert [release for release, _ in asked] == [after.id, before.id]
        report(service, asked[0][1], after.id)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
    with boot_service(settings_file, arguments=arguments) as service:
        service.wait_for_event("the control socket is there")
        wait_until(lambda: find(sock)["wave"] == 1, "the canary was healthy")
        # Three of six may have it: two more, whoever they are, and the next ones not.
        asked = [ask_script(service, node) for node in NODES[1:]]
        assert [release for release, _ in asked] == [after.id, after.id, before.id, before.id, before.id]
        for release, token in asked:
            report(service, token, release)
        wait_until(lambda: find(sock)["wave"] == 2, "the wave was healthy")
        assert {boot(service, node) for node in NODES} == {after.id}
        told = rollout(sock, "status", "runners", "--wait", "--timeout", "60")
        wait_until(lambda: find(sock)["state"] == "done", "all are healthy")
        assert find(sock)["failed"] == []
        assert "Traceback" not in told
        log = json.loads(service.watch("/api/v1/log").body)["events"]
        kinds = [each["kind"] for each in log if each["kind"].startswith("rollout-")]
        assert kinds == ["rollout-started", "rollout-wave", "rollout-wave", "rollout-done"]


def test_a_bad_release_stops_by_itself_and_is_withdrawn(tmp_path: Path) -> None:
    settings_file, before, after = prepare(tmp_path)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        for node in NODES:
            boot(service, node)
        rollout(sock, "start", after.id, "--group", "runners", "--max-failures", "0")
        assert boot(service, NODES[3], healthy=False) == after.id
        found = rollout(sock, "status", "--wait", "--timeout", "60", "--json", status=1)[0]
        assert found["state"] == "stopped"
        assert [each["node"] for each in found["failed"]] == [NODES[3]]
        assert {boot(service, node) for node in NODES} == {before.id}
        store = ReleaseStore(tmp_path / "state")
        wait_until(lambda: after.id in store.list_withdrawn(), "the release is withdrawn")
        assert "is stopped" in rollout(sock, "resume", "runners", status=2)


def test_as_a_unit_the_server_writes_into_its_own_directory_alone(tmp_path: Path) -> None:
    """ReadWritePaths of every-channel-netboot.service: a rollout is begun, stopped, and its releases stay."""
    require_tool("unshare", "Debian: util-linux")
    settings_file, before, after = prepare(tmp_path)
    store, sock = ReleaseStore(tmp_path / "state"), tmp_path / "control.sock"
    (store.state_dir / "fleet").mkdir(exist_ok=True)
    confine = (
        f"set -e; cd {store.state_dir}; mount --bind . .; mount --bind fleet {store.state_dir}/fleet;"
        f' mount -o remount,bind,ro {store.state_dir}; ! touch {store.state_dir}/x 2>/dev/null; exec "$@"'
    )
    wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", confine, "sh"]
    with boot_service(settings_file, wrapper=wrapper, arguments=("--control-socket", str(sock))) as service:
        for node in NODES:
            boot(service, node)
        rollout(sock, "start", after.id, "--group", "runners", "--max-failures", "0")
        assert store.list_led() == {before.id, after.id}
        assert boot(service, NODES[0], healthy=False) == after.id
        wait_until(lambda: find(sock)["state"] == "stopped", "the rollout is stopped")
        wait_until(lambda: after.id in store.list_withdrawn(), "the release is withdrawn")


def test_a_node_that_runs_asks_and_is_led_and_its_token_is_in_no_log(tmp_path: Path) -> None:
    settings_file, before, after = prepare(tmp_path)
    sock = tmp_path / "control.sock"
    arguments = ("--control-socket", str(sock))
    with boot_service(settings_file, arguments=arguments) as service:
        paths = {node: boot_and_follow(service, node)[1] for node in NODES[:2]}
        answer = service.get(paths[NODES[0]])
        assert answer.headers["cache-control"] == "no-store"
        told = f"boot=network\nsystem=release\nruns={before.id}\nrelease={before.id}\n"
        assert told in answer.body.decode()
        rollout(sock, "start", after.id, "--group", "runners", "--waves", "100%")
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
    with boot_service(settings_file, arguments=arguments) as service:
        service.wait_for_event("the control socket is there")
        first, second = (service.get(f"{paths[node]}&take=yes").body.decode() for node in NODES[:2])
        assert f"release={after.id}\n" in first
        assert f"release={before.id}\n" in second
        assert find(sock)["under_way"] == [NODES[0]]
        assert boot(service, NODES[0]) == after.id
        assert service.get("/assignment?boot=nobody").status == 403
        log = service.log_file.read_text()
        assert "/assignment" in log
        assert not any(path.partition("boot=")[2] in log for path in paths.values())
        argv = [sys.executable, "-m", "ectools.cli.main", "fleet", "log", "--socket", str(sock)]
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert re.search(rf"rollout-started  runners  by root  release={after.id}", told)


def test_slots_are_kept_though_the_server_is_killed(tmp_path: Path) -> None:
    require_tool("curl", "install curl")
    settings_file, *_ = prepare(tmp_path)
    raw = json.loads(settings_file.read_text())
    raw["fleet"]["groups"]["runners"]["slots"] = 1
    settings_file.write_text(json.dumps(raw))
    with boot_service(settings_file) as service:
        assert lock(service, "pre-reboot", "a") == (200, None)
        status, told = lock(service, "pre-reboot", "b")
        assert (status, told["kind"]) == (409, "all_slots_taken")
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
    with boot_service(settings_file) as service:
        assert lock(service, "pre-reboot", "b")[0] == 409
        assert lock(service, "steady-state", "a") == (200, None)
        assert lock(service, "pre-reboot", "b") == (200, None)
        with service.connect() as client:
            client.socket.sendall(b"POST /v1/pre-reboot HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n")
            assert client.read_response(method="POST").status == 400


def find(sock: Path) -> dict[str, Any]:
    return next(iter(json.loads(_status(sock))))


def _status(sock: Path) -> str:
    argv = [sys.executable, "-m", "ectools.cli.main", "rollout", "status", "--json", "--socket", str(sock)]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
