"""Releases as they stand in a state directory, without having been staged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ectools.archive.file_record import FileRecord
from ectools.netboot.release.manifest import BootEntry, Release, System, build_id, render_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ectools.netboot.kernel import KernelArchitecture

ARGUMENTS = ("init=/nix/store/e-nixos/init", "initrd=initrd", "loglevel=4", "${cmdline}")


def make_release(
    files: Mapping[str, bytes] | None = None,
    *,
    arguments: tuple[str, ...] = ARGUMENTS,
    architecture: KernelArchitecture | None = None,
    sha256: str = "0" * 64,
) -> Release:
    """A release of these files, the first of which is the kernel and the others initrds."""
    contents = files or {"bzImage": b"kernel", "initrd": b"initrd"}
    records = {
        name: FileRecord(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    }
    kernel, *initrds = contents
    boot = BootEntry(kernel=kernel, arguments=arguments, initrds=tuple(initrds))
    return Release(
        id=build_id(records),
        tag="boot-v1",
        staged_at=1,
        files=records,
        systems=(make_system(boot, architecture=architecture, sha256=sha256),),
    )


def make_system(
    boot: BootEntry,
    *,
    name: str = "release",
    architecture: KernelArchitecture | None = None,
    sha256: str = "0" * 64,
) -> System:
    """A system whose archive lies in /srv."""
    return System(
        name=name,
        architecture=architecture,
        source=f"/srv/{name}.tar.gz",
        archive_name=f"{name}.tar.gz",
        archive_sha256=sha256,
        boot=boot,
    )


def make_systems(
    names: Mapping[str, KernelArchitecture], *, arguments: tuple[str, ...] = ARGUMENTS
) -> tuple[Release, dict[str, bytes]]:
    """A release of several systems, name → architecture, and its files: kernel and initrd of each."""
    contents = {
        f"{name}/{file}": f"{file} of {name}".encode() for name in names for file in ("bzImage", "initrd")
    }
    release = make_release(contents)
    systems = tuple(
        make_system(
            BootEntry(kernel=f"{name}/bzImage", arguments=arguments, initrds=(f"{name}/initrd",)),
            name=name,
            architecture=names[name],
            sha256=hashlib.sha256(name.encode()).hexdigest(),
        )
        for name in sorted(names)
    )
    return replace(release, systems=systems), contents


def put_release(state_dir: Path, release: Release, files: Mapping[str, bytes]) -> Path:
    """The directory of ``release`` in a state directory, where ``current`` leads to it."""
    directory = state_dir / "releases" / release.id
    directory.mkdir(parents=True)
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    (directory / "release.json").write_bytes(render_manifest(release))
    current = state_dir / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(f"releases/{release.id}")
    return directory
