"""The runner started by root: as whom it and QEMU run, and what the directory's owner cannot make it do."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_http import wait_until
from support.free_port import choose_port
from support.guests import (
    NOBODY,
    empty_root,
    open_way,
    process_status,
    run_to_end,
    settings_for,
    start_runner,
)
from support.needs import require_tool
from support.reaper import find_descendants

import ectools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.usefixtures("root"),
]

ALICE = 64001
SECRET = b"root's alone\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory of Alice's, beside the boot root that she may read and a file that is root's alone."""
    empty_root(tmp_path / "root")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    open_way(tmp_path)
    (tmp_path / "alice").mkdir()
    os.chown(tmp_path / "alice", ALICE, ALICE)
    return tmp_path


def alices(home: Path, **more: Any) -> dict[str, Any]:
    times = {"powerdownSeconds": 0, "quitSeconds": 60, "terminateSeconds": 60}
    return settings_for(home / "alice/state", home / "root", shutdown=times, **more)


def make_state(home: Path, *, owner: int = ALICE, mode: int = 0o750) -> Path:
    state = home / "alice/state"
    state.mkdir()
    os.chown(state, owner, owner)
    state.chmod(mode)
    return state


def privileged_port() -> int:
    """A free one that takes root to listen on."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port below 1024 is free")


def fetch(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


def see_refusal(settings: dict[str, Any], home: Path, words: str) -> str:
    """What it says: it ends with that, started nothing, and has left root's file alone."""
    got, runner = run_to_end(settings, home, kept_as_it_is=True)
    assert (got, runner.events("QEMU started")) == (1, []), runner.report()
    assert words in "\n".join(runner.text), runner.report()
    assert "Traceback" not in runner.report()
    assert (home / "secret").read_bytes() == SECRET
    assert ((home / "secret").stat().st_uid, (home / "secret").stat().st_mode & 0o777) == (0, 0o600)
    return "\n".join(runner.text)


def test_the_runner_and_all_that_it_starts_are_the_directories_user(home: Path) -> None:
    settings = alices(home)
    settings["boot"]["http"]["port"] = port = privileged_port()
    with start_runner(settings, home, kept_as_it_is=True) as runner:
        qemu = runner.wait_guest_pid()
        assert fetch(port, "/netboot.ipxe")[0] == 200
        pids = [runner.process.pid, *find_descendants(runner.process.pid)]
        assert qemu in pids
        assert len(pids) == 3
        for pid in pids:
            status = process_status(pid)
            assert status["Uid"].split() == [str(ALICE)] * 4
            assert status["Gid"].split() == [str(NOBODY)] * 4
            assert status["Groups"] == ""
            assert status["NoNewPrivs"] == "1"
            # The HTTP server reads its own modules with a right that it gives up before it serves: one that
            # was started anew, because the machine is busy, may not have come so far.
            wait_until(
                lambda pid=pid: int(process_status(pid)["CapEff"], 16) == 0, f"{pid} works without rights"
            )
        assert int(process_status(qemu)["CapPrm"], 16) == 0
        made = [home / "alice/state", *(home / "alice/state").rglob("*")]
        assert {path.name for path in made} >= {"disk.qcow2", "disk.qcow2.lock", "undionly.kpxe"}
        assert {path.lstat().st_uid for path in made} == {ALICE}
        runner.terminate()
        assert runner.wait() == 0


def test_a_program_that_the_user_cannot_read_serves_all_the_same(home: Path) -> None:
    """As where root's interpreter or checkout stands below /root."""
    (home / "closed").mkdir(mode=0o700)
    shutil.copytree(ectools.__path__[0], home / "closed/ectools")
    settings = alices(home)
    settings["boot"]["http"]["port"] = port = choose_port()
    os.link(home / "secret", home / "root/link")
    with start_runner(settings, home, env={"PYTHONPATH": str(home / "closed")}, kept_as_it_is=True) as runner:
        qemu = runner.wait_guest_pid()
        runner.wait_event("boot HTTP server is ready")
        (server,) = {*find_descendants(runner.process.pid)} - {qemu}
        assert fetch(port, "/netboot.ipxe") == (200, (home / "root/netboot.ipxe").read_bytes())
        assert fetch(port, "/missing")[0] == 404
        assert fetch(port, "/link")[0] == 403
        assert int(process_status(qemu)["CapPrm"], 16) == 0
        assert int(process_status(server)["CapEff"], 16) == 0
        assert process_status(server)["Uid"].split() == [str(ALICE)] * 4
        runner.terminate()
        assert runner.wait() == 0


def link_to_secret(path: Path) -> None:
    path.symlink_to(path.parents[2] / "secret")


def hard_link(path: Path) -> None:
    os.link(path.parents[2] / "secret", path)


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parents[2] / "made-by-root")


def fifo(path: Path) -> None:
    os.mkfifo(path)
    os.chown(path, ALICE, ALICE)


@pytest.mark.parametrize("plant", [link_to_secret, hard_link, dangling_link, fifo])
@pytest.mark.parametrize("name", ["disk.qcow2.lock", "disk.qcow2"])
def test_what_is_planted_as_lock_or_disk_is_refused(
    name: str, plant: Callable[[Path], None], home: Path
) -> None:
    plant(make_state(home) / name)
    see_refusal(alices(home), home, f"{home}/alice/state/{name}: ")
    assert not (home / "made-by-root").exists()


def test_links_that_are_planted_as_boot_file_and_as_temporary_file_are_replaced(home: Path) -> None:
    state = make_state(home)
    (state / "tftp").mkdir()
    os.chown(state / "tftp", ALICE, ALICE)
    for name in ("undionly.kpxe", ".undionly.kpxe.aaaaaaaa"):
        (state / "tftp" / name).symlink_to(home / "secret")
    (state / ".disk.qcow2.new-aaaaaaaa").symlink_to(home / "secret")
    with start_runner(alices(home), home, kept_as_it_is=True) as runner:
        runner.wait_guest_pid()
    assert (state / "tftp/undionly.kpxe").read_bytes().startswith(b"#!ipxe")
    assert not (state / "tftp/undionly.kpxe").is_symlink()
    assert (home / "secret").read_bytes() == SECRET


def test_a_tftp_directory_that_leads_to_roots_is_refused(home: Path) -> None:
    (home / "roots").mkdir()
    (make_state(home) / "tftp").symlink_to(home / "roots")
    see_refusal(alices(home), home, "is root's, and")
    assert list((home / "roots").iterdir()) == []


def test_a_boot_file_that_leads_to_roots_is_not_read(home: Path) -> None:
    state = make_state(home)
    (state / "ipxe").symlink_to(home / "secret")
    settings = alices(home)
    settings["boot"]["http"]["port"] = choose_port()
    settings["boot"]["userNet"]["bootFile"] = str(state / "ipxe")
    text = see_refusal(settings, home, f"{state}/ipxe: ")
    assert "Permission denied" in text
    assert not (state / "tftp/undionly.kpxe").exists()


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o770, f"may be written by the group {ALICE}"), (0o777, "may be written by everybody")],
)
def test_a_directory_that_others_may_write_is_refused(mode: int, words: str, home: Path) -> None:
    state = make_state(home, mode=mode)
    see_refusal(alices(home), home, words)
    assert list(state.iterdir()) == []


def test_a_way_that_others_may_write_is_refused(home: Path) -> None:
    make_state(home)
    (home / "alice").chmod(0o777)
    see_refusal(
        alices(home), home, f"{home}/alice: on the way to {home}/alice/state may be written by everybody"
    )


def test_roots_own_directory_takes_the_services_user(home: Path) -> None:
    """There is none here."""
    settings = settings_for(home / "state", home / "root")
    status, runner = run_to_end(settings, home, kept_as_it_is=True)
    assert status == 1
    assert f"{home}/state: is root's, and QEMU does not run as root" in runner.text[0]
    assert "useradd --system every-channel-ipxe-qemu" in runner.text[1]
    assert not (home / "state").exists()
    # With one: in a mount namespace of its own, where /etc/passwd has it.
    require_tool("unshare", "install util-linux")
    passwd = (home / "passwd").write_text(f"root:x:0:0::/:\nevery-channel-ipxe-qemu:x:{ALICE}:{ALICE}::/:\n")
    assert passwd
    script = f'mount --bind "{home}/passwd" /etc/passwd && exec "$@"'
    wrapper = ["unshare", "--mount", "sh", "-c", script, "sh"]
    with start_runner(settings, home, wrapper=wrapper, kept_as_it_is=True) as second:
        assert process_status(second.wait_guest_pid())["Uid"].split() == [str(ALICE)] * 4
        assert {path.lstat().st_uid for path in (home / "state").rglob("*")} == {ALICE}
    # A directory that was root's before is not taken from it.
    shutil.rmtree(home / "state")
    (home / "state").mkdir()
    status, third = run_to_end(settings, home, wrapper=wrapper, kept_as_it_is=True)
    assert (status, third.events("QEMU started")) == (1, [])
    assert "chown -R every-channel-ipxe-qemu" in third.text[1]
