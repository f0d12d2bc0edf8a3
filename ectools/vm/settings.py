"""The settings of one guest: the JSON of ``services.every-channel.ipxe-qemu`` without ``enable``.

The frozen form that the rest of the package reads; what cannot be used has none. The schema
(``schemas/ec-ipxe-qemu.schema.json``) has the types of the JSON and the literal defaults; ``build.py`` makes
the one of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.parsing import ListenAddress

GUEST_OPTIONS = "services.every-channel.ipxe-qemu"
GUEST_SCHEMA = "ec-ipxe-qemu"
GUEST_CONFIG = Path("/etc/every-channel/ipxe-qemu.json")


class MacvtapMode(StrEnum):
    """ip-link(8), "macvtap"."""

    PRIVATE = "private"
    VEPA = "vepa"
    BRIDGE = "bridge"
    PASSTHRU = "passthru"
    SOURCE = "source"


class HostLoopback(StrEnum):
    """What of this host's loopback the guest may reach."""

    BOOT_SERVER = "boot-server"
    ALL = "all"


class KvmPolicy(StrEnum):
    """Whether the guest runs under KVM: never, where it carries the guest, or not without it."""

    NEVER = "never"
    PREFERRED = "preferred"
    REQUIRED = "required"


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The guest's qcow2. ``size`` is qemu-img's form, and counts when the disk is made."""

    path: Path
    size: str

    @property
    def lock(self) -> Path:
        """The file by which one runner at a time has the disk."""
        return self.path.with_name(f"{self.path.name}.lock")


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The URL that the boot script goes on to, and the file of the token that its server asks for."""

    url: str
    token_file: Path | None


@dataclass(frozen=True, kw_only=True)
class Http:
    """The boot HTTP server. ``root`` None: the runner has none, and somebody else may listen there."""

    listen: ListenAddress
    root: Path | None


@dataclass(frozen=True, kw_only=True)
class UserNet:
    """QEMU's user-mode network. ``dns`` is the first of the servers: QEMU takes one.

    ``boot_file`` None: the boot script is written at run time.
    """

    hostname: str
    dns: IPv4Address
    tftp_dir: Path
    boot_filename: str
    boot_file: Path | None
    model: str
    host_loopback: HostLoopback

    @property
    def boot_path(self) -> Path:
        """The boot file: what the guest is told to load."""
        return self.tftp_dir / self.boot_filename

    @property
    def boot_lock(self) -> Path:
        """The file by which one runner at a time has the boot file."""
        return self.tftp_dir / f".{self.boot_filename}.lock"


@dataclass(frozen=True, kw_only=True)
class Boot:
    """How the guest boots. ``chain`` None: its script goes on to what listens at ``http.listen``."""

    order: str
    chain: Chain | None
    progress_seconds: int
    http: Http
    user_net: UserNet


@dataclass(frozen=True, kw_only=True)
class BootScriptSettings:
    """The part of ``Boot`` that the boot script is made of."""

    chain: Chain | None
    listen: ListenAddress
    dns: IPv4Address


@dataclass(frozen=True, kw_only=True)
class Macvtap:
    """``mac_address`` None: it is derived from the machine and the guest."""

    interface: str
    name: str
    mode: MacvtapMode
    mac_address: str | None


@dataclass(frozen=True, kw_only=True)
class Lan:
    """The NIC on a real LAN."""

    model: str
    macvtap: Macvtap


@dataclass(frozen=True, kw_only=True)
class Shutdown:
    """How long each step of a stop waits for the guest."""

    powerdown_seconds: int
    quit_seconds: int
    terminate_seconds: int


@dataclass(frozen=True, kw_only=True)
class GuestSettings:
    """``package`` is a directory whose ``bin`` has QEMU's programs; None: they are found on PATH."""

    package: Path | None
    name: str
    machine: str
    cpu: str
    kvm: KvmPolicy
    vcpus: int
    memory_mib: int
    serial: str
    state_dir: Path
    disk: Disk
    boot: Boot
    lan: Lan | None
    shutdown: Shutdown
    extra_args: tuple[str, ...]
