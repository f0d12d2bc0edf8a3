"""Another release's packages: the sources that apt is given, and what is left of a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ectools.demo import debian_suite
from ectools.demo.debian_suite import find_ipxe_tree
from ectools.demo.payload import PayloadError
from ectools.processes import Completed, ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RELEASE = "ID=debian\nVERSION_CODENAME=bookworm\n"
ONE_LINE = """\
# deb http://old/ bookworm main
deb [signed-by=/k] http://deb.debian.org/debian bookworm main contrib
deb http://deb.debian.org/debian bookworm-updates main
"""
STANZAS = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://security.debian.org/debian-security
Suites: bookworm-security
Components: main
"""


class Apt:
    """``processes.run``, as far as apt-get and dpkg-deb; ``sources`` is what apt was given."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.error: ProcessError | None = None
        self.calls = 0

    def run(self, argv: Sequence[str], *, timeout: float, cwd: Path | None = None) -> Completed:
        assert timeout > 0
        self.calls += 1
        if self.error is not None:
            raise self.error
        if argv[-1] == "update":
            (parts,) = [word.partition("=")[2] for word in argv if word.startswith("Dir::Etc::sourceparts=")]
            self.sources = {path.name: path.read_text() for path in Path(parts).iterdir()}
        elif argv[-3:] == ["download", "ipxe", "ipxe-qemu"]:
            assert cwd is not None
            (cwd / "ipxe_2_all.deb").touch()
        else:
            assert list(argv[:2]) == ["dpkg-deb", "--extract"]
            (Path(argv[3]) / "usr").mkdir()
        return Completed("", "")


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Apt:
    fake = Apt()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(debian_suite, "run", fake.run)
    monkeypatch.setattr(debian_suite, "find_program", lambda name, *, hint: f"/usr/bin/{name}")
    return fake


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Sets what the system's /etc holds."""
    etc = tmp_path / "etc"
    (etc / "apt/sources.list.d").mkdir(parents=True)
    real = Path

    def move(path: str) -> Path:
        return real(str(path).replace("/etc/", f"{etc}/", 1) if str(path).startswith("/etc/") else path)

    monkeypatch.setattr(debian_suite, "Path", move)

    def write(**files: str) -> None:
        for name, text in {"os_release": RELEASE, **files}.items():
            where = {"os_release": "os-release", "one_line": "apt/sources.list"}
            (etc / where.get(name, f"apt/sources.list.d/{name}.sources")).write_text(text)

    return write


def test_the_tree_is_made_once(apt: Apt, system: Callable[..., None], tmp_path: Path) -> None:
    system(one_line=ONE_LINE)
    tree = find_ipxe_tree("trixie")
    assert tree == tmp_path / "cache/ectools/ipxe-trixie"
    assert (tree / "usr").is_dir()
    calls = apt.calls
    assert find_ipxe_tree("trixie") == tree
    assert apt.calls == calls
    assert {path.name for path in tree.parent.iterdir()} == {"ipxe-trixie", "ipxe-trixie.lock"}


def test_sources_have_the_other_suites_name_alone(apt: Apt, system: Callable[..., None]) -> None:
    system(one_line=ONE_LINE, debian=STANZAS)
    find_ipxe_tree("trixie")
    assert apt.sources == {
        "sources.list": "deb [signed-by=/k] http://deb.debian.org/debian trixie main contrib\n",
        "debian.sources": (
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie\nComponents: main\n"
        ),
    }


def test_a_system_without_a_code_name_tells_nothing(apt: Apt, system: Callable[..., None]) -> None:
    system(os_release="ID=gentoo\n", other="Suites: x\n")
    with pytest.raises(PayloadError, match="has no code name"):
        find_ipxe_tree("trixie")
    assert apt.calls == 0


def test_a_download_that_failed_leaves_nothing(apt: Apt, system: Callable[..., None], tmp_path: Path) -> None:
    system(one_line=ONE_LINE)
    apt.error = ProcessError("apt-get: exit status 100", argv=[])
    with pytest.raises(ProcessError):
        find_ipxe_tree("trixie")
    assert {path.name for path in (tmp_path / "cache/ectools").iterdir()} == {"ipxe-trixie.lock"}
