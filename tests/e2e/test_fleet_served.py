"""``ectools fleet`` with a real boot server: what was said holds at the next request, and after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.boot_http import wait_until
from support.boot_service import (
    Service,
    boot_service,
    require_boot_services,
    stage,
    write_fleet_settings,
    write_settings,
)

from ectools.netboot.release.store import ReleaseStore

OWNER, OTHER = 65533, 65532
TOKEN = "t0ken-of-who-may-change"
MACHINE = "/netboot.ipxe?mac=02:00:00:00:00:07&arch=x86_64"
FLEET = {
    "groups": {"runners": {}},
    "nodes": {"nuc-07": {"group": "runners", "match": {"mac": ["02:00:00:00:00:07"]}}},
}


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    return write_fleet_settings(tmp_path, FLEET, token=TOKEN)


def fleet(sock: Path, *arguments: str, status: int = 0, wrapper: tuple[str, ...] = ()) -> Any:
    """What ``ectools fleet … --json`` prints, parsed; its standard error where it does not end with 0."""
    argv = [*wrapper, sys.executable, "-m", "ectools.cli.main", "fleet", *arguments, "--socket", str(sock)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def find_boot(script: str) -> tuple[str, str]:
    """The release and the boot of a script."""
    release = re.search(r"/releases/(sha256-[0-9a-f]{32})/", script)
    boot = re.search(r"[?]boot=(\S+)", script.replace("/report?boot=", ""))
    assert release is not None, script
    assert boot is not None, script
    return release[1], boot[1]


def ask(service: Service) -> str:
    return service.get(MACHINE).body.decode()


def test_what_was_said_holds_at_once_and_after_the_server_was_killed(
    settings_file: Path, tmp_path: Path
) -> None:
    sock = tmp_path / "control.sock"
    arguments = ("--control-socket", str(sock))
    before = stage(tmp_path / "state", {"bzImage": b"kernel 1", "initrd": b"initrd 1"})
    with boot_service(settings_file, arguments=arguments) as service:
        current = stage(tmp_path / "state", {"bzImage": b"kernel 2", "initrd": b"initrd 2"})
        assert find_boot(ask(service))[0] == current.id
        fleet(sock, "hold", "nuc-07", "--why", "memory is replaced")
        assert "nuc-07 (mac 02:00:00:00:00:07) is held" in ask(service)
        added = ("add", "nuc-08", "--group", "runners", "--mac", "02:00:00:00:00:08")
        fleet(sock, *added)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
    assert sock.exists()  # nobody was there to take it away
    with boot_service(settings_file, arguments=arguments) as service:
        service.wait_for_event("the control socket is there")
        assert "is held" in ask(service)
        rows = {row["name"]: row for row in fleet(sock, "status", "--json", status=1)}
        assert rows["nuc-07"]["hold"]["why"] == "memory is replaced"
        assert rows["nuc-07"]["hold"]["by"]
        assert rows["nuc-08"]["next"]["release"]["id"] == current.id
        other = service.get(MACHINE.replace(":07", ":08")).body.decode()
        assert "every.channel: nuc-08: starting" in other
        # It boots once what it should, though it is held, and however often it asks for it.
        fleet(sock, "boot-once", "nuc-07", "--release", before.id)
        scripts = [find_boot(ask(service)) for _ in range(2)]
        assert [release for release, _ in scripts] == [before.id] * 2
        boot = scripts[-1][1]
        service.get(f"/releases/{before.id}/bzImage?boot={boot}")
        assert find_boot(ask(service))[0] == before.id  # the initrd broke off
        boot = find_boot(ask(service))[1]
        for name in ("bzImage", "initrd"):
            assert service.get(f"/releases/{before.id}/{name}?boot={boot}").status == 200
        # The last byte has left before it is known to have.
        wait_until(lambda: "is held" in ask(service), "the order was carried out")
        found = fleet(sock, "boots", "nuc-07", "--json")
        assert {each["release"]["id"] for each in found} == {before.id, current.id}
        assert found[0]["stage"] == "initrd"
        fleet(sock, "release", "nuc-07")
        assert find_boot(ask(service))[0] == current.id
        fleet(sock, "remove", "nuc-08")
        log = service.watch("/api/v1/log")
        kinds = [each["kind"] for each in json.loads(log.body)["events"]]
        said = ["node-held", "node-added", "node-boot-once", "node-released", "node-removed"]
        assert [kind for kind in kinds if kind.startswith("node-")] == said
    assert ReleaseStore(tmp_path / "state").find_link_id("current") == current.id


def test_who_may_use_the_control_socket(tmp_path: Path) -> None:
    """Root becomes the directory's user, to whom and to whose group the socket belongs."""
    with tempfile.TemporaryDirectory(prefix="ectools-control-") as name:
        home = Path(name)
        home.chmod(0o755)
        sock = home / "run" / "control.sock"
        for directory in (home / "state", sock.parent):
            directory.mkdir()
            os.chown(directory, OWNER, OWNER)
        settings_file = write_settings(tmp_path, stateDir=str(home / "state"))

        def may_connect(user: int, group: int) -> bool:
            identity = ["--reuid", str(user), "--regid", str(group), "--clear-groups"]
            # To connect takes the right to write (unix(7)).
            argv = ["setpriv", *identity, "test", "-w", str(sock)]
            return subprocess.run(argv, check=False).returncode == 0

        with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
            service.wait_for_event("the control socket is there")
            status = sock.stat()
            assert (status.st_uid, status.st_mode & 0o777) == (OWNER, 0o660)
            assert may_connect(OWNER, OTHER)
            assert may_connect(OTHER, status.st_gid)
            assert not may_connect(OTHER, OTHER)
            fleet(sock, "add", "nuc-07", "--mac", "02:00:00:00:00:07")
            assert fleet(sock, "show", "nuc-07", "--json")["boot"] == "network"
            (event,) = (fleet(sock, "log", "--json"),)
            assert event["by"] == "root"


def test_over_the_listener_it_takes_the_token(settings_file: Path, tmp_path: Path) -> None:
    stage(tmp_path / "state", {"bzImage": b"kernel", "initrd": b"initrd"})
    with boot_service(settings_file) as service:
        listen = json.loads(settings_file.read_text())["fleet"]["listen"]

        def hold(*headers: str) -> str:
            options = [word for header in headers for word in ("-H", header)]
            url = f"http://{listen}/api/v1/nodes/nuc-07/hold"
            argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", *options, url]
            return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

        assert hold() == "403"
        assert hold("Authorization: Bearer wrong") == "403"
        assert "is held" not in ask(service)
        assert hold(f"Authorization: Bearer {TOKEN}") == "200"
        assert "is held" in ask(service)
        # The token that a reload brings is the one from then on.
        (tmp_path / "token").write_text("the-next-token-of-it")
        service.reload()
        assert hold(f"Authorization: Bearer {TOKEN}") == "403"
        assert hold("Authorization: Bearer the-next-token-of-it") == "200"
        assert TOKEN not in settings_file.with_suffix(".log").read_text()
        assert b"nuc-07" in service.watch("/").body


def test_a_reload_keeps_what_was_said(settings_file: Path, tmp_path: Path) -> None:
    sock = tmp_path / "control.sock"
    stage(tmp_path / "state", {"bzImage": b"kernel", "initrd": b"initrd"})
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        service.wait_for_event("the control socket is there")
        fleet(sock, "hold", "nuc-07")
        fleet(sock, "add", "nuc-08", "--mac", "02:00:00:00:00:08")
        raw = json.loads(settings_file.read_text())
        raw["fleet"]["nodes"]["other"] = {"match": {"mac": ["02:00:00:00:00:08"]}}
        settings_file.write_text(json.dumps(raw))
        service.reload()
        assert "is held" in ask(service)
        told = service.wait_for_event("a node that was added is left out")
        assert told["reason"] == "mac 02:00:00:00:00:08 is what other is known by too, in the settings"
        assert "every.channel: other: starting" in service.get(MACHINE.replace(":07", ":08")).body.decode()
        assert "stands in the settings" in fleet(sock, "remove", "other", status=2)
        fleet(sock, "remove", "nuc-08")
