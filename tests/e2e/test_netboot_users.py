"""The boot server's commands, started by root in another user's directory: what is made, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.boot_service import boot_service, build_argv, require_boot_services, write_settings
from support.guests import open_way, process_status
from support.releases import release_files, write_archive
from support.staged import make_release, put_release

from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("root")

NETBOOT = [sys.executable, "-m", "ectools.cli.main", "netboot"]
ALICE = 64001
SECRET = b"root's alone\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state directory of Alice's, beside a file and a directory that are root's alone."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots/kept").write_bytes(SECRET)
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", ALICE, ALICE)
    open_way(tmp_path)
    return tmp_path


def run(*arguments: str | Path, status: int = 0) -> str:
    """What the command says on standard error."""
    argv = [*NETBOOT, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def give(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, ALICE, ALICE, follow_symlinks=False)


def stage(home: Path) -> str:
    """A release, as Alice staged it; its id."""
    files = {"bzImage": b"kernel", "initrd": b"initrd"}
    release = make_release(files)
    put_release(home / "state", release, files)
    give(home / "state")
    return release.id


def check_roots(home: Path) -> None:
    """What is root's is as it was."""
    assert (home / "secret").read_bytes() == SECRET
    assert (home / "secret").stat().st_uid == 0
    assert [path.name for path in (home / "roots").iterdir()] == ["kept"]
    assert not (home / "made").exists()


def test_all_that_root_makes_is_the_directories_users(home: Path) -> None:
    state = home / "state"
    # The archive is root's alone.
    archives = [write_archive(home, release_files(text), f"{text}.tar.gz") for text in ("one", "two")]
    for archive in archives:
        archive.chmod(0o600)
        run("stage", "--tarball", archive, "--state-dir", state)
    first, *_ = ReleaseStore(state).list_ids()
    run("releases", "pin", first, "--state-dir", state)
    run("rollback", "--state-dir", state)
    (home / "tree").mkdir()
    for name, data in release_files("three").items():
        (home / "tree" / name).write_bytes(data)
    run("pack", home / "tree", "--tag", "boot-v1", "-o", state / "packed")
    made = [state, *state.rglob("*")]
    assert {path.name for path in made} >= {".lock", ".staging.lock", "current", first, "SHA256SUMS.txt"}
    assert {path.lstat().st_uid for path in made} == {ALICE}


def test_what_root_makes_in_a_users_home_is_theirs(home: Path) -> None:
    archive = write_archive(home, release_files())
    run("stage", "--tarball", archive, "--state-dir", home / "state/new/below")
    assert {path.lstat().st_uid for path in (home / "state").rglob("*")} == {ALICE}


def to_secret(path: Path) -> None:
    path.symlink_to(path.parents[1] / "secret")


def to_missing(path: Path) -> None:
    path.symlink_to(path.parents[1] / "made")


def hard_link(path: Path) -> None:
    os.link(path.parents[1] / "secret", path)


def fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [to_secret, to_missing, hard_link, fifo])
@pytest.mark.parametrize("lock", [".lock", ".staging.lock"])
def test_what_is_planted_as_a_lock_is_refused(lock: str, plant: Callable[[Path], None], home: Path) -> None:
    stage(home)
    plant(home / "state" / lock)
    archive = write_archive(home, release_files("two"))
    text = run("stage", "--tarball", archive, "--state-dir", home / "state", status=1)
    assert f"the lock file {home}/state/{lock}: " in text
    check_roots(home)


@pytest.mark.parametrize("name", [".staging", ".changing", "pinned", "releases"])
def test_a_directory_that_leads_to_roots_is_left_alone(name: str, home: Path) -> None:
    release = stage(home) if name != "releases" else "sha256-" + "0" * 32
    (home / "state" / name).symlink_to(home / "roots")
    archive = write_archive(home, release_files("two"))
    command = (
        ["releases", "pin", release] if name in {"pinned", ".changing"} else ["stage", "--tarball", archive]
    )
    run(*command, "--state-dir", home / "state", status=1)
    check_roots(home)


def test_a_pin_that_is_a_link_is_refused(home: Path) -> None:
    release = stage(home)
    (home / "state/pinned").mkdir()
    (home / "state/pinned" / release).symlink_to(home / "made")
    give(home / "state")
    assert "is a symbolic link" in run("releases", "pin", release, "--state-dir", home / "state", status=1)
    check_roots(home)


def test_an_own_directory_that_is_a_link_is_never_emptied(tmp_path: Path) -> None:
    """A group shares the state directory: another of its members may have planted it; not root's alone."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files/kept").write_bytes(SECRET)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/.staging").symlink_to(tmp_path / "files")
    text = run(
        "stage",
        "--tarball",
        write_archive(tmp_path, release_files()),
        "--state-dir",
        tmp_path / "state",
        status=1,
    )
    assert f"{tmp_path}/state/.staging: is a link" in text
    assert (tmp_path / "files/kept").read_bytes() == SECRET


COMMANDS = [
    ["stage", "--tarball", "ARCHIVE", "--state-dir", "STATE"],
    ["rollback", "--state-dir", "STATE"],
    ["releases", "list", "--state-dir", "STATE"],
    ["releases", "collect", "--state-dir", "STATE"],
    ["ipxe", "--hostname", "192.0.2.1", "--state-dir", "STATE"],
    ["pack", "STATE", "--tag", "boot-v1", "--out", "STATE/out"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_directory_that_a_group_may_write_is_refused(command: list[str], home: Path) -> None:
    stage(home)
    (home / "state").chmod(0o770)
    archive = write_archive(home, release_files("two"))
    before = sorted((home / "state").rglob("*"))
    words = [word.replace("ARCHIVE", str(archive)).replace("STATE", str(home / "state")) for word in command]
    text = run(*words, status=1)
    assert f"{home}/state: " in text
    assert f"may be written by the group {ALICE}" in text
    assert f"chmod g-w {home}/state" in text
    assert sorted((home / "state").rglob("*")) == before


def test_the_boot_server_makes_its_directories_as_their_user_and_refuses_shared_ones(home: Path) -> None:
    require_boot_services()
    stage(home)
    settings = write_settings(home, stateDir=str(home / "state"))
    with boot_service(settings) as service:
        assert (home / "state/tftp").stat().st_uid == ALICE
        assert process_status(service.find_dnsmasq())["Uid"].split() == [str(ALICE)] * 4
    (home / "state/tftp").rmdir()
    (home / "state/tftp").symlink_to(home / "roots")
    assert "is root's, and" in refuse_start(settings)
    (home / "state/tftp").unlink()
    (home / "state/tftp").symlink_to(home / "made/below")
    assert f"{home}/state/tftp: " in refuse_start(settings)
    check_roots(home)
    (home / "state/tftp").unlink()
    (home / "state").chmod(0o777)
    assert "may be written by everybody" in refuse_start(settings)
    check_roots(home)


def refuse_start(settings: Path) -> str:
    done = subprocess.run(build_argv(settings), capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
