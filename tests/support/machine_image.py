"""A Debian system for tests to boot: its tree, and its kernel.

The tree is of this machine's own release, so that this machine's QEMU starts its kernel. It is made once for
a list of packages and a version of this file, in the user's cache directory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.machine_store import pack_disk
from support.needs import give_up, require_tool

from ectools.demo.payload import Flavour, cache_directory, find_kernel_package, unpack_package
from ectools.errors import EcError
from ectools.files import hold_lock
from ectools.processes import ProcessError, run

PACKAGES = (
    *("systemd", "udev", "dbus", "kmod", "procps", "iproute2"),
    # What the modules' units start, where nixpkgs' packages are placeholders for the machine's own programs.
    *("python3", "qemu-system-x86", "qemu-utils", "dnsmasq-base", "nftables", "curl"),
)

LAN_ADDRESS = "192.168.77.2"
"""A machine's address on its interface lan0."""

AGENT = Path(__file__).with_name("machine_agent.py")

_FILES = {
    # An empty machine-id makes systemd run its presets at each start.
    "etc/machine-id": "1d6b9d3a5c0f4f5c8e7a9b2c4d6e8f01\n",
    "etc/hostname": "machine\n",
    "etc/fstab": "",
    # Without the coldplug of udev, which takes seconds under emulation, nothing else loads these.
    "etc/modules-load.d/machine.conf": "virtio_console\nvirtio_net\n",
    # Stands for stage 1 of NixOS: /nix is there before systemd reads the first unit.
    "sbin/machine-init": "#!/bin/sh\n"
    "mount -t devtmpfs dev /dev && mount -t proc proc /proc &&\n"
    "  modprobe virtio_pci && modprobe virtio_blk && mount -t ext4 -o ro /dev/vda /nix &&\n"
    "  exec /usr/lib/systemd/systemd\n"
    "echo 'no /nix' && echo o >/proc/sysrq-trigger && sleep 60\n",
    "etc/systemd/system/machine-agent.service": "[Unit]\n"
    "DefaultDependencies=no\n"
    "After=systemd-modules-load.service systemd-remount-fs.service systemd-tmpfiles-setup.service\n"
    "Before=sysinit.target\n"
    "ConditionVirtualization=!container\n"
    "[Service]\n"
    "ExecStart=/usr/bin/python3 -u /usr/lib/machine_agent.py\n",
    # Stands for a host's network manager, which network-online.target waits for. A machine without a card has
    # a LAN that nobody else is in.
    "usr/sbin/network-up": "#!/bin/sh\n"
    "set -e\n"
    "ip link set lo up\n"
    "ip link show lan0 >/dev/null 2>&1 || ip link set eth0 name lan0 2>/dev/null ||\n"
    "  { ip link add lan0 type veth peer name lan1 && ip link set lan1 up; }\n"
    f"ip address replace {LAN_ADDRESS}/24 dev lan0\n"
    "ip link set lan0 up\n",
    "etc/systemd/system/network-up.service": "[Unit]\n"
    "Wants=network.target\n"
    "Before=network.target network-online.target\n"
    "[Service]\n"
    "Type=oneshot\n"
    "RemainAfterExit=yes\n"
    "ExecStart=network-up\n",
    "etc/systemd/journald.conf.d/machine.conf": "[Journal]\nStorage=persistent\nRateLimitBurst=0\n",
    "usr/lib/python3/dist-packages/machine.pth": "/nix/python\n",
}

_MASKED = (
    *("systemd-udev-trigger.service", "systemd-hwdb-update.service", "systemd-binfmt.service"),
    *("getty.target", "systemd-logind.service", "systemd-pstore.service"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"),
    *("modprobe@.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "fstrim.timer", "e2scrub_reap.service", "dnsmasq.service"),
)


@dataclass(frozen=True)
class Image:
    """What a machine boots from: ``tree`` in a container, ``disk`` (ext4) with ``kernel`` in QEMU."""

    tree: Path
    disk: Path
    kernel: Path


def find_image() -> Image:
    """The image, from the cache or made there. Ends the test where none can be made here."""
    if os.geteuid() != 0:
        give_up("a Debian tree is made, and its systemd started, as root")
    require_tool("mmdebstrap", "install mmdebstrap")
    require_tool("mkfs.ext4", "install e2fsprogs")
    require_tool("depmod", "install kmod")
    sources = _find_sources()
    recipe = [*sources, *PACKAGES, AGENT.read_text(), Path(__file__).read_text()]
    key = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:16]
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    directory = cache / f"machine-{key}"
    with hold_lock(cache / f"{directory.name}.lock", what=str(directory), wait_seconds=1800):
        if not directory.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=cache) as work:
                try:
                    _build_image(Path(work), sources)
                except EcError as error:
                    give_up(f"no Debian system: {error.render()}")
                Path(work).chmod(0o755)
                (Path(work) / "image").rename(directory)
    return Image(directory / "tree", directory / "disk", directory / "kernel")


def _find_sources() -> list[str]:
    """apt's lines for the Debian archives that this machine itself installs from."""
    form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    try:
        listed = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).stdout
    except ProcessError as error:
        give_up(f"no Debian system can be made without apt: {error.message}")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = [
        f"deb [signed-by={keyring}] {uri} {suite} {component}"
        for origin, uri, suite, component in (line.split("|") for line in listed.splitlines())
        if origin == "Debian" and component == "main"
    ]
    if not lines:
        give_up("apt knows no Debian archive (apt-get update)")
    return lines


def _build_image(work: Path, sources: list[str]) -> None:
    made = work / "image"
    made.mkdir()
    (work / "sources").write_text("".join(f"{line}\n" for line in sources))
    # The machine's own way to the archive: proxies, and whether an old snapshot is good enough.
    (work / "apt.conf").write_text(run(["apt-config", "dump", "Acquire"]).stdout)
    tree = made / "tree"
    run(
        [
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"),
            *(f"--aptopt={work}/apt.conf", "--aptopt=APT::Install-Recommends false"),
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
            *("--include=" + ",".join(PACKAGES), "", str(tree), str(work / "sources")),
        ],
        timeout=1200,
    )
    _add_kernel(work, tree)
    (tree / "boot/kernel").rename(made / "kernel")
    for name, text in _FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    for name in ("machine-init", "network-up"):
        (tree / "sbin" / name).chmod(0o755)
    shutil.copyfile(AGENT, tree / "usr/lib/machine_agent.py")
    (tree / "nix").mkdir()
    units = tree / "etc/systemd/system"
    for target, unit in (("sysinit", "machine-agent"), ("network-online", "network-up")):
        wants = units / f"{target}.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / f"{unit}.service").symlink_to(f"../{unit}.service")
    # A nixpkgs package has all of its programs in one directory.
    for program in (tree / "usr/sbin").iterdir():
        if not (tree / "usr/bin" / program.name).exists():
            (tree / "usr/bin" / program.name).symlink_to(f"../sbin/{program.name}")
    for name in _MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    pack_disk(tree, made / "disk", spare_mib=1024)


def _add_kernel(work: Path, tree: Path) -> None:
    """The cloud kernel, which starts from NVMe and ext4 without an initrd, and its modules."""
    unpack_package(find_kernel_package(Flavour.CLOUD), work / "kernel-package")
    (kernel,) = work.glob("kernel-package/boot/vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    (modules,) = work.glob(f"kernel-package/**/modules/{release}")
    shutil.move(modules, tree / "usr/lib/modules" / release)
    shutil.move(kernel, tree / "boot/kernel")
    run(["depmod", "--basedir", str(tree), release], timeout=120)
