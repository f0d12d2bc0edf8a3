"""Files are written whole or not at all, and read within bounds, without waiting for a fifo."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.clock import Clock

from ectools.errors import InputError
from ectools.files import (
    FileError,
    LockedError,
    hold_lock,
    open_regular,
    parse_json,
    read_bytes,
    read_descriptor,
    read_input,
    read_json,
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


def test_a_writer_has_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by five at each look: what came in time is not enough."""
    monkeypatch.setattr("ectools.files.time", Clock(step=300))
    ours, theirs = os.pipe()
    with os.fdopen(ours), os.fdopen(theirs, "wb", buffering=0) as pipe:
        pipe.write(b"{")
        with pytest.raises(FileError, match=rf"/dev/fd/{ours}: has not come to its end within 600 s$"):
            read_input(Path(f"/dev/fd/{ours}"), limit=7)


def test_a_stream_that_cannot_be_read_is_told() -> None:
    # The server's end of a connection that was reset.
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    with server, accepted:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        path = Path(f"/dev/fd/{accepted.fileno()}")
        with pytest.raises(FileError, match=rf"^{path}: cannot be read: Connection reset by peer$"):
            read_input(path, limit=7)


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


def test_a_small_file_is_read_and_a_large_or_endless_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(FileError, match="file: is larger than 4 bytes"):
        read_regular(tmp_path / "file", limit=4)
    with pytest.raises(FileError, match="/dev/zero: not a regular file"):
        read_regular(Path("/dev/zero"), limit=5)


def test_a_file_is_read_up_to_its_limit_in_as_many_parts_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ectools.files._READ_BYTES", 2)
    path = tmp_path / "file"
    path.write_bytes(b"1234567")
    with path.open("rb") as file:
        assert read_descriptor(file.fileno(), path, limit=7) == b"1234567"
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        with pytest.raises(FileError, match=r"^\S+/file: is larger than 4 bytes: not read further$"):
            read_descriptor(file.fileno(), path, limit=4)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 5
    with path.open("wb") as file, pytest.raises(FileError, match="file: cannot be read: Bad file descriptor"):
        read_descriptor(file.fileno(), path, limit=5)


def test_what_cannot_be_read_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(FileError, match=r"^\S+/missing: cannot be read: No such file or directory$"):
        read_regular(tmp_path / "missing", limit=1)
    with pytest.raises(FileError, match="link: is a symbolic link, and a regular file was expected"):
        read_regular(tmp_path / "link", limit=1, follow=False)
    with pytest.raises(FileError, match="link: cannot be read: No such file"):
        read_regular(tmp_path / "link", limit=1)
    (tmp_path / "file").write_bytes(b"x")
    assert read_regular(tmp_path / "link", limit=1) == b"x"
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileError, match=r"^\S+/fifo: not a regular file$"):
        read_regular(tmp_path / "fifo", limit=1)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    os.mkfifo(tmp_path / "fifo")
    before = sorted(os.listdir("/proc/self/fd"))
    read_regular(tmp_path / "file", limit=5)
    for path, limit in ((tmp_path / "file", 4), (tmp_path / "fifo", 4), (tmp_path, 4)):
        with pytest.raises(FileError):
            read_regular(path, limit=limit)
    with hold_lock(tmp_path / "lock", what="x"), pytest.raises(LockedError):
        with hold_lock(tmp_path / "lock", what="x"):
            pass
    os.link(tmp_path / "lock", tmp_path / "second")
    with pytest.raises(FileError), hold_lock(tmp_path / "lock", what="x"):
        pass
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "name",
    ["/dev/fd/{}x", "/dev/fd", "x/dev/fd/{}", "/proc/1/fd/{}", "/dev/fd/99999999999999999999"],
)
def test_other_names_are_opened_anew(tmp_path: Path, name: str) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours), os.fdopen(theirs, "wb", buffering=0) as pipe:
        pipe.write(b"x")
        with pytest.raises(FileError, match=r"cannot be read|not a regular file"):
            read_input(Path(name.format(ours)), limit=7)


def test_standard_input_is_read_by_its_name() -> None:
    program = (
        "from pathlib import Path; from ectools.files import read_input; "
        "print(read_input(Path('/dev/stdin'), limit=7))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"content", capture_output=True, check=True, timeout=60
    )
    assert done.stdout == b"b'content'\n"


def test_a_pipe_is_read_up_to_its_limit_whether_or_not_it_blocks() -> None:
    for blocks in (True, False):
        ours, theirs = os.pipe()
        os.set_blocking(ours, blocks)
        with os.fdopen(ours):
            os.write(theirs, b"12345")
            os.close(theirs)
            assert read_input(Path(f"/dev/fd/{ours}"), limit=5) == b"12345"


def test_a_directory_that_is_open_is_no_file(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileError, match="not a regular file"):
            read_input(Path(f"/dev/fd/{descriptor}"), limit=7)
    finally:
        os.close(descriptor)


def test_json_documents(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'{"a": [1, true, null]}')
    assert read_json(path) == {"a": [1, True, None]}
    assert parse_json("7", where="x") == parse_json(b"7", where="x") == 7
    path.write_bytes(b"{")
    with pytest.raises(InputError, match=rf"^{path}: not JSON: Expecting property name .* line 1 column 2"):
        read_json(path)
    for data in (b"", b"\xff", "{'a': 1}"):
        with pytest.raises(InputError, match=r"^settings: not JSON: "):
            parse_json(data, where="settings")
    with pytest.raises(InputError, match=r"^settings: not JSON: nested too deeply$"):
        parse_json("[" * 200_000, where="settings")
    with pytest.raises(FileError, match=r"missing: cannot be read: No such file"):
        read_json(tmp_path / "missing")


def test_a_file_that_is_made_is_its_makers_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        descriptor = open_regular(tmp_path / "made", flags=os.O_WRONLY | os.O_CREAT)
    finally:
        os.umask(before)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    os.close(descriptor)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
    assert flags & os.O_NONBLOCK


def test_a_stream_that_wakes_its_reader_for_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """select(2), "BUGS": what is reported as ready may block all the same."""
    read, looks = os.read, iter([True, False, False])

    def read_later(descriptor: int, size: int) -> bytes:
        if descriptor == ours and next(looks):
            raise BlockingIOError
        return read(descriptor, size)

    ours, theirs = os.pipe()
    with os.fdopen(ours):
        os.write(theirs, b"12345")
        os.close(theirs)
        monkeypatch.setattr(os, "read", read_later)
        assert read_input(Path(f"/dev/fd/{ours}"), limit=7) == b"12345"
