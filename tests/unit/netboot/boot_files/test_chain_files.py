"""Chains of several files: read, installed below directories, removed; a shim without its second stage."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from support.boot_binaries import ARM64, build_ipxe, build_shim, build_uefi_application

from ectools.cli.netboot.serve import COMMAND as SERVE
from ectools.errors import EcError, InputError
from ectools.files import FileError
from ectools.netboot.boot_files import chain
from ectools.netboot.boot_files.chain import (
    find_missing_stages,
    find_root_stages,
    read_extra_files,
    warn_of_chain,
)
from ectools.netboot.boot_files.install import Installed, install_boot_files
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from pathlib import Path

    from support.log_lines import LogLines

    from ectools.netboot.settings.model import NetbootSettings

SHIM, GRUB = build_shim(), build_uefi_application(body=b"grub")
NAME = "x86_64-sb/shimx64.efi"
OPTION = "services.every-channel.netboot.ipxe.extraFiles"


def settings_of(directory: Path, filename: str = NAME, /, **extra: bytes) -> NetbootSettings:
    """``extra``: names with ``__`` for a slash and ``_`` for a dot."""
    files = {}
    (directory / "shim").write_bytes(SHIM)
    for key, data in extra.items():
        name = key.replace("__", "/").replace("_", ".")
        files[name] = directory / f"file-{key}"
        files[name].write_bytes(data)
    flags = {
        "stateDir": str(directory / "state"),
        "hostname": "192.0.2.10",
        "tftpBootFilename": filename,
        "ipxe.strategy": "local",
        "ipxe.localFile": str(directory / "shim"),
        "ipxe.extraFiles": {name: str(file) for name, file in files.items()},
    }
    return load_netboot_settings(None, flags=flags, environment={})


def install(directory: Path, filename: str = NAME, /, **extra: bytes) -> Installed:
    return install_boot_files(settings_of(directory, filename, **extra), None)


def content(directory: Path) -> set[str]:
    root = directory / "state/tftp"
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_a_chain_stands_below_directories_that_others_may_look_into(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        done = install(tmp_path, "sb/shimx64.efi", sb__grubx64_efi=GRUB, grub__grub_cfg=b"boot")
    finally:
        os.umask(before)
    chain = ("sb/shimx64.efi", "sb/grubx64.efi", "grub/grub.cfg")
    names = (*chain, "grubx64.efi", "autoexec.ipxe", "sb/autoexec.ipxe")
    assert done.files == done.written == names
    root = tmp_path / "state/tftp"
    assert (root / "sb/grubx64.efi").read_bytes() == GRUB
    assert (root / "sb/autoexec.ipxe").read_bytes() == (root / "autoexec.ipxe").read_bytes()
    modes = {name: oct(stat.S_IMODE((root / name).stat().st_mode)) for name in ("sb", "grub", *names)}
    scripts = {"autoexec.ipxe": "0o640", "sb/autoexec.ipxe": "0o640"}
    assert modes == {"sb": "0o755", "grub": "0o755", **dict.fromkeys(names, "0o644"), **scripts}
    assert set(json.loads((tmp_path / "state/tftp.json").read_text())) == set(names)


def test_what_is_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    install(tmp_path, "sb/shimx64.efi", sb__grubx64_efi=GRUB)
    assert install(tmp_path, "sb/shimx64.efi", sb__grubx64_efi=GRUB).written == ()
    (tmp_path / "state/tftp/sb").chmod(0o700)
    (tmp_path / "state/tftp/sb/grubx64.efi").write_bytes(b"changed")
    assert install(tmp_path, "sb/shimx64.efi", sb__grubx64_efi=GRUB).written == ("sb/grubx64.efi",)
    assert stat.S_IMODE((tmp_path / "state/tftp/sb").stat().st_mode) == 0o755


def test_directories_that_became_empty_go_with_their_files(tmp_path: Path) -> None:
    install(tmp_path, "a/b/shimx64.efi", a__b__grubx64_efi=GRUB, keep__grub_cfg=b"x")
    (tmp_path / "state/tftp/keep/mine").write_bytes(b"somebody's")
    done = install(tmp_path, "ec-ipxe.efi")
    gone = {"a/b/shimx64.efi", "a/b/grubx64.efi", "grubx64.efi", "a/b/autoexec.ipxe", "keep/grub.cfg"}
    assert set(done.removed) == gone
    assert content(tmp_path) == {"ec-ipxe.efi", "autoexec.ipxe", "keep/mine"}
    assert not (tmp_path / "state/tftp/a").exists()


def test_a_file_becomes_a_directory_and_a_directory_a_file(tmp_path: Path) -> None:
    install(tmp_path, "ec-ipxe.efi", a=b"1", b__c__d=b"2")
    done = install(tmp_path, "ec-ipxe.efi", a__x=b"3", b=b"4")
    assert set(done.removed) == {"a", "b/c/d"}
    assert content(tmp_path) == {"ec-ipxe.efi", "autoexec.ipxe", "a/x", "b"}


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_directory_that_is_none_is_not_written_through(tmp_path: Path, kind: str) -> None:
    install(tmp_path, "ec-ipxe.efi")
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "state/tftp/sb"
    if kind == "link":
        place.symlink_to(outside)
    else:
        place.write_bytes(b"somebody's")
    with pytest.raises(FileError, match=rf"^{place}: is no directory, and ipxe.extraFiles or"):
        install(tmp_path, "ec-ipxe.efi", sb__a=b"1")
    assert list(outside.iterdir()) == []
    assert content(tmp_path) - {"sb"} == {"ec-ipxe.efi", "autoexec.ipxe"}


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    install(tmp_path, "ec-ipxe.efi", sb__a=b"1")
    place = tmp_path / "state/tftp/sb"
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    assert install(tmp_path, "ec-ipxe.efi").removed == ()
    assert (tmp_path / "outside/a").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["../shim", "a/../../shim", "/shim", "", "a//b", ".", "a\0b"])
def test_a_record_that_leads_elsewhere_removes_nothing(tmp_path: Path, name: str) -> None:
    install(tmp_path, "ec-ipxe.efi")
    record = tmp_path / "state/tftp.json"
    digest = json.loads(record.read_text())["ec-ipxe.efi"]
    (tmp_path / "state/shim").write_bytes(SHIM)
    record.write_text(json.dumps({name: digest}))
    assert install(tmp_path, "ec-ipxe.efi").removed == ()
    assert (tmp_path / "state/shim").exists()


def test_what_cannot_be_read_is_told_with_its_option(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, NAME, grub__grub_cfg=b"x")
    (tmp_path / "file-grub__grub_cfg").unlink()
    with pytest.raises(InputError) as caught:
        install_boot_files(settings, None)
    file = tmp_path / "file-grub__grub_cfg"
    assert (
        caught.value.message
        == f'{OPTION}["grub/grub.cfg"]: {file}: cannot be read: No such file or directory'
    )
    assert content(tmp_path) == set()


def test_they_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_MAX_EXTRA_BYTES", 10)
    assert read_extra_files(settings_of(tmp_path, NAME, a=b"12345", b=b"67890")) == {
        "a": b"12345",
        "b": b"67890",
    }
    with pytest.raises(EcError, match=r'extraFiles\["b"\]: .*file-b: is larger than 5 bytes') as caught:
        read_extra_files(settings_of(tmp_path, NAME, a=b"12345", b=b"678901"))
    assert caught.value.hint == "all files of ipxe.extraFiles may have 10 bytes together"


def test_a_shim_without_its_second_stage_is_told(tmp_path: Path, log_lines: LogLines) -> None:
    install(tmp_path)
    (entry,) = log_lines.all()
    assert entry["event"] == "a shim's second stage is missing: over TFTP it will not get on"
    assert (entry["shim"], entry["missing"]) == (NAME, "x86_64-sb/grubx64.efi")
    assert entry["hint"] == f'{OPTION}["x86_64-sb/grubx64.efi"] names the file to be put there'


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_shim_with_its_second_stage_is_not(tmp_path: Path, log_lines: LogLines, *, by_hand: bool) -> None:
    if by_hand:
        place = tmp_path / "state/tftp/sb"
        place.mkdir(parents=True)
        (place / "grubx64.efi").write_bytes(GRUB)
        install(tmp_path, "sb/shimx64.efi")
    else:
        install(tmp_path, "sb/shimx64.efi", sb__grubx64_efi=GRUB)
    assert log_lines.all() == []


def test_a_copy_of_the_second_stage_stands_in_the_root() -> None:
    files = {"sb/shimx64.efi": SHIM, "sb/grubx64.efi": GRUB}
    assert find_root_stages(files) == {"grubx64.efi": GRUB}
    # By the name built in, whatever it makes of its own.
    forked = {"a/snponly-shimx64.efi": build_shim("ipxe.efi", by_own_name=True), "a/snponly.efi": b"snp"}
    assert find_root_stages(forked) == {"ipxe.efi": b"snp"}
    # Of two, the first one's; not in the place of another file; not where it is itself.
    assert find_root_stages({**files, "x/shim.efi": SHIM, "x/grubx64.efi": b"x"}) == {"grubx64.efi": GRUB}
    assert find_root_stages({**files, "GrubX64.efi": b"other"}) == {}
    assert find_root_stages({"shimx64.efi": SHIM, "grubx64.efi": GRUB}) == {}
    assert find_root_stages({"sb/shimx64.efi": SHIM}) == {}


def test_a_second_stage_of_another_case_is_no_second_stage(log_lines: LogLines) -> None:
    missing = find_missing_stages({"sb/shimx64.efi": SHIM, "sb/GRUBX64.EFI": GRUB, "b.efi": build_ipxe()})
    chain.warn_of_missing_stages(missing)
    (entry,) = log_lines.all()
    assert entry["hint"] == "names are told apart by case, and there is sb/GRUBX64.EFI"


def test_each_shim_of_a_chain_is_looked_at(tmp_path: Path) -> None:
    files = {"a.efi": SHIM, "grubx64.efi": build_shim("x.efi"), "b/c.efi": build_shim("d.efi", machine=ARM64)}
    assert [(each.shim, each.second_stage) for each in find_missing_stages(files)] == [
        ("grubx64.efi", "x.efi"),
        ("b/c.efi", "b/d.efi"),
    ]
    assert find_missing_stages({"a.efi": build_uefi_application(body=b"UEFI SHIM\n$Version: 1")}) == []


def test_the_check_of_settings_tells_it_as_far_as_files_can_be_read(
    tmp_path: Path, log_lines: LogLines
) -> None:
    settings = settings_of(tmp_path, "sb/shimx64.efi")
    warn_of_chain(settings)
    assert [entry["missing"] for entry in log_lines.all()] == ["sb/grubx64.efi"]
    # One that is named may be a file that only the service sees.
    with_second = settings_of(tmp_path, "sb/shimx64.efi", sb__grubx64_efi=GRUB)
    (tmp_path / "file-sb__grubx64_efi").unlink()
    warn_of_chain(with_second)
    (tmp_path / "shim").unlink()
    warn_of_chain(with_second)
    assert len(log_lines.all()) == 1


def test_the_check_looks_at_the_other_architectures_too(tmp_path: Path, log_lines: LogLines) -> None:
    (tmp_path / "shimaa64").write_bytes(build_shim("grubaa64.efi", machine=ARM64))
    flags = {"ipxe.arm64File": str(tmp_path / "shimaa64")}
    warn_of_chain(load_netboot_settings(None, flags=flags, environment={}))
    assert [entry["missing"] for entry in log_lines.all()] == ["grubaa64.efi"]


def test_serve_check_says_it_and_succeeds(tmp_path: Path, log_lines: LogLines) -> None:
    (tmp_path / "shim").write_bytes(SHIM)
    config = tmp_path / "settings.json"
    ipxe = {"strategy": "local", "localFile": str(tmp_path / "shim")}
    config.write_text(json.dumps({"listenIP": "192.0.2.10", "tftpBootFilename": NAME, "ipxe": ipxe}))
    result = CliRunner().invoke(SERVE, ["--check", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert [entry["missing"] for entry in log_lines.all()] == ["x86_64-sb/grubx64.efi"]
    assert "the settings can be used" in result.stderr
