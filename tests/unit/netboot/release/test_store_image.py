"""What a stage 1 that fetches its Nix store is told: where it lies, at each source of the release's files."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.releases import build_settings
from support.staged import make_release, make_systems

from ectools.archive.file_record import FileRecord
from ectools.netboot.boot_files.scripts.checked import ScriptError
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.manifest import Release, build_id
from ectools.netboot.release.store_image import BESIDE_SCRIPT, STORE_NAME, build_store_argument

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {"hostname": "192.0.2.10", "mirrors": ["http://192.0.2.20/a,b"]}


def with_stores(release: Release, *, missing: str | None = None) -> Release:
    """The release, with a stage 1 in each system that fetches its store; ``missing`` lacks one."""
    directories = [f"{each.name}/" for each in release.systems] if len(release.systems) > 1 else [""]
    record = FileRecord(size=9, sha256="0" * 64)
    stores = {f"{each}{STORE_NAME}": record for each in directories if each != missing}
    files = {**release.files, **stores}
    systems = tuple(
        replace(each, boot=replace(each.boot, arguments=(BESIDE_SCRIPT, *each.boot.arguments)))
        for each in release.systems
    )
    return replace(release, id=build_id(files), files=files, systems=systems)


def test_stores_are_named_with_commas_between_them() -> None:
    assert build_store_argument(["http://a/x", "http://b/x"]) == "every_channel.store=http://a/x,http://b/x"


def test_each_source_is_named_in_turn(tmp_path: Path) -> None:
    release = with_stores(make_release())
    script = build_netboot(build_settings(tmp_path, **SETTINGS), release, None)
    base = f"releases/{release.id}/store.squashfs"
    (found,) = re.findall(r"every_channel\.store=\S+", script)
    assert found == f"every_channel.store=http://192.0.2.10:8080/{base},http://192.0.2.20/a%2Cb/{base}"
    assert "cwuri" not in script


def test_of_several_systems_each_has_its_own(tmp_path: Path) -> None:
    names = {"a-netboot": KernelArchitecture.X86_64, "b-netboot": KernelArchitecture.AARCH64}
    both, _ = make_systems(names)
    release = with_stores(both)
    script = build_netboot(build_settings(tmp_path, **SETTINGS), release, None)
    found = re.findall(r"every_channel\.store=http://192\.0\.2\.10:8080(\S+?),", script)
    assert found == [f"/releases/{release.id}/{name}/store.squashfs" for name in names]
    with pytest.raises(ScriptError, match=r"has no b-netboot/store\.squashfs, which the system's stage 1"):
        build_netboot(build_settings(tmp_path, **SETTINGS), with_stores(both, missing="b-netboot/"), None)


def test_a_store_that_asks_for_the_token_is_refused(tmp_path: Path) -> None:
    settings = build_settings(tmp_path, **SETTINGS, protectedFiles=["netboot.ipxe", STORE_NAME])
    with pytest.raises(ScriptError, match="among protectedFiles"):
        build_netboot(settings, with_stores(make_release()), "token")
