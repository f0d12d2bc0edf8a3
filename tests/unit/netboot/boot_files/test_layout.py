"""Where the first script stands, and which names there are at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ectools.netboot.boot_files.layout import build_filenames, list_boot_names, list_scripts
from ectools.netboot.protocols import Binary
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings


def settings_of(filename: str = "ec-ipxe.efi", *extra: str) -> NetbootSettings:
    flags: dict[str, Any] = {"tftpBootFilename": filename, "ipxe.extraFiles": dict.fromkeys(extra, "/f")}
    return load_netboot_settings(None, flags=flags, environment={})


@pytest.mark.parametrize(
    ("names", "scripts"),
    [
        (["ec-ipxe.efi"], ["autoexec.ipxe"]),
        (["sb/shimx64.efi"], ["autoexec.ipxe", "sb/autoexec.ipxe"]),
        (["sb/shimx64.efi", "sb/grubx64.efi"], ["autoexec.ipxe", "sb/autoexec.ipxe"]),
        (["shimx64.efi", "a/b/IPXE.EFI"], ["autoexec.ipxe", "a/b/autoexec.ipxe"]),
        # The script may hold a token: it stands where a program could look for it alone.
        (["ec-ipxe.efi", "grub/grub.cfg", "a.efi/b"], ["autoexec.ipxe"]),
    ],
)
def test_the_first_script_stands_beside_each_program(names: list[str], scripts: list[str]) -> None:
    assert list(list_scripts(settings_of(*names))) == scripts


def test_all_names_there_are() -> None:
    settings = settings_of("sb/shimx64.efi", "sb/ipxe.efi", "grub/grub.cfg")
    assert build_filenames(settings)[Binary.X86_64] == "sb/shimx64.efi"
    assert set(list_boot_names(settings)) == {
        *("undionly.kpxe", "ec-ipxe-ia32.efi", "sb/shimx64.efi", "ec-ipxe-arm64.efi"),
        *("sb/ipxe.efi", "grub/grub.cfg", "autoexec.ipxe", "sb/autoexec.ipxe"),
    }
