"""Where a unit finds this package's programs and the system's, and which it does not see."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.service_programs import PROGRAMS

from ectools.service import programs
from ectools.service.programs import find_hidden, find_own_program, find_programs, is_hidden


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch(mode=0o755)


def test_the_program_that_runs_is_the_one_and_links_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "venv/bin/ectools")
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin/ectools"
    link.symlink_to(tmp_path / "venv/bin/ectools")
    monkeypatch.setattr(sys, "argv", [str(link)])
    assert find_own_program("ectools") == link
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bin/ectools"])
    assert find_own_program("ectools") == link


def test_another_way_to_be_started_looks_on_path_and_beside_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "ectools")
    monkeypatch.setattr(sys, "argv", ["/x/main.py"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_own_program("ectools") == tmp_path / "ectools"
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_own_program("ectools") == Path(sys.executable).with_name("ectools")


def test_the_systems_programs_and_its_systemd_are_those_below_the_root(tmp_path: Path) -> None:
    found = find_programs(tmp_path)
    assert (found.kill, found.nft, found.systemctl) == (PROGRAMS.kill, PROGRAMS.nft, PROGRAMS.systemctl)
    assert found.systemd is None
    library = "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so"
    make(tmp_path, "bin/kill", "usr/local/sbin/nft", library, "usr/lib64/systemd/libsystemd-shared-x.so")
    found = find_programs(tmp_path)
    assert (found.kill, found.nft, found.systemd) == (Path("/bin/kill"), Path("/usr/local/sbin/nft"), 252)
    assert found.runner == found.ectools.with_name("every-channel-ipxe-qemu")


def test_a_unit_sees_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_hidden(Path("/home/a/b"))
    assert is_hidden(Path("/root"))
    assert is_hidden(Path("//root/a"))
    assert not is_hidden(Path("/homes"))
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(programs, "__file__", "/opt/ectools/ectools/service/programs.py")
    assert find_hidden(PROGRAMS) == []
    hidden = replace(PROGRAMS, ectools=Path("/home/a/.local/bin/ectools"))
    assert find_hidden(hidden) == [Path("/home/a/.local/bin/ectools")]
    monkeypatch.setattr(sys, "prefix", "/root/venv")
    assert find_hidden(PROGRAMS) == [Path("/root/venv")]
