"""An initrd with systemd, made of a Debian tree: it stands for a stage 1 where no package is real."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.needs import require_tool

from ectools.processes import run

_PROGRAMS = (
    *("bash", "cat", "chmod", "mkdir", "mount", "sh", "systemctl", "systemd-tmpfiles", "tr", "udevadm"),
    *("kmod", "umount"),
)
_DIRECTORIES = (
    "usr/lib/systemd",
    "usr/lib/tmpfiles.d",
    "usr/lib/udev/rules.d",
    "usr/lib/x86_64-linux-gnu/systemd",
)
_MODULES = ("kernel/fs/overlayfs", "kernel/drivers/virtio")
_FILES = {
    "etc/initrd-release": "ID=initrd\n",
    "etc/os-release": "ID=initrd\n",
    "etc/modules-load.d/initrd.conf": "overlay\nvirtio_pci\n",
    # A stage 1 that fails ends the machine at once, and with it the test.
    "etc/systemd/system/emergency.service": "[Unit]\n"
    "DefaultDependencies=no\n"
    "[Service]\n"
    "Type=oneshot\n"
    "ExecStart=systemctl --force --force poweroff\n",
}


def build_initrd(
    directory: Path,
    tree: Path,
    *,
    files: Mapping[str, str],
    copies: Mapping[str, Path],
    links: Mapping[str, str],
    modules: Sequence[str] = (),
) -> Path:
    """An initrd in ``directory``: ``files`` by content, ``copies`` of what is here, ``links`` by target.

    ``modules``: further directories of the kernel's, or files.
    """
    busybox = require_tool("busybox", "install busybox-static")
    root = directory / "initrd"
    for name in (
        "dev",
        "proc",
        "run",
        "sys",
        "sysroot",
        "tmp",
        "usr/bin",
        "usr/lib",
        "usr/lib64",
        "usr/sbin",
    ):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    _copy_programs(tree, root)
    for name in _DIRECTORIES:
        shutil.copytree(tree / name, root / name, symlinks=True, dirs_exist_ok=True)
    (release,) = (tree / "usr/lib/modules").iterdir()
    kept = root / "usr/lib/modules" / release.name
    for name in (*_MODULES, *modules):
        _copy(release / name, kept / name)
    for path in release.glob("modules.[bo][ur]*"):
        shutil.copyfile(path, kept / path.name)
    run(["depmod", "--basedir", str(root), release.name], timeout=120)
    for name in ("passwd", "group", "machine-id"):
        (root / "etc").mkdir(exist_ok=True)
        shutil.copyfile(tree / "etc" / name, root / "etc" / name)
    for name, text in {**_FILES, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, source in copies.items():
        _copy(source, root / name)
    for name, target in {
        "init": "usr/lib/systemd/systemd",
        "usr/sbin/modprobe": "../bin/kmod",
        "etc/systemd/system/default.target": "/lib/systemd/system/initrd.target",
        **links,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    image = directory / "initrd.cpio"
    listing = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    with image.open("wb") as output:
        subprocess.run(
            [busybox, "cpio", "-o", "-H", "newc"],
            cwd=root,
            input=listing.encode(),
            stdout=output,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    return image


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _copy_programs(tree: Path, root: Path) -> None:
    """Programs, and the libraries that they and systemd's own are linked with."""
    programs = [f"/usr/bin/{name}" for name in _PROGRAMS]
    for program in programs:
        shutil.copy2(tree / program.lstrip("/"), root / program.lstrip("/"))
    daemons = [
        f"/{path.relative_to(tree)}"
        for pattern in ("systemd*", "system-generators/*")
        for path in sorted((tree / "usr/lib/systemd").glob(pattern))
        if path.is_file()
    ]
    # Not all of these are programs.
    listed = subprocess.run(
        ["chroot", str(tree), "ldd", *programs, *daemons], capture_output=True, text=True, check=False
    ).stdout
    for library in sorted(set(re.findall(r"(/\S+\.so\S*)", listed))):
        target = root / "usr" / library.lstrip("/").removeprefix("usr/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # By the name that it is asked for, whatever it is called.
        shutil.copyfile((tree / "usr" / library.lstrip("/").removeprefix("usr/")).resolve(), target)
        target.chmod(0o755)
