"""A lock has one holder, dies with it, and says who it is to one who waits."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.clock import Clock

from ectools.files import FileError, LockedError, hold_lock


def test_a_second_holder_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with hold_lock(lock, what="the disk"):
        with pytest.raises(
            LockedError, match=rf"the disk is in use by another process \(pid {os.getpid()}\)"
        ):
            with hold_lock(lock, what="the disk"):
                pass
    with hold_lock(lock, what="the disk"):
        pass


def test_a_full_disk_takes_no_id_and_the_lock_is_held(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a full disk has it: the file is there, and no byte more.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with hold_lock(tmp_path / "lock", what="the disk"):
            with (
                pytest.raises(LockedError, match=r"the disk is in use by another process$"),
                hold_lock(tmp_path / "lock", what="the disk"),
            ):
                raise AssertionError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nothing_is_locked_or_written_but_a_file_of_our_own_with_one_name(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"somebody's")

    def see(words: str) -> None:
        with pytest.raises(FileError, match=f"the lock file {tmp_path}/lock: {words}") as caught:
            with hold_lock(tmp_path / "lock", what="the disk"):
                pass
        assert "remove what is there" in str(caught.value.hint)
        (tmp_path / "lock").unlink()
        assert (tmp_path / "other").read_bytes() == b"somebody's"

    (tmp_path / "lock").symlink_to("other")
    see("is a symbolic link")
    (tmp_path / "lock").symlink_to("missing")
    see("is a symbolic link")
    assert not (tmp_path / "missing").exists()
    os.link(tmp_path / "other", tmp_path / "lock")
    see("has 2 names, and one was expected")
    os.mkfifo(tmp_path / "lock")
    see("not a regular file")
    if os.geteuid() == 0:
        (tmp_path / "lock").touch()
        os.chown(tmp_path / "lock", 65534, 65534)
        see("is user 65534's")


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    program = (
        "import os, sys; from pathlib import Path; from ectools.files import hold_lock\n"
        "with hold_lock(Path(sys.argv[1]), what='x'): os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(lock)], check=False).returncode == -9
    with hold_lock(lock, what="x"):
        pass


def test_one_that_waits_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    lock, got = tmp_path / "lock", threading.Event()

    def wait() -> None:
        with hold_lock(lock, what="x", wait_seconds=60):
            got.set()

    with hold_lock(lock, what="x"):
        waiter = threading.Thread(target=wait)
        waiter.start()
        assert not got.wait(0.2)
    assert got.wait(30)
    waiter.join()


@pytest.mark.parametrize(("seconds", "logged"), [(0.9, False), (1.0, False), (1.05, True), (7, True)])
def test_a_wait_for_a_lock_ends_and_says_for_whom(
    seconds: float,
    logged: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock, clock = tmp_path / "lock", Clock()
    monkeypatch.setattr("ectools.files.time", clock)
    caplog.set_level("INFO", logger="ectools")
    with hold_lock(lock, what="the disk"):
        with pytest.raises(LockedError) as caught:
            with hold_lock(lock, what="the disk", wait_seconds=seconds):
                pass
    by = f"is in use by another process (pid {os.getpid()})"
    assert caught.value.message == f"the disk {by}, after {seconds:.0f} s still"
    assert caught.value.hint == f"stop the other one first; the lock is {lock}"
    assert sum(clock.slept) == pytest.approx(seconds, abs=0.06)
    assert max(clock.slept) < 0.1
    assert caplog.messages == [f"waiting for the disk, which {by}"] * logged
    assert all(record.__dict__["fields"] == {"at_most_seconds": seconds} for record in caplog.records)


def test_one_that_does_not_wait_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("ectools.files.time", clock)
    with hold_lock(tmp_path / "lock", what="the disk"):
        # What another program wrote there is no process's id.
        (tmp_path / "lock").write_text("somebody")
        with pytest.raises(LockedError, match=r"^the disk is in use by another process$"):
            with hold_lock(tmp_path / "lock", what="the disk"):
                pass
    assert clock.slept == []


def test_a_lock_file_holds_the_last_holders_id_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1" * 30)
    with hold_lock(tmp_path / "lock", what="the disk"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "lock").exists()
