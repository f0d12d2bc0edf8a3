"""``ectools netboot stage``: archives are staged for real; a forge's options are seen where they arrive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.kernels import system_files
from support.releases import check_whole, release_files, write_archive

from ectools.cli.netboot.stage import COMMAND
from ectools.errors import EcError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.rollback import roll_back
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.settings.model import Forge, Signature, SignatureFormat

if TYPE_CHECKING:
    from conftest import Program

    from ectools.netboot.settings.model import NetbootSettings

pytestmark = pytest.mark.usefixtures("owners")


def archive(tmp_path: Path, text: str) -> Path:
    (tmp_path / text).mkdir(exist_ok=True)
    return write_archive(tmp_path / text, release_files(text, size=50_000))


def test_an_archive_becomes_current_once(program: Program, tmp_path: Path, owners: list[Path]) -> None:
    state = tmp_path / "state"
    arguments = ("--state-dir", state, "--tarball", archive(tmp_path, "one"))
    status, out, _ = program(COMMAND, *arguments)
    release = check_whole(state)
    assert release is not None
    assert (status, out) == (0, f"{release.title}: 3 files, 0.1 MB; current now\n")
    assert owners == [state]
    assert program(COMMAND, *arguments)[:2] == (
        0,
        f"{release.title}: is current already; nothing changed\n",
    )


def test_one_that_was_there_or_was_rolled_back_from(program: Program, tmp_path: Path) -> None:
    state = tmp_path / "state"
    one, two = archive(tmp_path, "one"), archive(tmp_path, "two")

    def stage(tarball: Path, *more: str) -> str:
        status, out, _ = program(COMMAND, "--state-dir", state, "--tarball", tarball, *more)
        assert status == 0
        return out

    stage(one)
    stage(two)
    assert stage(one).endswith(": was there already; current now\n")
    stage(two)
    roll_back(ReleaseStore(state))
    assert stage(two).endswith(
        ": was rolled back from, and is not made current; --accept-withdrawn would do so\n"
    )
    assert stage(two, "--accept-withdrawn").endswith(": was there already; current now\n")


def test_the_result_as_json_with_what_had_to_go(program: Program, tmp_path: Path) -> None:
    state, ids = tmp_path / "state", []
    for text in ("one", "two", "three"):
        status, out, _ = program(
            COMMAND, "--state-dir", state, "--tarball", archive(tmp_path, text), "--keep", 0, "--json"
        )
        result = json.loads(out)
        assert (status, result["outcome"]) == (0, "staged")
        ids.append(result["release"]["id"])
    assert result["removed"] == [ids[0]]
    assert ReleaseStore(state).find_link_id("current") == ids[2]


def test_several_archives_are_one_release(program: Program, tmp_path: Path) -> None:
    state = tmp_path / "state"
    words: list[object] = ["--state-dir", state]
    for architecture in (KernelArchitecture.X86_64, KernelArchitecture.AARCH64):
        name = f"ec-runner-{architecture}-netboot-boot-v1.tar.gz"
        words += ["--tarball", write_archive(tmp_path, system_files(architecture), name)]
    status, out, _ = program(COMMAND, *words)
    release = check_whole(state)
    assert release is not None
    assert (status, out.partition(": ")[2]) == (0, "2 systems, 6 files, 16994 bytes; current now\n")
    result = json.loads(program(COMMAND, *words, "--json")[1])
    assert result["outcome"] == "unchanged"
    assert list(result["release"]["systems"]) == ["ec-runner-aarch64-netboot", "ec-runner-x86_64-netboot"]
    status, _, err = program(COMMAND, *words, "--system", "ec-runner-riscv64-netboot")
    assert status == 2
    assert "release.systems: ec-runner-riscv64-netboot: no archive given is of it" in err


def test_an_archive_is_no_release_of_a_forge(program: Program, tmp_path: Path) -> None:
    status, out, err = program(COMMAND, "--tarball", "x.tar.gz", "--tag", "boot-v1")
    assert (status, out) == (2, "")
    assert "--tarball and --tag exclude each other: an archive, or a release of the forge" in err


def test_what_cannot_be_staged_is_told_and_changes_nothing(program: Program, tmp_path: Path) -> None:
    state = tmp_path / "state"
    status, out, err = program(COMMAND, "--state-dir", state, "--tarball", tmp_path / "no.tar.gz")
    assert (status, out) == (2, "")
    assert f"{tmp_path}/no.tar.gz" in err
    assert check_whole(state) is None
    tarball = archive(tmp_path, "one")
    status, _, err = program(COMMAND, "--state-dir", state, "--tarball", tarball, "--require-sums")
    assert status == 1
    assert "SHA256SUMS" in err
    assert check_whole(state) is None


def test_each_option_of_a_forge_arrives(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[NetbootSettings, bool]] = []

    def stage(settings: NetbootSettings, *, accept_withdrawn: bool, on_progress: Any) -> None:
        asked.append((settings, accept_withdrawn))
        raise EcError("the forge is away")

    monkeypatch.setattr("ectools.netboot.release.stage.stage", stage)
    (tmp_path / "netboot.json").write_text('{"release": {"requireSums": true}}')
    flags = {
        "--config": tmp_path / "netboot.json",
        "--state-dir": tmp_path / "state",
        "--host": "https://forge.example.org",
        "--repo": "owner/name",
        "--tag": "boot-v1",
        "--artifact": "*.tar.xz",
        "--system": "ec-runner-x86_64-netboot",
        "--token-file": "/run/token",
        "--ca-file": "/etc/ssl/ca.pem",
        "--signature-format": "openssh",
        "--public-key-file": "/etc/key.pub",
        "--keep": 4,
    }
    status, out, err = program(COMMAND, *(word for pair in flags.items() for word in pair))
    assert (status, out) == (1, "")
    assert "the forge is away" in err
    ((settings, accept_withdrawn),) = asked
    release = settings.release
    assert (settings.state_dir, accept_withdrawn) == (tmp_path / "state", False)
    assert release.source == Forge(
        host="https://forge.example.org",
        repo="owner/name",
        tag="boot-v1",
        token_file=Path("/run/token"),
        ca_file=Path("/etc/ssl/ca.pem"),
        artifact="*.tar.xz",
        other_artifacts=(),
    )
    assert release.systems == ("ec-runner-x86_64-netboot",)
    assert release.signature == Signature(
        format=SignatureFormat.OPENSSH, public_key_file=Path("/etc/key.pub")
    )
    # A flag that is not given does not unset what the file has.
    assert (release.keep, release.require_sums) == (4, True)
