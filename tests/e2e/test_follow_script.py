"""follow.sh as it is, with bash, curl and a boot server: it waits, takes its place, and boots again once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_http import wait_until
from support.boot_service import boot_service, require_boot_services
from support.needs import require_tool
from support.served_rollout import NODES, boot_and_follow, lock, prepare, rollout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.boot_service import Service

SCRIPT = Path(__file__).parents[2] / "nix/modules/follow.sh"
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> "{said}"
case "$*" in *broken.service*) exit 1 ;; esac
"""


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()
    require_tool("curl", "install curl")


class Follower:
    """A script that runs. ``said``: what it has asked of systemctl; ``out``: what it prints."""

    def __init__(self, directory: Path) -> None:
        self._said = directory / "systemctl-said"
        self._out = directory / "out"

    @property
    def said(self) -> list[str]:
        return self._said.read_text().splitlines() if self._said.exists() else []

    @property
    def out(self) -> str:
        return self._out.read_text()


@contextlib.contextmanager
def follow(directory: Path, service: Service, path: str, *units: str) -> Iterator[Follower]:
    """The script, with a systemctl that writes down what it is told."""
    directory.mkdir()
    (directory / "systemctl").write_text(SYSTEMCTL.format(said=directory / "systemctl-said"))
    (directory / "systemctl").chmod(0o755)
    token = path.partition("boot=")[2]
    report = f"http://{service.address}:{service.port}/report?boot={token}"
    (directory / "cmdline").write_text(f"quiet every_channel.report={report} every_channel.release=x\n")
    environment = {
        **os.environ,
        "PATH": f"{directory}:{os.environ['PATH']}",
        "FOLLOW_SECONDS": "0.1",
        "FOLLOW_UNITS": " ".join(units),
    }
    with (directory / "out").open("w") as out:
        process = subprocess.Popen(
            ["bash", str(SCRIPT), str(directory / "cmdline")],
            env=environment,
            stdout=out,
            stderr=out,
            process_group=0,
        )
    try:
        yield Follower(directory)
        assert token not in (directory / "out").read_text()
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def give_slots(settings_file: Path, count: int) -> None:
    raw = json.loads(settings_file.read_text())
    raw["fleet"]["groups"]["runners"]["slots"] = count
    settings_file.write_text(json.dumps(raw))


def wait_for_questions(service: Service, count: int) -> None:
    """Until the assignment was asked for so many times more."""

    def asked() -> int:
        return sum(each.get("path") == "/assignment" for each in service.requests())

    before = asked()
    wait_until(lambda: asked() >= before + count, "it asks again")


def test_it_boots_again_once_there_is_another_release(tmp_path: Path) -> None:
    settings_file, _, after = prepare(tmp_path)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        paths = [boot_and_follow(service, node)[1] for node in NODES[:2]]
        with follow(tmp_path / "a", service, paths[0], "drain.service") as one:
            wait_for_questions(service, 2)
            assert one.said == []
            # Its group has no slots; it gives back once what it may have taken while it had some.
            given = [each for each in service.requests() if each.get("path") == "/v1/steady-state"]
            assert [each["status"] for each in given] == [200]
            rollout(sock, "start", after.id, "--group", "runners", "--waves", "100%")
            wait_until(lambda: "reboot" in one.said, "it boots again")
            assert one.said == ["start -- drain.service", "reboot"]
            assert f"is followed by {after.id}" in one.out
            # The canary's place is taken: the next one stays.
            with follow(tmp_path / "b", service, paths[1]) as other:
                wait_for_questions(service, 3)
                assert other.said == []


def test_it_waits_for_its_slot_and_gives_it_back_when_it_is_up(tmp_path: Path) -> None:
    settings_file, _, after = prepare(tmp_path)
    give_slots(settings_file, 1)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        assert lock(service, "pre-reboot", "somebody")[0] == 200
        path = boot_and_follow(service, NODES[0])[1]
        rollout(sock, "start", after.id, "--group", "runners", "--waves", "100%")
        with follow(tmp_path / "a", service, path) as node:
            wait_until(lambda: "waits for a slot" in node.out, "it waits")
            # Who waits has taken no place, whose time would go by.
            assert rollout(sock, "status", "--json")[0]["taken"] == 0
            assert node.said == []
            lock(service, "steady-state", "somebody")
            wait_until(lambda: node.said == ["reboot"], "it boots again")
        assert lock(service, "pre-reboot", "somebody")[0] == 409
        with follow(tmp_path / "b", service, boot_and_follow(service, NODES[0])[1]):
            wait_until(lambda: lock(service, "pre-reboot", "somebody")[0] == 200, "it has given it back")


def test_a_unit_that_fails_keeps_it_from_booting_and_its_slot_is_free(tmp_path: Path) -> None:
    settings_file, _, after = prepare(tmp_path)
    give_slots(settings_file, 1)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        path = boot_and_follow(service, NODES[0])[1]
        rollout(sock, "start", after.id, "--group", "runners", "--waves", "100%")
        with follow(tmp_path / "a", service, path, "broken.service", "other.service") as node:
            wait_until(lambda: len(node.said) > 1, "it tries again")
            assert set(node.said) == {"start -- broken.service"}
            assert "broken.service has failed" in node.out
            wait_until(lambda: lock(service, "pre-reboot", "somebody")[0] == 200, "its slot is free")


def test_without_an_address_of_a_boot_server_nothing_is_done(tmp_path: Path) -> None:
    for number, word in enumerate(
        ("", "every_channel.report=file:///etc/passwd", "every_channel.report=$(id)")
    ):
        cmdline = tmp_path / f"cmdline-{number}"
        cmdline.write_text(f"quiet {word}\n")
        done = subprocess.run(
            ["bash", str(SCRIPT), str(cmdline)],
            env={**os.environ, "FOLLOW_SECONDS": "1", "FOLLOW_UNITS": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "nobody is followed" in done.stdout
