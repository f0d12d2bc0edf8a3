"""A small guest that follows: the demo's kernel and busybox, and follow.sh with the programs that it calls.

There is no systemd in it: ``systemctl kexec`` is ``kexec -e``, what systemd ends with. Everything else is
real: bash, curl, openssl and kexec of this host and of Debian, and the kernel that starts another one.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from support.needs import give_up, require_tool

from ectools.demo.payload import (
    Flavour,
    Payload,
    PayloadError,
    build_payload,
    cache_directory,
    unpack_package,
)
from ectools.files import hold_lock

MODULES = Path(__file__).parents[2] / "nix/modules"
GATEWAY = "10.0.2.100"
"""Where the guest finds the boot server."""
_PROGRAMS = (
    *("bash", "curl", "openssl", "base64", "cat", "cp", "date", "dirname", "head", "mkdir", "mktemp", "mv"),
    *("readlink", "rm", "sha256sum", "sleep", "stat", "tail", "tr", "truncate", "uname", "wc"),
)
_SYSTEMCTL = '#!/bin/sh\n[ "$1" != kexec ] || exec kexec -e\necho "systemctl $*"\n'
_START = """\
mkdir -m 700 -p /run/follow
export PATH=/tools:/bin FOLLOW_SECONDS=1 FOLLOW_UNITS= FOLLOW_KEXEC=yes FOLLOW_REBOOT=
export FOLLOW_SIGNATURE=openssl FOLLOW_KEYS=/follow/key FOLLOW_CHANNEL=stable
export FOLLOW_DIRECTORY=/run/follow FOLLOW_BOOTED=/follow/booted
bash /follow/follow.sh /proc/cmdline
"""


def find_kexec_tree() -> Path:
    """Debian's kexec-tools, unpacked in the cache; ends the test where it cannot be had."""
    cache = cache_directory()
    tree = cache / "kexec-tools"
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / "kexec-tools.lock", what=str(tree), wait_seconds=600):
        if not tree.is_dir():
            with tempfile.TemporaryDirectory(prefix=".kexec-tools.", dir=cache) as work:
                made = Path(work) / "tree"
                try:
                    for number, package in enumerate(_list_packages()):
                        part = Path(work) / str(number)
                        unpack_package(package, part)
                        shutil.copytree(part, made, symlinks=True, dirs_exist_ok=True)
                except PayloadError as error:
                    give_up(error.render())
                made.rename(tree)
    return tree


def _list_packages() -> list[str]:
    """Debian's kexec-tools, and the libraries of Xen's, which it is linked with and nobody has."""
    argv = ["apt-cache", "depends", "--important", "--recurse", "kexec-tools"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return ["kexec-tools", *sorted(set(re.findall(r"(?m)^libxen[a-z0-9.-]+", listed)))]


def find_payload() -> Payload:
    """The demo's; ends the test where none can be made here."""
    try:
        return build_payload(Flavour.CLOUD)
    except PayloadError as error:
        give_up(error.render())


def build_output(directory: Path, payload: Payload, *, store_path: str, key: bytes, mark: str) -> Path:
    """A netboot output whose guest takes ``store_path`` for what it runs, and follows by ``key``."""
    tree = directory.with_name(f"{directory.name}-tree")
    tools, own = tree / "tools", tree / "follow"
    own.mkdir(parents=True)
    tools.mkdir()
    for program in (
        *(Path(require_tool(name, f"install {name}")) for name in _PROGRAMS),
        *find_kexec_tree().rglob("sbin/kexec"),
    ):
        _copy_program(program.resolve(), program.name, tree)
    (tools / "systemctl").write_text(_SYSTEMCTL)
    (tools / "systemctl").chmod(0o755)
    for name in ("follow.sh", "follow-trust.sh", "follow-kexec.sh"):
        shutil.copyfile(MODULES / name, own / name)
    shutil.copytree(MODULES / "node", own / "node")
    (own / "key").write_bytes(key)
    (own / "booted").symlink_to(store_path)
    (tree / store_path.removeprefix("/")).mkdir(parents=True)
    script = resources.files("ectools.demo").joinpath("init.sh").read_text("utf-8")
    changed = script.replace("has ec.poweroff && poweroff -f\n", _START)
    assert changed != script
    (tree / "init").write_text(changed)
    (tree / "init").chmod(0o755)
    directory.mkdir()
    shutil.copyfile(payload.kernel, directory / "kernel")
    # What comes later counts: the demo's own init is replaced.
    (directory / "initrd").write_bytes(payload.initrd.read_bytes() + gzip.compress(_pack(tree), 1, mtime=0))
    (directory / "netboot.ipxe").write_text(
        f"#!ipxe\nkernel kernel init={store_path}/init initrd=initrd console=ttyS0 panic=-1 ec.mark={mark} "
        "${cmdline}\ninitrd initrd\nboot\n"
    )
    return directory


def _copy_program(program: Path, name: str, tree: Path) -> None:
    shutil.copy(program, tree / "tools" / name)
    libraries = ":".join(str(path) for path in find_kexec_tree().rglob("lib/*linux-gnu*") if path.is_dir())
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    done = subprocess.run(["ldd", program], env=environment, capture_output=True, text=True, check=False)
    assert "not found" not in done.stdout, done.stdout
    listed = done.stdout
    for library in re.findall(r"(/\S+)(?= \(0x)", listed):
        # Of what was unpacked: where the loader looks.
        place = library.partition("/kexec-tools/")[2] or library.removeprefix("/")
        target = tree / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(Path(library).resolve(), target)


def _pack(tree: Path) -> bytes:
    busybox = require_tool("busybox", "install busybox-static")
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    return subprocess.run(
        [busybox, "cpio", "-o", "-H", "newc", "-R", "0:0"],
        cwd=tree,
        input="".join(f"{name}\n" for name in names).encode(),
        capture_output=True,
        check=True,
    ).stdout


@contextlib.contextmanager
def boot_guest(
    console: Path, output: Path, arguments: Sequence[str], *, mac: str, server: tuple[str, int]
) -> Iterator[subprocess.Popen[bytes]]:
    """A machine that loads an output's kernel as firmware would; it ends where it is to reboot."""
    address, port = server
    busybox = require_tool("busybox", "install busybox-static")
    forward = f"guestfwd=tcp:{GATEWAY}:{port}-cmd:{busybox} nc {address} {port}"
    argv = [
        *("nice", require_tool("qemu-system-x86_64", "install qemu-system-x86")),
        *("-accel", "tcg", "-m", "768", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
        *("-kernel", str(output / "kernel"), "-initrd", str(output / "initrd")),
        *("-append", " ".join(arguments)),
        *("-netdev", f"user,id=lan,{forward}", "-device", f"virtio-net-pci,netdev=lan,mac={mac}"),
    ]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()
