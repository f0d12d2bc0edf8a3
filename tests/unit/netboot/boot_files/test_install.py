from __future__ import annotations

import errno
import hashlib
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from support.boot_binaries import UNDIONLY, build_ipxe
from support.staged import make_release, put_release

from ectools.cli.netboot.ipxe import COMMAND
from ectools.errors import EcError, InputError
from ectools.files import FileError, LockedError, hold_lock
from ectools.netboot.boot_files import install
from ectools.netboot.boot_files.install import install_boot_files
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with binaries; the state directory is ``state`` in it."""
    (tmp_path / "ipxe.efi").write_bytes(build_ipxe())
    (tmp_path / "undionly.kpxe").write_bytes(UNDIONLY)
    return tmp_path


def settings_of(directory: Path, **flags: Any) -> NetbootSettings:
    given = {
        "stateDir": str(directory / "state"),
        "hostname": "192.0.2.10",
        "ipxe.strategy": "local",
        "ipxe.localFile": str(directory / "ipxe.efi"),
        **{name.replace("__", "."): value for name, value in flags.items()},
    }
    return load_netboot_settings(None, flags=given, environment={})


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "state/tftp").iterdir()}


def test_the_directory_holds_the_binaries_and_a_script_that_not_everyone_may_read(directory: Path) -> None:
    done = install_boot_files(
        settings_of(directory, ipxe__biosFile=str(directory / "undionly.kpxe")), "t0ken"
    )
    assert set(done.files) == set(done.written) == {"ec-ipxe.efi", "undionly.kpxe", "autoexec.ipxe"}
    held = content(directory)
    assert held["ec-ipxe.efi"] == build_ipxe()
    assert held["undionly.kpxe"] == UNDIONLY
    assert b"t0ken" in held["autoexec.ipxe"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in done.directory.iterdir()}
    assert modes == {"ec-ipxe.efi": 0o644, "undionly.kpxe": 0o644, "autoexec.ipxe": 0o640}


def test_what_is_right_already_is_left_alone(directory: Path) -> None:
    settings = settings_of(directory)
    install_boot_files(settings, None)
    before = {path.name: path.stat().st_ino for path in settings.tftp_dir.iterdir()}
    done = install_boot_files(settings, None)
    assert done.written == ()
    assert {path.name: path.stat().st_ino for path in settings.tftp_dir.iterdir()} == before
    (settings.tftp_dir / "autoexec.ipxe").chmod(0o644)
    assert install_boot_files(settings, None).written == ("autoexec.ipxe",)


def test_what_is_no_longer_configured_goes_where_it_was_ours(directory: Path) -> None:
    install_boot_files(settings_of(directory, ipxe__biosFile=str(directory / "undionly.kpxe")), None)
    (directory / "state/tftp/somebody.efi").write_bytes(b"else's")
    done = install_boot_files(settings_of(directory, tftpBootFilename="new.efi"), None)
    assert sorted(done.removed) == ["ec-ipxe.efi", "undionly.kpxe"]
    assert sorted(content(directory)) == ["autoexec.ipxe", "new.efi", "somebody.efi"]


def test_what_somebody_changed_stays(directory: Path) -> None:
    install_boot_files(settings_of(directory), None)
    (directory / "state/tftp/ec-ipxe.efi").write_bytes(b"patched by hand")
    done = install_boot_files(settings_of(directory, tftpBootFilename="new.efi"), None)
    assert done.removed == ()
    assert content(directory)["ec-ipxe.efi"] == b"patched by hand"


def test_nothing_is_written_where_one_of_them_cannot_be_used(directory: Path) -> None:
    (directory / "undionly.kpxe").write_bytes(b"#!/bin/sh")
    with pytest.raises(EcError, match="cannot be the boot binary for bios"):
        install_boot_files(settings_of(directory, ipxe__biosFile=str(directory / "undionly.kpxe")), None)
    assert content(directory) == {}


@pytest.mark.parametrize("writes", range(1, 5))
def test_a_run_that_dies_leaves_whole_files_that_the_next_one_knows(
    directory: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    install_boot_files(settings_of(directory), None)
    old = content(directory)
    left = [writes]

    def die_at_the_end(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        genuine(path, data, mode=mode)

    genuine = install.write_atomic
    new = {"tftpBootFilename": "new.efi", "ipxe__biosFile": str(directory / "undionly.kpxe")}
    monkeypatch.setattr(install, "write_atomic", die_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        install_boot_files(settings_of(directory, **new), "t0ken")
    monkeypatch.setattr(install, "write_atomic", genuine)
    wanted = {"new.efi": build_ipxe(), "undionly.kpxe": UNDIONLY}
    for name, data in content(directory).items():
        assert data in (old.get(name), wanted.get(name)) or name == "autoexec.ipxe"
    install_boot_files(settings_of(directory), None)
    assert content(directory) == old


def test_a_record_that_is_none_removes_nothing(directory: Path) -> None:
    install_boot_files(settings_of(directory), None)
    for text in ("", "[]", '{"../state/tftp.json": "x"}'):
        (directory / "state/tftp.json").write_text(text)
        assert install_boot_files(settings_of(directory), None).removed == ()


def test_the_record_names_what_is_there_and_its_digest(directory: Path) -> None:
    done = install_boot_files(settings_of(directory), None)
    assert (done.directory, done.files, done.removed) == (
        directory / "state/tftp",
        ("ec-ipxe.efi", "autoexec.ipxe"),
        (),
    )
    record = json.loads((directory / "state/tftp.json").read_text())
    assert record == {name: hashlib.sha256(data).hexdigest() for name, data in content(directory).items()}
    assert (directory / "state/tftp.json").read_text().endswith("}\n")
    # Only the owner and its group may look in; the directory that is served is open.
    assert stat.S_IMODE((directory / "state/tftp").stat().st_mode) & 0o700 == 0o700


def test_a_script_without_the_token_is_written_anew_alone(directory: Path) -> None:
    install_boot_files(settings_of(directory), "t0ken")
    done = install_boot_files(settings_of(directory), "0ther")
    assert done.written == ("autoexec.ipxe",)
    assert b"0ther" in content(directory)["autoexec.ipxe"]


@pytest.mark.parametrize("name", ["ec-ipxe.efi", "autoexec.ipxe"])
def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(directory: Path, name: str) -> None:
    tftp = directory / "state/tftp"
    tftp.mkdir(parents=True)
    (directory / "elsewhere").write_bytes(build_ipxe())
    (tftp / name).symlink_to(directory / "elsewhere")
    assert name in install_boot_files(settings_of(directory), None).written
    assert not (tftp / name).is_symlink()
    assert (directory / "elsewhere").read_bytes() == build_ipxe()


def test_a_link_to_what_was_ours_stays(directory: Path) -> None:
    install_boot_files(settings_of(directory), None)
    ours = directory / "state/tftp/ec-ipxe.efi"
    ours.rename(directory / "moved")
    ours.symlink_to(directory / "moved")
    assert install_boot_files(settings_of(directory, tftpBootFilename="new.efi"), None).removed == ()
    assert ours.is_symlink()


def test_what_cannot_be_removed_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_boot_files(settings_of(directory), None)
    genuine = Path.unlink

    def unlink(path: Path, **options: Any) -> None:
        if path.name == "ec-ipxe.efi":
            raise OSError(errno.EBUSY, "Device or resource busy")
        genuine(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(FileError, match=r"tftp/ec-ipxe.efi: cannot be removed: Device or resource busy"):
        install_boot_files(settings_of(directory, tftpBootFilename="new.efi"), None)
    # The record still names it, so that the next run can.
    monkeypatch.setattr(Path, "unlink", genuine)
    done = install_boot_files(settings_of(directory, tftpBootFilename="new.efi"), None)
    assert done.removed == ("ec-ipxe.efi",)


def test_a_removal_is_made_durable(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(install, "sync_directory", synced.append)
    install_boot_files(settings_of(directory), None)
    assert synced == []
    install_boot_files(settings_of(directory, tftpBootFilename="new.efi"), None)
    assert synced == [directory / "state/tftp"]


@pytest.mark.parametrize(
    ("record", "removed"),
    [
        ({"old.efi": hashlib.sha256(b"old").hexdigest()}, True),
        ({"old.efi": hashlib.sha256(b"new").hexdigest()}, False),
        ({"old.efi": None}, False),
        ({"../tftp/old.efi": hashlib.sha256(b"old").hexdigest()}, False),
    ],
)
def test_what_a_record_may_say(directory: Path, record: dict[str, Any], removed: bool) -> None:
    tftp = directory / "state/tftp"
    tftp.mkdir(parents=True)
    (tftp / "old.efi").write_bytes(b"old")
    (directory / "state/tftp.json").write_text(json.dumps(record))
    assert bool(install_boot_files(settings_of(directory), None).removed) is removed
    assert (tftp / "old.efi").exists() is not removed


def test_a_directory_that_cannot_be_made(directory: Path) -> None:
    (directory / "state").write_text("a file")
    with pytest.raises(FileError, match=r"tftp: cannot be made: (File exists|Not a directory)"):
        install_boot_files(settings_of(directory), None)


def test_two_at_once_are_told_apart(directory: Path) -> None:
    (directory / "state").mkdir()
    with hold_lock(directory / "state/.tftp.lock", what="the directory"), pytest.raises(LockedError):
        install_boot_files(settings_of(directory), None)


def test_the_script_cannot_have_the_binarys_name(directory: Path) -> None:
    with pytest.raises(InputError) as caught:
        settings_of(directory, tftpBootFilename="autoexec.ipxe")
    assert "tftpBootFilename" in caught.value.render()


def run_command(directory: Path, *arguments: str, **document: Any) -> Any:
    config = directory / "settings.json"
    config.write_text(json.dumps(document))
    words = ["--config", str(config), "--state-dir", str(directory / "state")]
    words += ["--local-file", str(directory / "ipxe.efi"), *arguments]
    return CliRunner().invoke(COMMAND, words)


def test_the_command_writes_and_says_what(directory: Path) -> None:
    (directory / "token").write_text("first\nsecond\n")
    result = run_command(directory, "--json", chainTokenFile=str(directory / "token"))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "folder": str(directory / "state/tftp"),
        "files": ["ec-ipxe.efi", "autoexec.ipxe"],
        "written": ["ec-ipxe.efi", "autoexec.ipxe"],
        "removed": [],
    }
    script = content(directory)["autoexec.ipxe"]
    assert b"first" in script
    assert b"second" not in script


def test_the_command_prints_scripts_without_the_token(directory: Path) -> None:
    (directory / "token").write_text("s3cret")
    files = {"bzImage": b"kernel", "initrd": b"initrd"}
    put_release(directory / "state", make_release(files), files)
    for script, line in (
        ("autoexec", "&token=TOKEN"),
        ("netboot", f"echo every.channel: starting {make_release().id}"),
    ):
        result = run_command(directory, "--print", script, chainTokenFile=str(directory / "token"))
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("#!ipxe\n")
        assert line in result.stdout
        assert "s3cret" not in result.stdout
    assert not (directory / "state/tftp").exists()


def test_there_is_no_second_script_before_a_release_is_staged(directory: Path) -> None:
    result = run_command(directory, "--print", "netboot")
    assert isinstance(result.exception, EcError)
    assert "no release is staged" in result.exception.message
