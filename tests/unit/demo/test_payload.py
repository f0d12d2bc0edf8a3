"""The demo's payload: made once from Debian's packages, whole or not at all; the packages are fakes."""

from __future__ import annotations

import gzip
import lzma
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.demo import payload as payload_module
from ectools.demo.payload import (
    Flavour,
    Payload,
    PayloadError,
    build_payload,
    cache_directory,
    find_kernel_package,
    open_to_guest,
    stage_payload,
    unpack_package,
)
from ectools.errors import InputError
from ectools.privileges import NOBODY, Identity
from ectools.processes import Completed, ProcessError

if TYPE_CHECKING:
    from collections.abc import Sequence

KERNEL_PACKAGE = "linux-image-6.1.0-37-cloud-amd64"
MODULES = "lib/modules/6.1.0-37-cloud-amd64/kernel"


class Debian:
    """``processes.run`` of a Debian: apt, dpkg-deb, and the busybox that packs the initramfs."""

    def __init__(self) -> None:
        self.depends = f"linux-image-cloud-amd64\n  Depends: {KERNEL_PACKAGE}\n"
        self.packages: dict[str, dict[str, bytes]] = {
            KERNEL_PACKAGE: {
                "boot/vmlinuz-6.1.0-37-cloud-amd64": b"the kernel",
                f"{MODULES}/virtio.ko": b"virtio",
                f"{MODULES}/virtio_ring.ko.xz": lzma.compress(b"virtio_ring"),
                f"{MODULES}/virtio_net_other.ko": b"not wanted",
            },
            "busybox-static": {"bin/busybox": b"busybox"},
        }
        self.calls: list[list[str]] = []
        self.packed: dict[str, tuple[bytes, int]] = {}
        """Name → content and mode of what the initramfs was packed from; directories have no content."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        cwd: Path | None = None,
        stdin: str | None = None,
    ) -> Completed:
        assert timeout > 0
        self.calls.append(list(argv))
        match [Path(argv[0]).name, *argv[1:]]:
            case ["apt-cache", "depends", "--important", _]:
                return Completed(stdout=self.depends, stderr="")
            case ["apt-get", "download", *_, package]:
                assert cwd is not None
                if package not in self.packages:
                    message = f"E: Unable to locate package {package}\n"
                    raise ProcessError("apt-get: exit status 100", argv=argv, stdout="", stderr=message)
                (cwd / f"{package}_1_amd64.deb").write_text(package)
            case ["dpkg-deb", "--extract", archive, tree]:
                for name, data in self.packages[Path(archive).read_text()].items():
                    path = Path(tree, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            case ["busybox", "cpio", *_, "-F", archive]:
                assert cwd is not None
                assert stdin is not None
                for name in stdin.splitlines():
                    path = cwd / name
                    data = b"" if path.is_dir() else path.read_bytes()
                    self.packed[name] = data, stat.S_IMODE(path.stat().st_mode)
                Path(archive).write_bytes(b"cpio")
            case _:
                pytest.fail(f"not expected: {argv}")
        return Completed(stdout="", stderr="")


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch) -> Debian:
    fake = Debian()
    monkeypatch.setattr(payload_module, "run", fake.run)
    monkeypatch.setattr(payload_module, "find_program", lambda name, *, hint: f"/usr/bin/{name}")
    return fake


def test_a_payload_is_made_once(debian: Debian, tmp_path: Path) -> None:
    made = build_payload(cache=tmp_path / "cache")
    assert made.kernel.read_bytes() == b"the kernel"
    assert gzip.decompress(made.initrd.read_bytes()) == b"cpio"
    assert made.initrd.read_bytes() == gzip.compress(b"cpio", mtime=0)
    assert sorted(path.name for path in made.kernel.parent.iterdir()) == ["initrd", "kernel"]
    debian.calls.clear()
    assert build_payload(cache=tmp_path / "cache") == made
    assert debian.calls == []
    # Only the payload and its lock stay.
    directory = made.kernel.parent
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {
        directory.name,
        f"{directory.name}.lock",
    }


def test_the_initramfs_has_what_its_init_needs(debian: Debian, tmp_path: Path) -> None:
    build_payload(cache=tmp_path)
    files = {name: data for name, (data, _) in debian.packed.items() if data}
    # In the order in which they must be loaded; what this kernel does not have is left out.
    assert files["modules/order"] == b"virtio_ring.ko\nvirtio.ko\n"
    assert (files["modules/virtio_ring.ko"], files["modules/virtio.ko"]) == (b"virtio_ring", b"virtio")
    assert files["bin/busybox"] == b"busybox"
    assert b"EC-GUEST-UP $mark" in files["init"]
    assert set(files) == {
        *("init", "bin/busybox", "bin/lease", "etc/acpi/PWRF/00000080"),
        *("modules/order", "modules/virtio.ko", "modules/virtio_ring.ko"),
    }
    executable = {name for name, (data, mode) in debian.packed.items() if data and mode == 0o755}
    assert executable == {"init", "bin/busybox", "bin/lease", "etc/acpi/PWRF/00000080"}


def test_each_flavour_is_a_payload_of_its_own(debian: Debian, tmp_path: Path) -> None:
    cloud = build_payload(cache=tmp_path)
    debian.depends = "linux-image-amd64\n  Depends: linux-image-6.1.0-37-amd64\n"
    debian.packages["linux-image-6.1.0-37-amd64"] = {"boot/vmlinuz-6.1.0-37-amd64": b"generic"}
    generic = build_payload(Flavour.GENERIC, cache=tmp_path)
    assert (cloud.kernel.read_bytes(), generic.kernel.read_bytes()) == (b"the kernel", b"generic")


def break_kernel(debian: Debian) -> None:
    debian.packages[KERNEL_PACKAGE] = {}


def break_busybox(debian: Debian) -> None:
    debian.packages["busybox-static"] = {"usr/share/doc/busybox-static/README": b"x"}


def break_module(debian: Debian) -> None:
    debian.packages[KERNEL_PACKAGE][f"{MODULES}/button.ko.zst"] = b"x"


def break_archive(debian: Debian) -> None:
    del debian.packages["busybox-static"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (break_kernel, "linux-image-cloud-amd64: 0 kernels in the package, expected one"),
        (break_busybox, "busybox-static: there is no busybox in the package"),
        (break_module, "button.ko.zst: a kernel module in a form that cannot be unpacked here"),
        (
            break_archive,
            "busybox-static: cannot be downloaded: E: Unable to locate package busybox-static",
        ),
    ],
)
def test_nothing_half_made_is_left(debian: Debian, tmp_path: Path, spoil: Any, words: str) -> None:
    spoil(debian)
    with pytest.raises(PayloadError) as caught:
        build_payload(cache=tmp_path)
    assert caught.value.message == words
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_busybox_where_usr_is_merged(debian: Debian, tmp_path: Path) -> None:
    debian.packages["busybox-static"] = {"usr/bin/busybox": b"merged"}
    build_payload(cache=tmp_path)
    assert debian.packed["bin/busybox"] == (b"merged", 0o755)


@pytest.mark.parametrize(
    ("depends", "package"),
    [
        ("  Depends: linux-image-6.12.1-1-amd64\n", "linux-image-6.12.1-1-amd64"),
        ("  Depends: linux-image-6.12.1-1-amd64-unsigned\n", "linux-image-6.12.1-1-amd64"),
        ("  Depends: linux-image-cloud-amd64\n", None),
        ("", None),
    ],
)
def test_the_kernel_that_a_metapackage_stands_for(debian: Debian, depends: str, package: str | None) -> None:
    debian.depends = depends
    if package is not None:
        assert find_kernel_package(Flavour.GENERIC) == package
    else:
        with pytest.raises(PayloadError) as caught:
            find_kernel_package(Flavour.GENERIC)
        assert caught.value.message == "linux-image-amd64: apt knows no kernel package of that name"
        assert caught.value.hint == "run: sudo apt-get update"
    assert debian.calls == [["apt-cache", "depends", "--important", "linux-image-amd64"]]


def test_a_package_is_unpacked_and_not_installed(debian: Debian, tmp_path: Path) -> None:
    unpack_package("busybox-static", tmp_path / "tree")
    assert (tmp_path / "tree/bin/busybox").read_bytes() == b"busybox"
    assert [call[:2] for call in debian.calls] == [["apt-get", "download"], ["dpkg-deb", "--extract"]]


@pytest.mark.parametrize("missing", ["kernel", "initrd"])
def test_a_directory_that_is_no_payload(tmp_path: Path, missing: str) -> None:
    for name in {"kernel", "initrd"} - {missing}:
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        Payload.load(tmp_path)
    assert caught.value.message == f"{tmp_path / missing}: no such file"
    assert caught.value.hint == "a payload is a directory with kernel and initrd"
    (tmp_path / missing).touch()
    assert Payload.load(tmp_path) == Payload(tmp_path / "kernel", tmp_path / "initrd")


@pytest.mark.parametrize("can_link", [True, False])
@pytest.mark.parametrize(
    ("cmdline", "added"), [("", ""), ("ec.mark=abc ec.poweroff", " ec.mark=abc ec.poweroff")]
)
def test_the_root_of_a_boot_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, can_link: bool, cmdline: str, added: str
) -> None:
    def refuse(*_paths: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    payload = Payload(tmp_path / "k", tmp_path / "i")
    payload.kernel.write_bytes(b"kernel")
    payload.initrd.write_bytes(b"initrd")
    root = tmp_path / "a" / "root"
    stage_payload(payload, root, cmdline=cmdline)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {
        "kernel": b"kernel",
        "initrd": b"initrd",
        "netboot.ipxe": (
            f"#!ipxe\nkernel kernel console=ttyS0 panic=-1 initrd=initrd{added}\ninitrd initrd\nboot\n"
        ).encode(),
    }
    assert (root / "kernel").samefile(payload.kernel) is can_link
    with pytest.raises(FileExistsError):
        stage_payload(payload, root)


@pytest.mark.parametrize(
    ("uid", "user", "owner"),
    [
        (1000, None, None),
        (0, None, (NOBODY, NOBODY)),
        (0, Identity(uid=64001, gid=64002), (64001, 64002)),
    ],
)
def test_the_guests_user_gets_its_directories_where_root_starts_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    uid: int,
    user: Identity | None,
    owner: tuple[int, int] | None,
) -> None:
    given: dict[Path, tuple[int, int]] = {}
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "chown", lambda path, user, group: given.update({path: (user, group)}))
    monkeypatch.setattr(payload_module, "find_user", lambda _name: user)
    monkeypatch.setattr(payload_module, "find_identity", lambda uid: Identity(uid=uid, gid=uid))
    state, root = tmp_path / "state", tmp_path / "root"
    for path in (tmp_path, state, root):
        path.mkdir(exist_ok=True)
        path.chmod(0o700)
    (root / "kernel").touch(0o600)
    open_to_guest(tmp_path, state=state, root=root)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, state, root, root / "kernel")]
    if owner is None:
        assert (given, modes) == ({}, [0o700, 0o700, 0o700, 0o600])
    else:
        # The state stays the guest's alone.
        assert (given, modes) == ({state: owner}, [0o711, 0o700, 0o755, 0o644])


@pytest.mark.parametrize(
    ("variable", "directory"), [("/c", "/c/ectools"), ("", "/home/u/.cache/ectools"), (None, None)]
)
def test_where_the_cache_is(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, directory: str | None
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    if variable is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
    assert str(cache_directory()) == (directory or "/home/u/.cache/ectools")
