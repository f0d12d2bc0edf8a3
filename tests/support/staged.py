"""Releases as they stand in a state directory, without having been staged."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ectools.archive.file_record import FileRecord
from ectools.netboot.release.manifest import BootEntry, Release, build_id, render_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARGUMENTS = ("init=/nix/store/e-nixos/init", "initrd=initrd", "loglevel=4", "${cmdline}")


def make_release(
    files: Mapping[str, bytes] | None = None, *, arguments: tuple[str, ...] = ARGUMENTS
) -> Release:
    """A release of these files, the first of which is the kernel and the others initrds."""
    contents = files or {"bzImage": b"kernel", "initrd": b"initrd"}
    records = {
        name: FileRecord(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    }
    kernel, *initrds = contents
    return Release(
        id=build_id(records),
        tag="boot-v1",
        source="/srv/release.tar.gz",
        archive_name="release.tar.gz",
        archive_sha256="0" * 64,
        staged_at=1,
        files=records,
        boot=BootEntry(kernel=kernel, arguments=arguments, initrds=tuple(initrds)),
    )


def put_release(state_dir: Path, release: Release, files: Mapping[str, bytes]) -> Path:
    """The directory of ``release`` in a state directory, where ``current`` leads to it."""
    directory = state_dir / "releases" / release.id
    directory.mkdir(parents=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    (directory / "release.json").write_bytes(render_manifest(release))
    current = state_dir / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(f"releases/{release.id}")
    return directory
