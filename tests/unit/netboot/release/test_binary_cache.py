"""Names of a binary cache in a release, and what Nix is told to write; the e2e tests run the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ectools.errors import InputError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.binary_cache import (
    BinaryCacheError,
    find_platforms,
    is_cache_of_any_system,
    is_cached_content,
    write_binary_cache,
)

COPIES = """#!/bin/sh
echo "$@" > "$LOG"
mkdir nar
echo StoreDir: /nix/store > nix-cache-info
echo x > nar/x.nar.zst
"""


def make_system(directory: Path, platform: str = "x86_64-linux") -> Path:
    directory.mkdir()
    (directory / "system").write_text(platform)
    return directory


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "a key&name"
    path.write_text("boot.test-1:secret")
    return path


def put_nix(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``nix`` on PATH in place of the real one; returns the file that it may write to."""
    program = directory / "bin" / "nix"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(directory / "log"))
    return directory / "log"


def test_names_of_a_cache() -> None:
    contents = ("cache/nar/x.nar.zst",)
    of_any = (*contents, "cache/0a.narinfo", "cache/nix-cache-info")
    others = ("cache/roots.txt", "cache/nar/a/b", "nar/x", "cache", "xcache/nar/x", "cache/nar/x/..")
    assert [is_cached_content(name) for name in (*of_any, *others)] == [True] + [False] * 8
    assert [is_cache_of_any_system(name) for name in (*of_any, *others)] == [True] * 3 + [False] * 6


def test_systems_by_what_they_run_on(tmp_path: Path) -> None:
    pc, arm = make_system(tmp_path / "pc"), make_system(tmp_path / "arm", "aarch64-linux\n")
    link = tmp_path / "result"
    link.symlink_to(pc)
    assert find_platforms([pc, arm, link]) == {
        KernelArchitecture.X86_64: [pc],
        KernelArchitecture.AARCH64: [arm],
    }


@pytest.mark.parametrize("platform", ["riscv64-linux", "", "x86_64-darwin", "\xff"])
def test_no_other_platform_is_taken(tmp_path: Path, platform: str) -> None:
    with pytest.raises(InputError):
        find_platforms([make_system(tmp_path / "other", platform)])


def test_a_cache_is_what_nix_copies_and_the_roots(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put_nix(tmp_path, COPIES, monkeypatch)
    to = tmp_path / "to a directory"
    to.mkdir()
    found = write_binary_cache([Path("/nix/store/b"), Path("/nix/store/a")], to, key_file=key)
    assert set(found) == {"cache/nix-cache-info", "cache/nar/x.nar.zst", "cache/roots.txt"}
    assert found["cache/roots.txt"].read_text() == "/nix/store/a\n/nix/store/b\n"
    told = log.read_text()
    assert f"compression=zstd&secret-key={tmp_path}/a%20key%26name /nix/store/b /nix/store/a" in told
    assert "secret" not in told.replace("secret-key=", "")


def test_what_nix_says_is_told(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_nix(tmp_path, "#!/bin/sh\necho error: path is not valid >&2; exit 1\n", monkeypatch)
    with pytest.raises(BinaryCacheError, match=r"/nix/store/a: cannot be copied: error: path is not valid"):
        write_binary_cache([Path("/nix/store/a")], tmp_path, key_file=key)


def test_a_key_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        write_binary_cache([], tmp_path, key_file=tmp_path / "none")
