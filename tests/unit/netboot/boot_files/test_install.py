from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from support.boot_binaries import UNDIONLY, build_ipxe
from support.staged import make_release, put_release

from ectools.cli.netboot.ipxe import COMMAND
from ectools.errors import EcError
from ectools.files import LockedError, hold_lock
from ectools.netboot.boot_files import install
from ectools.netboot.boot_files.install import install_boot_files
from ectools.netboot.settings.load import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.settings.model import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with binaries; the state folder is ``state`` in it."""
    (tmp_path / "ipxe.efi").write_bytes(build_ipxe())
    (tmp_path / "undionly.kpxe").write_bytes(UNDIONLY)
    return tmp_path


def settings_of(folder: Path, **flags: Any) -> Settings:
    given = {
        "stateDir": str(folder / "state"),
        "hostname": "192.0.2.10",
        "ipxe.strategy": "local",
        "ipxe.localFile": str(folder / "ipxe.efi"),
        **{name.replace("__", "."): value for name, value in flags.items()},
    }
    return load_settings(None, flags=given, environment={})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "state/tftp").iterdir()}


def test_the_folder_holds_the_binaries_and_a_script_that_not_everyone_may_read(folder: Path) -> None:
    done = install_boot_files(settings_of(folder, ipxe__biosFile=str(folder / "undionly.kpxe")), "t0ken")
    assert set(done.files) == set(done.written) == {"ec-ipxe.efi", "undionly.kpxe", "autoexec.ipxe"}
    held = content(folder)
    assert held["ec-ipxe.efi"] == build_ipxe()
    assert held["undionly.kpxe"] == UNDIONLY
    assert b"t0ken" in held["autoexec.ipxe"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in done.folder.iterdir()}
    assert modes == {"ec-ipxe.efi": 0o644, "undionly.kpxe": 0o644, "autoexec.ipxe": 0o640}


def test_what_is_right_already_is_left_alone(folder: Path) -> None:
    settings = settings_of(folder)
    install_boot_files(settings, None)
    before = {path.name: path.stat().st_ino for path in settings.tftp_dir.iterdir()}
    done = install_boot_files(settings, None)
    assert done.written == ()
    assert {path.name: path.stat().st_ino for path in settings.tftp_dir.iterdir()} == before
    (settings.tftp_dir / "autoexec.ipxe").chmod(0o644)
    assert install_boot_files(settings, None).written == ("autoexec.ipxe",)


def test_what_is_no_longer_configured_goes_where_it_was_ours(folder: Path) -> None:
    install_boot_files(settings_of(folder, ipxe__biosFile=str(folder / "undionly.kpxe")), None)
    (folder / "state/tftp/somebody.efi").write_bytes(b"else's")
    done = install_boot_files(settings_of(folder, tftpBootFilename="new.efi"), None)
    assert sorted(done.removed) == ["ec-ipxe.efi", "undionly.kpxe"]
    assert sorted(content(folder)) == ["autoexec.ipxe", "new.efi", "somebody.efi"]


def test_what_somebody_changed_stays(folder: Path) -> None:
    install_boot_files(settings_of(folder), None)
    (folder / "state/tftp/ec-ipxe.efi").write_bytes(b"patched by hand")
    done = install_boot_files(settings_of(folder, tftpBootFilename="new.efi"), None)
    assert done.removed == ()
    assert content(folder)["ec-ipxe.efi"] == b"patched by hand"


def test_nothing_is_written_where_one_of_them_cannot_be_used(folder: Path) -> None:
    (folder / "undionly.kpxe").write_bytes(b"#!/bin/sh")
    with pytest.raises(EcError, match="cannot be the boot binary for bios"):
        install_boot_files(settings_of(folder, ipxe__biosFile=str(folder / "undionly.kpxe")), None)
    assert content(folder) == {}


@pytest.mark.parametrize("writes", range(1, 5))
def test_a_run_that_dies_leaves_whole_files_that_the_next_one_knows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    install_boot_files(settings_of(folder), None)
    old = content(folder)
    left = [writes]

    def die_at_the_end(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        genuine(path, data, mode=mode)

    genuine = install.write_atomic
    new = {"tftpBootFilename": "new.efi", "ipxe__biosFile": str(folder / "undionly.kpxe")}
    monkeypatch.setattr(install, "write_atomic", die_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        install_boot_files(settings_of(folder, **new), "t0ken")
    monkeypatch.setattr(install, "write_atomic", genuine)
    wanted = {"new.efi": build_ipxe(), "undionly.kpxe": UNDIONLY}
    for name, data in content(folder).items():
        assert data in (old.get(name), wanted.get(name)) or name == "autoexec.ipxe"
    install_boot_files(settings_of(folder), None)
    assert content(folder) == old


def test_a_record_that_is_none_removes_nothing(folder: Path) -> None:
    install_boot_files(settings_of(folder), None)
    for text in ("", "[]", '{"../state/tftp.json": "x"}'):
        (folder / "state/tftp.json").write_text(text)
        assert install_boot_files(settings_of(folder), None).removed == ()


def test_two_at_once_are_told_apart(folder: Path) -> None:
    (folder / "state").mkdir()
    with hold_lock(folder / "state/.tftp.lock", what="the folder"), pytest.raises(LockedError):
        install_boot_files(settings_of(folder), None)


def test_the_script_cannot_have_the_binarys_name(folder: Path) -> None:
    with pytest.raises(EcError, match="tftpBootFilename"):
        install_boot_files(settings_of(folder, tftpBootFilename="autoexec.ipxe"), None)


def run_command(folder: Path, *arguments: str, **document: Any) -> Any:
    config = folder / "settings.json"
    config.write_text(json.dumps(document))
    words = ["--config", str(config), "--state-dir", str(folder / "state")]
    words += ["--local-file", str(folder / "ipxe.efi"), *arguments]
    return CliRunner().invoke(COMMAND, words)


def test_the_command_writes_and_says_what(folder: Path) -> None:
    (folder / "token").write_text("first\nsecond\n")
    result = run_command(folder, "--json", chainTokenFile=str(folder / "token"))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "folder": str(folder / "state/tftp"),
        "files": ["ec-ipxe.efi", "autoexec.ipxe"],
        "written": ["ec-ipxe.efi", "autoexec.ipxe"],
        "removed": [],
    }
    script = content(folder)["autoexec.ipxe"]
    assert b"first" in script
    assert b"second" not in script


def test_the_command_prints_scripts_without_the_token(folder: Path) -> None:
    (folder / "token").write_text("s3cret")
    files = {"bzImage": b"kernel", "initrd": b"initrd"}
    put_release(folder / "state", make_release(files), files)
    for script, line in (
        ("autoexec", "?token=TOKEN"),
        ("netboot", f"echo every.channel: starting {make_release().id}"),
    ):
        result = run_command(folder, "--print", script, chainTokenFile=str(folder / "token"))
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("#!ipxe\n")
        assert line in result.stdout
        assert "s3cret" not in result.stdout
    assert not (folder / "state/tftp").exists()


def test_there_is_no_second_script_before_a_release_is_staged(folder: Path) -> None:
    result = run_command(folder, "--print", "netboot")
    assert isinstance(result.exception, EcError)
    assert "no release is staged" in result.exception.message
