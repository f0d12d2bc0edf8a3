"""From a request's path to a file: nothing outside of the root and the store is ever opened."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ectools.errors import EcError, InputError
from ectools.netboot.http.webroot import RejectedError, WebRoot, build_validators, parse_target

NAMES = ["a", "b", "c"]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A root with a file and a directory, a store, and files outside of both."""
    for directory in ("root/a", "store/pkg", "out", "root-b", "store-b"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "c").write_bytes(directory.encode())
    (tmp_path / "root" / "b").write_bytes(b"root")
    return tmp_path


def read(root: WebRoot, target: str) -> bytes:
    opened = root.open(parse_target(target))
    try:
        return os.pread(opened.descriptor, 100, 0)
    finally:
        os.close(opened.descriptor)


def status_of(root: WebRoot, target: str) -> int:
    with pytest.raises(RejectedError) as caught:
        read(root, target)
    return caught.value.status


@given(st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=4), st.text(max_size=5))
def test_every_name_comes_through_its_encoding(names: list[bytes], query: str) -> None:
    target = "/" + "/".join(quote_from_bytes(name, safe="") for name in names) + "?" + query
    if any(name in (b".", b"..") or b"/" in name or b"\0" in name for name in names):
        with pytest.raises(RejectedError) as caught:
            parse_target(target)
        assert caught.value.status == 400
    else:
        assert parse_target(target) == tuple(names)


@given(st.text(alphabet="/.%25eEfF0?#ab:\\\udcff", max_size=20))
@example("/..%2f")
@example("//..")
def test_no_target_yields_a_segment_that_is_not_one_name(target: str) -> None:
    with suppress(RejectedError):
        segments = parse_target(target)
        assert segments
        for segment in segments:
            assert segment not in (b".", b"..")
            assert b"/" not in segment
            assert b"\0" not in segment
        assert all(segments[:-1])


LINK_TARGETS = st.one_of(
    st.lists(st.sampled_from([*NAMES, "..", "."]), min_size=1, max_size=5).map("/".join),
    st.sampled_from(
        ["{out}/c", "{out}", "{root}/b", "{root}", "{store}/pkg/c", "{store}/pkg", "{store}-b/c"]
    ),
)
LINKS = st.lists(
    st.tuples(
        st.sampled_from(["root", "root/a", "out", "store/pkg"]),
        st.sampled_from(["d", "e", "f"]),
        LINK_TARGETS,
    ),
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(
    links=LINKS, walks=st.lists(st.lists(st.sampled_from([*NAMES, "d", "e", "f"]), min_size=1, max_size=4))
)
def test_what_is_opened_lies_in_the_root_or_the_store(
    links: list[tuple[str, str, str]], walks: list[list[str]]
) -> None:
    """Whatever links stand where: a path is served just where its real path is a file in one of the two."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve()
        for directory in ("root/a", "store/pkg", "out", "root-b", "store-b"):
            (base / directory).mkdir(parents=True)
            (base / directory / "c").write_bytes(directory.encode())
        (base / "root" / "b").write_bytes(b"root")
        for directory, link, target in links:
            with suppress(FileExistsError):
                places = {"out": base / "out", "root": base / "root", "store": base / "store"}
                (base / directory / link).symlink_to(target.format(**places))
        root = WebRoot(base / "root", store=base / "store")
        for walk in walks:
            path = base / "root" / "/".join(walk)
            real = os.path.realpath(path)
            allowed = path.is_file() and real.startswith((f"{base}/root/", f"{base}/store/"))
            target = "/" + "/".join(walk)
            if allowed:
                assert read(root, target) == Path(real).read_bytes()
            else:
                assert status_of(root, target) == 404


def test_the_root_itself_may_be_reached_by_links(house: Path) -> None:
    (house / "var").symlink_to("out")
    (house / "out" / "current").symlink_to("../root")
    root = WebRoot(house / "var" / "current", store=house / "store")
    assert read(root, "/b") == b"root"
    (house / "root" / "up").symlink_to("../out/c")
    assert status_of(root, "/up") == 404


def test_the_whole_filesystem_may_be_the_root(house: Path) -> None:
    assert read(WebRoot(Path("/"), store=Path("/nix/store")), f"{house}/root/b") == b"root"


def test_a_closed_file_and_a_closed_root() -> None:
    base = Path(tempfile.mkdtemp())  # not pytest's, whose parents are closed to others
    try:
        base.chmod(0o755)
        (base / "closed").write_bytes(b"")
        (base / "closed").chmod(0)
        (base / "directory").mkdir(mode=0)
        with as_nobody():
            assert status_of(WebRoot(base, store=Path("/nix/store")), "/closed") == 403
            assert status_of(WebRoot(base, store=Path("/nix/store")), "/directory/file") == 403
            with pytest.raises(InputError, match="Permission denied"):
                WebRoot(base / "directory", store=Path("/nix/store")).check()
    finally:
        (base / "directory").chmod(0o700)
        shutil.rmtree(base)


class as_nobody:  # noqa: N801 - it reads as a phrase
    """Give up root's power over files for a block."""

    def __enter__(self) -> None:
        self._user = os.geteuid()
        if self._user == 0:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        os.seteuid(self._user)


def test_tags_differ_for_files_that_nix_made_alike(tmp_path: Path) -> None:
    """The same size and the same date, as in the store, where an inode's number is reused too."""
    tags = set()
    for content in (b"init=/nix/store/aaa", b"init=/nix/store/bbb"):
        (tmp_path / "script").write_bytes(content)
        os.utime(tmp_path / "script", (1, 1))
        validators = build_validators((tmp_path / "script").stat(), now=2_000_000_000)
        assert validators.last_modified is None
        tags.add(validators.etag)
        (tmp_path / "script").unlink()
    assert len(tags) == 2


def test_a_date_in_the_future_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.utime(tmp_path / "file", (4_000_000_000, 4_000_000_000))
    assert build_validators((tmp_path / "file").stat(), now=2_000_000_000.5).modified == 2_000_000_000


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/", (b"",)),
        ("/a", (b"a",)),
        ("/a/", (b"a", b"")),
        ("//a///b", (b"a", b"b")),
        ("/a?b/../c", (b"a",)),
        ("/a?", (b"a",)),
        ("/%61%2e%2E", (b"a..",)),
        ("/%25", (b"%",)),
        ("/%2561", (b"%61",)),
        ("/a\udcff", (b"a\xff",)),
        ("/ä", "ä".encode()),
        ("http://boot/a", (b"a",)),
        ("HTTPS://boot/a//b", (b"a", b"b")),
        ("http://boot", (b"",)),
        ("http://user:x@boot:80/a?b", (b"a",)),
        ("/a:b@c", (b"a:b@c",)),
        ("/...", (b"...",)),
    ],
)
def test_what_a_target_names(target: str, segments: tuple[bytes, ...] | bytes) -> None:
    assert parse_target(target) == (segments if isinstance(segments, tuple) else (segments,))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "the request target is not a path"),
        ("a", "the request target is not a path"),
        ("*", "the request target is not a path"),
        ("boot:80", "the request target is not a path"),
        ("ftp://boot/a", "the request target is not a path"),
        ("://boot/a", "the request target is not a path"),
        ("/%", "the path is not well encoded"),
        ("/%6", "the path is not well encoded"),
        ("/%6g", "the path is not well encoded"),
        ("/a#b", "the path is not well encoded"),
        ("/..", "the path has a segment that is no name"),
        ("/a/./b", "the path has a segment that is no name"),
        ("/%2e%2e/a", "the path has a segment that is no name"),
        ("/a%2Fb", "the path has a segment that is no name"),
        ("/a%00", "the path has a segment that is no name"),
    ],
)
def test_what_a_target_may_not_be(target: str, message: str) -> None:
    with pytest.raises(RejectedError) as caught:
        parse_target(target)
    assert (caught.value.status, caught.value.message) == (400, message)


@pytest.mark.parametrize("target", ["/", "/a/", "/.hidden", "/.hidden/c", "/a/.c", "/a", "/none", "/b/c"])
def test_what_is_not_found(house: Path, target: str) -> None:
    for name in (".hidden", "a/.c"):
        (house / "root" / name).write_bytes(b"half written")
    assert status_of(WebRoot(house / "root", store=house / "store"), target) == 404


def test_a_path_is_joined_below_the_root(house: Path) -> None:
    root = WebRoot(house / "root", store=house / "store")
    assert root.find_path((b"a", b"c")) == os.fsencode(house / "root/a/c")


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_behind_and_none_is_inherited(house: Path) -> None:
    root = WebRoot(house / "root", store=house / "store")
    before = count_descriptors()
    (house / "root/out").symlink_to("../out/c")
    os.mkfifo(house / "root/fifo")
    for target in ("/a", "/none", "/out", "/fifo", "/b/x"):
        assert status_of(root, target) == 404
    root.check()
    assert root.is_there()
    assert count_descriptors() == before
    opened = root.open((b"b",))
    assert count_descriptors() == before + 1
    assert opened.status.st_size == 4
    assert not os.get_inheritable(opened.descriptor)
    os.close(opened.descriptor)


def test_a_root_that_is_gone_is_not_there_at_the_moment(house: Path) -> None:
    root = WebRoot(house / "none", store=house / "store")
    assert not root.is_there()
    with pytest.raises(RejectedError) as caught:
        root.open((b"b",))
    assert (caught.value.status, caught.value.message) == (503, "the boot files are not there at the moment")
    with pytest.raises(InputError, match="none: cannot be served: No such file or directory") as wrong:
        root.check()
    assert wrong.value.hint is not None
    with pytest.raises(InputError, match="Not a directory"):
        WebRoot(house / "root/b", store=house / "store").check()
    (house / "none").mkdir()
    assert root.is_there()


def test_a_root_is_named_from_where_the_program_was_started(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house)
    root = WebRoot(Path("root"), store=house / "store")
    monkeypatch.chdir("/")
    assert read(root, "/b") == b"root"


def test_without_proc_nothing_is_served(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def readlink(*_: object) -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "readlink", readlink)
    root = WebRoot(house / "root", store=house / "store")
    before = count_descriptors()
    with pytest.raises(EcError, match="/proc is not mounted"):
        root.check()
    assert not root.is_there()
    assert count_descriptors() == before


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EACCES, 403),
        (errno.EPERM, 403),
        (errno.EMFILE, 503),
        (errno.ENFILE, 503),
        (errno.ENOMEM, 503),
        (errno.ENOENT, 404),
        (errno.ENOTDIR, 404),
        (errno.ELOOP, 404),
        (errno.ENAMETOOLONG, 404),
        (errno.ENXIO, 404),
        (errno.EIO, 500),
    ],
)
def test_what_the_system_says_of_a_file(
    house: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    system_open = os.open

    def fail(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            raise OSError(number, os.strerror(number))
        return system_open(path, flags)

    monkeypatch.setattr(os, "open", fail)
    before = count_descriptors()
    assert status_of(WebRoot(house / "root", store=house / "store"), "/b") == status
    assert count_descriptors() == before


def test_long_names_and_circles_are_not_found(house: Path) -> None:
    (house / "root/circle").symlink_to("circle")
    root = WebRoot(house / "root", store=house / "store")
    for target in ("/circle", "/" + "x" * 300, "/" + "x/" * 3000 + "x"):
        assert status_of(root, target) == 404


def file_status(*, mtime: float, **changes: int) -> os.stat_result:
    """A file's status, as the kernel might give it."""
    values = {"st_dev": 1, "st_ino": 2, "st_size": 3, "st_ctime_ns": 5, **changes}
    plain = (0o100644, values["st_ino"], values["st_dev"], 1, 0, 0, values["st_size"], 0, int(mtime), 0)
    extra = {"st_mtime": mtime, "st_mtime_ns": int(mtime * 1e9), "st_ctime_ns": values["st_ctime_ns"]}
    return os.stat_result(plain, extra)


@pytest.mark.parametrize(
    ("mtime", "modified"), [(0, None), (1, None), (1.9, None), (2, 2), (99.5, 99), (100, 100), (101, 100)]
)
def test_which_date_is_sent(mtime: float, modified: int | None) -> None:
    validators = build_validators(file_status(mtime=mtime), now=100.9)
    assert (validators.size, validators.modified) == (3, modified)


def test_a_tag_is_quoted_and_differs_with_each_sign_of_a_change() -> None:
    status = file_status(mtime=5)
    tag = build_validators(status, now=100).etag
    assert re.fullmatch(r'"[0-9a-f]{24}"', tag)
    assert build_validators(status, now=200).etag == tag
    for change in ("st_dev", "st_ino", "st_size", "st_ctime_ns"):
        assert build_validators(file_status(mtime=5, **{change: 9}), now=100).etag != tag
    assert build_validators(file_status(mtime=5.5), now=100).etag != tag
