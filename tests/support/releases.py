"""Release archives, good and bad, made byte by byte; and what a store must be like."""

from __future__ import annotations

import gzip
import lzma
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.archive.decompress import import_zstd
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.release.verify import check_staged
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.settings.model import NetbootSettings

zstd = import_zstd()

ARCHIVE = "ec-runner-x86_64-netboot-test.tar.gz"
SCRIPT = b"""#!ipxe
# Use the cmdline variable to allow the user to specify custom kernel params
# when chainloading this script from other iPXE scripts like netboot.xyz
kernel bzImage init=/nix/store/abc-nixos-system/init initrd=initrd loglevel=4 ${cmdline}
initrd initrd
boot
"""
TAR_END = bytes(1024)


def release_files(text: str = "one", *, size: int = 4096) -> dict[str, bytes]:
    """The three files; another ``text`` is other content."""
    body = (text.encode() * size)[:size]
    return {"kernel": b"kernel " + body, "initrd": b"initrd " + body, "netboot.ipxe": SCRIPT}


def tar_header(
    name: bytes,
    *,
    kind: bytes = b"0",
    size: int = 0,
    link: bytes = b"",
    mode: int = 0o644,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    size_field: bytes | None = None,
    checksum: int | None = None,
) -> bytes:
    """One block, valid unless told otherwise."""
    size_bytes = b"%011o\0" % size if size_field is None else size_field
    head = name.ljust(100, b"\0") + b"%07o\0" % mode + b"0000000\0" * 2 + size_bytes + b"00000000000\0"
    tail = kind + link.ljust(100, b"\0") + magic + b"root".ljust(32, b"\0") * 2 + b"0000000\0" * 2
    tail = (tail + prefix.ljust(155, b"\0")).ljust(356, b"\0")
    total = sum(head + b" " * 8 + tail) if checksum is None else checksum
    block = head + b"%06o\0 " % total + tail
    assert len(block) == 512
    return block


def tar_file(name: bytes, data: bytes = b"", **fields: Any) -> bytes:
    """A header with its content."""
    return tar_header(name, size=len(data), **fields) + pad(data)


def pad(data: bytes) -> bytes:
    """With what fills its last block."""
    return data + bytes(-len(data) % 512)


def pax(records: Mapping[bytes, bytes], *, kind: bytes = b"x") -> bytes:
    """An extended header of these records."""
    return tar_file(b"pax", b"".join(pax_record(key, value) for key, value in records.items()), kind=kind)


def pax_record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE``, whose length counts itself."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def build_tar(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of plain files."""
    return b"".join(tar_file(name.encode(), data) for name, data in files.items()) + TAR_END


def compress(data: bytes, kind: str = "gz") -> bytes:
    """``gz``, ``xz`` or ``zst``."""
    return {"gz": lambda: gzip.compress(data, 1, mtime=0), "xz": lambda: lzma.compress(data)}.get(
        kind, lambda: zstd.compress(data)
    )()


def write_archive(directory: Path, files: Mapping[str, bytes], name: str = ARCHIVE) -> Path:
    """An archive in ``directory``, compressed as its name says."""
    path = directory / name
    path.write_bytes(compress(build_tar(files), name.rpartition(".")[2]))
    return path


def build_settings(state_dir: Path, **flags: Any) -> NetbootSettings:
    """Settings as the command line gives them; ``release_keep=1`` is ``release.keep``."""
    options = {key.replace("_", ".", 1): value for key, value in flags.items()}
    return load_netboot_settings(None, flags={"stateDir": str(state_dir), **options}, environment={})


def snapshot(directory: Path) -> dict[str, bytes | str]:
    """Everything below a directory: content of files, targets of links."""
    found: dict[str, bytes | str] = {}
    for parent, directories, names in os.walk(directory):
        for name in [*directories, *names]:
            path = Path(parent, name)
            key = str(path.relative_to(directory))
            if path.is_symlink():
                found[key] = os.readlink(path)
            elif path.is_file():
                found[key] = path.read_bytes()
            else:
                found[key] = "directory"
    # These hold the last holder's process id.
    return {name: data for name, data in found.items() if not name.endswith(".lock")}


def check_whole(state_dir: Path) -> Release | None:
    """The current release, every byte of which is right; None where there is none yet."""
    store = ReleaseStore(state_dir)
    release = store.find_current()
    if release is not None:
        assert check_staged(store, release.id).damage == ()
    return release
