"""From a request's path to a file: nothing outside of the root and the store is ever opened."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ectools.errors import InputError
from ectools.netboot.http.webroot import RejectedError, WebRoot, build_validators, parse_target

if TYPE_CHECKING:
    pass

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


@settings(max_examples=150, deadline=None)
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
