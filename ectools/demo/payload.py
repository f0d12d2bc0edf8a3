"""What the demo's guest boots: a Linux kernel and a small initramfs, from the distribution's own packages.

Nothing is installed: the packages are downloaded and unpacked in a cache directory. Elsewhere than on Debian
and its kin, bring a directory with ``kernel`` and ``initrd`` (the flake has one: ``nix run .#demo``).
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path

from ectools.errors import EcError, InputError
from ectools.files import hold_lock, write_atomic
from ectools.privileges import NOBODY, find_identity, find_user
from ectools.processes import ProcessError, find_program, run
from ectools.vm.guest_user import SERVICE_USER

UP_MARK = "EC-GUEST-UP"
"""How the line of a guest that is up starts; the word of ``ec.mark=`` and the NICs' addresses follow."""


class PayloadError(EcError):
    """No kernel or initramfs could be made here."""


class Flavour(StrEnum):
    """Which of Debian's kernels. The cloud kernel starts sooner under emulation, and has no e1000."""

    CLOUD = "cloud"
    GENERIC = "generic"


_PACKAGES = {Flavour.CLOUD: "linux-image-cloud-amd64", Flavour.GENERIC: "linux-image-amd64"}

# In the order in which they must be loaded: `virtio` needs the symbols of `virtio_ring`. What a kernel has
# built in, or does not have, is left out.
_MODULES = (
    *("failover", "net_failover", "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev"),
    *("virtio_pci", "virtio_net", "e1000", "e1000e", "evdev", "button"),
)

_BUILD_SECONDS = 1800.0
"""How long another caller may take to download and build."""

_POWER_OFF = "#!/bin/busybox sh\nexec poweroff -f\n"


@dataclass(frozen=True)
class Payload:
    """A kernel that starts on x86-64 and an initramfs whose init is ``init.sh``."""

    kernel: Path
    initrd: Path

    @staticmethod
    def load(directory: Path) -> Payload:
        """The ``kernel`` and ``initrd`` of a directory. Raises InputError where one is missing."""
        payload = Payload(directory / "kernel", directory / "initrd")
        for file in (payload.kernel, payload.initrd):
            if not file.is_file():
                raise InputError(
                    f"{file}: no such file", hint="a payload is a directory with kernel and initrd"
                )
        return payload


def stage_payload(payload: Payload, root: Path, *, cmdline: str = "") -> None:
    """Lay out ``root`` as a boot server's root: kernel, initrd, and a ``netboot.ipxe`` that boots them.

    ``cmdline`` is added to the kernel's; the console is the first serial port. ``root`` must not exist.
    """
    root.mkdir(parents=True)
    for source, name in ((payload.kernel, "kernel"), (payload.initrd, "initrd")):
        try:
            os.link(source, root / name)
        except OSError:
            # Another file system, or somebody else's file: the server follows no link out of its root.
            shutil.copyfile(source, root / name)
    arguments = f"console=ttyS0 panic=-1 initrd=initrd {cmdline}".rstrip()
    script = f"#!ipxe\nkernel kernel {arguments}\ninitrd initrd\nboot\n"
    write_atomic(root / "netboot.ipxe", script.encode())


def open_to_guest(directory: Path, *, state: Path, root: Path) -> None:
    """As root: ``state`` becomes the guest's user's, who also gets to ``root``; both are in ``directory``.

    That is the service's user, where there is one; else nobody: a guest without a secret, for some minutes.
    """
    if os.geteuid() != 0:
        return
    user = find_user(SERVICE_USER) or find_identity(NOBODY)
    os.chown(state, user.uid, user.gid)
    directory.chmod(0o711)
    root.chmod(0o755)
    for path in root.iterdir():
        path.chmod(0o644)


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/ectools``, by default ``~/.cache/ectools``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ectools"


def build_payload(flavour: Flavour = Flavour.CLOUD, *, cache: Path | None = None) -> Payload:
    """The payload of a flavour, from the cache, or made there: whole or not at all, once for several callers.

    Raises PayloadError where this is no Debian or its packages cannot be had.
    """
    cache = cache_directory() if cache is None else cache
    recipe = "\0".join([flavour, *_MODULES, _read("init.sh"), _read("lease.sh"), _POWER_OFF])
    directory = cache / f"payload-{flavour}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / f"{directory.name}.lock", what=str(directory), wait_seconds=_BUILD_SECONDS):
        if not directory.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=cache) as work:
                _build(flavour, Path(work))
                (Path(work) / "payload").rename(directory)
    return Payload.load(directory)


def _build(flavour: Flavour, work: Path) -> None:
    find_program("apt-get", hint=_ELSEWHERE)
    find_program("dpkg-deb", hint=_ELSEWHERE)
    kernel_tree, busybox_tree = work / "kernel-package", work / "busybox-package"
    unpack_package(find_kernel_package(flavour), kernel_tree)
    unpack_package("busybox-static", busybox_tree)
    payload = work / "payload"
    payload.mkdir()
    kernels = list(kernel_tree.glob("boot/vmlinuz-*"))
    if len(kernels) != 1:
        raise PayloadError(f"{_PACKAGES[flavour]}: {len(kernels)} kernels in the package, expected one")
    shutil.copyfile(kernels[0], payload / "kernel")
    tree = work / "initramfs"
    _lay_out_initramfs(tree, kernel_tree, busybox=_find_busybox(busybox_tree))
    _pack(tree, payload / "initrd", busybox=tree / "bin/busybox")


_ELSEWHERE = "on a system without Debian's packages, pass --payload DIR, a directory with kernel and initrd"


def find_kernel_package(flavour: Flavour) -> str:
    """The package that Debian's metapackage for such a kernel stands for now. Raises PayloadError."""
    metapackage = _PACKAGES[flavour]
    depends = run(["apt-cache", "depends", "--important", metapackage], timeout=120).stdout
    if match := re.search(r"Depends: (linux-image-\d\S+)", depends):
        return match[1].removesuffix("-unsigned")
    raise PayloadError(
        f"{metapackage}: apt knows no kernel package of that name", hint="run: sudo apt-get update"
    )


def unpack_package(package: str, tree: Path) -> None:
    """Download a Debian package and unpack it in ``tree``, without installing it. Raises PayloadError."""
    downloads = tree.with_name(f"{tree.name}.deb")
    downloads.mkdir()
    try:
        # As root, apt downloads as the user _apt, who cannot write here, and warns; this keeps it as root.
        run(
            ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package],
            cwd=downloads,
            timeout=900,
        )
    except ProcessError as error:
        raise PayloadError(
            f"{package}: cannot be downloaded: {error.stderr.strip()}", hint="run: sudo apt-get update"
        ) from error
    (archive,) = downloads.glob("*.deb")
    run(["dpkg-deb", "--extract", str(archive), str(tree)], timeout=300)


def _find_busybox(tree: Path) -> Path:
    for place in ("bin/busybox", "usr/bin/busybox"):
        if (tree / place).is_file():
            return tree / place
    raise PayloadError("busybox-static: there is no busybox in the package")


def _lay_out_initramfs(tree: Path, kernel_tree: Path, *, busybox: Path) -> None:
    for directory in ("bin", "modules", "etc/acpi/PWRF"):
        (tree / directory).mkdir(parents=True)
    shutil.copyfile(busybox, tree / "bin/busybox")
    order = []
    for module in _MODULES:
        if (data := _find_module(kernel_tree, module)) is not None:
            (tree / f"modules/{module}.ko").write_bytes(data)
            order.append(f"{module}.ko\n")
    (tree / "modules/order").write_text("".join(order))
    (tree / "init").write_text(_read("init.sh"))
    (tree / "bin/lease").write_text(_read("lease.sh"))
    (tree / "etc/acpi/PWRF/00000080").write_text(_POWER_OFF)
    for program in ("bin/busybox", "bin/lease", "init", "etc/acpi/PWRF/00000080"):
        (tree / program).chmod(0o755)


def _find_module(kernel_tree: Path, name: str) -> bytes | None:
    for found in kernel_tree.rglob(f"{name}.ko*"):
        if found.suffix == ".xz":
            return lzma.decompress(found.read_bytes())
        if found.suffix == ".ko":
            return found.read_bytes()
        raise PayloadError(f"{found.name}: a kernel module in a form that cannot be unpacked here")
    return None


def _pack(tree: Path, initrd: Path, *, busybox: Path) -> None:
    """The tree as a gzipped cpio archive, in the format that the kernel unpacks."""
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    archive = initrd.with_name("archive")
    run(
        [str(busybox), "cpio", "-o", "-H", "newc", "-R", "0:0", "-F", str(archive)],
        cwd=tree,
        stdin="".join(f"{name}\n" for name in names),
        timeout=60,
    )
    initrd.write_bytes(gzip.compress(archive.read_bytes(), mtime=0))
    archive.unlink()


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
