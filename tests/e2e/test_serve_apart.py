"""HTTP and dnsmasq as processes of their own, as the units start them: what one hears of the other."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_http import DEADLINE_SECONDS, wait_until
from support.boot_service import (
    Service,
    boot_service,
    make_state_dir,
    require_boot_services,
    stage,
    write_settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    require_boot_services()
    state = make_state_dir(tmp_path)
    stage(state, {"bzImage": b"kernel", "initrd": b"initrd"})
    return write_settings(tmp_path)


class Tftp:
    """``ectools netboot dnsmasq``, with its log beside the settings."""

    def __init__(self, settings: Path, reports: Path) -> None:
        self.log_file = settings.with_name("dnsmasq.log")
        argv = [sys.executable, "-m", "ectools.cli.main", "netboot", "dnsmasq", "--config", str(settings)]
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [*argv, "--reports", str(reports), "--log-format", "json"], stderr=log
            )

    def events(self, words: str) -> list[dict[str, object]]:
        lines = self.log_file.read_text().split("\n")[:-1]
        return [entry for entry in map(json.loads, lines) if words in entry["event"]]

    def wait_for(self, words: str, *, count: int = 1) -> dict[str, object]:
        wait_until(lambda: len(self.events(words)) >= count, f"{count} times {words!r}")
        return self.events(words)[-1]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_SECONDS)
        finally:
            self.process.kill()


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def http(settings: Path, reports: Path) -> Iterator[Service]:
    # Without a right to TFTP's port, to show that it takes none.
    with boot_service(
        settings, arguments=["--dnsmasq-reports", str(reports)], wrapper=without_rights()
    ) as up:
        yield up


def without_rights() -> list[str]:
    return ["setpriv", "--bounding-set=-net_bind_service,-net_admin", "--inh-caps=-all", "--"]


@pytest.fixture
def tftp(settings: Path, reports: Path) -> Iterator[Tftp]:
    started = Tftp(settings, reports)
    try:
        yield started
    finally:
        started.stop()


def fetch(service: Service) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE_SECONDS)
        client.sendto(b"\0\1ec-ipxe.efi\0octet\0", (service.address, 69))
        _, address = client.recvfrom(2000)
        client.sendto(b"\0\4\0\1", address)


def test_http_hears_of_dnsmasq_whichever_of_them_is_started_again(
    http: Service, settings: Path, reports: Path
) -> None:
    assert http.health()["dnsmasq"] == "unknown"
    for _ in range(2):
        tftp = Tftp(settings, reports)
        wait_until(lambda: http.health()["dnsmasq"] == "running", "the report of dnsmasq")
        fetch(http)
        tftp.wait_for("TFTP has sent a file")
        os.kill(int(str(tftp.wait_for("dnsmasq serves")["pid"])), signal.SIGKILL)
        wait_until(lambda: http.health()["dnsmasq_restarts"] == 1, "the report of a restart")
        assert tftp.stop() == 0
        assert http.get("/bzImage").status == 200
    tftp = Tftp(settings, reports)
    try:
        http.process.send_signal(signal.SIGTERM)
        assert http.process.wait(DEADLINE_SECONDS) == 0
        assert not reports.exists()
        with boot_service(settings, arguments=["--dnsmasq-reports", str(reports)]) as again:
            wait_until(lambda: again.health()["dnsmasq"] == "running", "the report of dnsmasq")
    finally:
        assert tftp.stop() == 0


def test_a_nodes_boot_counts_from_its_first_file_over_tftp(http: Service, tftp: Tftp) -> None:
    wait_until(lambda: http.health()["dnsmasq"] == "running", "the report of dnsmasq")
    client = "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((client, 0))
        asking.settimeout(DEADLINE_SECONDS)
        asking.sendto(b"\0\1ec-ipxe.efi\0octet\0", (http.address, 69))
        _, address = asking.recvfrom(2000)
        asking.sendto(b"\0\4\0\1", address)
    sent = tftp.wait_for("TFTP has sent a file")
    assert sent["client"] == client
    time.sleep(1)  # the firmware takes its time
    for path in ("/netboot.ipxe", "/bzImage", "/initrd"):
        with http.connect(source=client) as connection:
            connection.send(path)
            assert connection.read_response().status == 200
    booted = http.wait_for_event("a node has everything it boots from")
    assert booted["seconds"] >= 0.5


def test_reports_of_others_and_no_reports_are_counted_and_change_nothing(
    http: Service, reports: Path
) -> None:
    assert reports.stat().st_mode & 0o777 == 0o660
    bad = [b"", b"{", b"[]", b'{"state": "asleep", "restarts": 0}', b'{"state": "running"}', b"x" * 5000]
    bad += [b'{"delivered": {"client": "a", "file": "b"}}', b"[" * 4000]
    bad.append(json.dumps({"delivered": {"client": "192.0.2.1", "file": "b" * 512}}).encode())
    for data in bad:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, str(reports))
    wait_until(lambda: http.health()["dnsmasq_reports_ignored"] == len(bad), "all are ignored")
    assert http.health()["dnsmasq"] == "unknown"
    # Whoever could write to the socket is not believed by that alone.
    reports.chmod(0o666)
    reports.parent.chmod(0o755)
    source = (
        "import os, socket, sys\n"
        "os.chdir(sys.argv[1])\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        's.sendto(b\'{"state": "running", "restarts": 0}\', "reports")\n'
    )
    subprocess.run([sys.executable, "-c", source, str(reports.parent)], check=True)
    wait_until(lambda: http.health()["dnsmasq_reports_ignored"] == len(bad) + 1, "a stranger is ignored")
    assert http.health()["dnsmasq"] == "unknown"
    assert len(http.events("came as a report")) == 1


def test_a_flood_of_reports_does_not_stop_http(http: Service, reports: Path) -> None:
    source = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.connect(sys.argv[1])\n"
        "print(1, flush=True)\n"
        "while True:\n"
        "    s.send(b'{')\n"
    )
    argv = [sys.executable, "-c", source, str(reports)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as flood:
        try:
            assert flood.stdout is not None
            assert flood.stdout.readline()
            assert [http.get("/bzImage").status for _ in range(50)] == [200] * 50
        finally:
            flood.kill()


def test_settings_are_read_again(http: Service, tftp: Tftp, settings: Path) -> None:
    tftp.wait_for("dnsmasq serves")
    http.change(tftp={"maxTransfers": 99})
    tftp.process.send_signal(signal.SIGHUP)
    tftp.wait_for("have been read again")
    tftp.wait_for("dnsmasq serves", count=2)
    http.change(listenIP="127.0.0.9")
    tftp.process.send_signal(signal.SIGHUP)
    reason = tftp.wait_for("the old ones stay in force")["reason"]
    assert "a restart is needed to change services.every-channel.netboot.listenIP" in str(reason)
    assert tftp.events("dnsmasq died") == []


def test_a_port_that_is_taken_is_an_error_at_the_start(http: Service, settings: Path, reports: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.bind((http.address, 69))
        tftp = Tftp(settings, reports)
        assert tftp.process.wait(DEADLINE_SECONDS) == 1
        assert f"TFTP cannot have UDP {http.address}:69: Address already in use" in tftp.log_file.read_text()
    assert http.get("/bzImage").status == 200
