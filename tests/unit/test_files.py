"""Files are written whole or not at all, and a lock has one holder."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ectools.files import (
    FileError,
    LockedError,
    hold_lock,
    open_regular,
    read_bytes,
    read_input,
    read_regular,
    write_atomic,
)


def test_a_written_file_has_its_content_and_mode_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_atomic(path, b"one", mode=0o600)
    write_atomic(path, b"two", mode=0o640)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_atomic(path, b"old")
    # In a child: a limit on the size of files is as good as a full disk, and cannot be taken back.
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from ectools.files import FileError, write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 5000)\n"
        "except FileError as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"missing/name: cannot be written: No such file"):
        write_atomic(tmp_path / "missing" / "name", b"")
    with pytest.raises(FileError, match=r"missing: cannot be read: No such file"):
        read_bytes(tmp_path / "missing")


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/thread-self/fd/{}"])
def test_what_is_open_already_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    ours, theirs = os.pipe()
    path = Path(name.format(ours))
    with os.fdopen(ours), os.fdopen(theirs, "wb", buffering=0) as pipe:
        # Whole, although it comes in pieces and its writer takes its time; a pipe holds 64 KiB.

        def write() -> None:
            for _ in range(4):
                pipe.write(b"x" * 50_000)
            pipe.close()

        writer = threading.Thread(target=write)
        writer.start()
        assert read_input(path, limit=200_000) == b"x" * 200_000
        writer.join()
    left, right = socket.socketpair()
    with left, right:
        right.sendall(b"12345")
        with pytest.raises(FileError, match="is larger than 4 bytes"):
            read_input(Path(name.format(left.fileno())), limit=4)
    # A file is opened anew: from its beginning, as often as somebody asks.
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        assert file.read(3) == b"con"
        for _ in range(2):
            assert read_input(Path(name.format(file.fileno())), limit=7) == b"content"
    with pytest.raises(FileError, match="cannot be read: No such file"):
        read_input(Path(name.format(99_999)), limit=7)


def test_a_pipe_whose_writer_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ectools.files._STREAM_SECONDS", 0.2)
    ours, theirs = os.pipe()
    with os.fdopen(ours), os.fdopen(theirs, "wb", buffering=0) as pipe:
        pipe.write(b"{")
        with pytest.raises(FileError, match=rf"/dev/fd/{ours}: has not come to its end within 0.2 s"):
            read_input(Path(f"/dev/fd/{ours}"), limit=7)
        with pytest.raises(FileError, match="not a regular file"):
            read_input(Path(f"/dev/fd/{theirs}"), limit=7)


@pytest.mark.parametrize("place", ["fifo", "link", "/dev/null"])
def test_any_other_name_is_a_regular_files(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    with pytest.raises(FileError, match=r"not a regular file|cannot be read"):
        read_input(tmp_path / place, limit=7)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT])
def test_only_a_regular_file_is_opened_and_nothing_is_waited_for(tmp_path: Path, flags: int) -> None:
    os.mkfifo(tmp_path / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    others = [tmp_path / "fifo", tmp_path / "socket", Path("/dev/null"), Path("/dev/ptmx")]
    for path in others:
        with pytest.raises(FileError, match=f"{path}: not a regular file"):
            open_regular(path, flags=flags)
    (tmp_path / "link").symlink_to("fifo")
    with pytest.raises(FileError, match="link: not a regular file"):
        open_regular(tmp_path / "link", flags=flags)
    with pytest.raises(FileError, match=f"{tmp_path}: (not a regular file|cannot be opened: Is a directory)"):
        open_regular(tmp_path, flags=flags)
    server.close()


def test_a_regular_file_is_opened_and_a_link_to_one_where_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for path in (tmp_path / "file", tmp_path / "link"):
        with os.fdopen(open_regular(path), "rb") as file:
            assert file.read() == b"content"
            assert not os.get_inheritable(file.fileno())
    with pytest.raises(FileError, match="link: is a symbolic link"):
        open_regular(tmp_path / "link", follow=False)
    with pytest.raises(FileError, match="missing: cannot be opened: No such file") as caught:
        open_regular(tmp_path / "missing")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    os.close(open_regular(tmp_path / "made", flags=os.O_RDWR | os.O_CREAT, mode=0o640, follow=False))
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o640


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


def test_a_wait_for_a_lock_ends_and_says_for_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock = tmp_path / "lock"
    caplog.set_level("INFO", logger="ectools")
    with hold_lock(lock, what="the disk"):
        with pytest.raises(LockedError, match=rf"\(pid {os.getpid()}\), after \d s still"):
            with hold_lock(lock, what="the disk", wait_seconds=1.2):
                pass
    assert caplog.messages == [
        f"waiting for the disk, which is in use by another process (pid {os.getpid()})"
    ]


def test_a_small_file_is_read_and_a_large_or_endless_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(FileError, match="file: is larger than 4 bytes"):
        read_regular(tmp_path / "file", limit=4)
    with pytest.raises(FileError, match="/dev/zero: not a regular file"):
        read_regular(Path("/dev/zero"), limit=5)
