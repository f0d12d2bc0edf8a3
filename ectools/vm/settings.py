"""The settings of one guest: the JSON of ``services.every-channel.ipxe-qemu`` without ``enable``.

The schema (``schemas/ec-ipxe-qemu.schema.json``) gives the types and the literal defaults. What is here: the
defaults that are computed from other options, and the frozen form that the rest of the package reads. Nothing
here looks at the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTION_PREFIX = "services.every-channel.ipxe-qemu"
SCHEMA_NAME = "ec-ipxe-qemu"
DEFAULT_CONFIG = Path("/etc/every-channel/ipxe-qemu.json")


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


@dataclass(frozen=True, kw_only=True)
class Disk:
    path: Path
    size: str


@dataclass(frozen=True, kw_only=True)
class Http:
    enable: bool
    bind_ip: str
    port: int
    root: Path | None


@dataclass(frozen=True, kw_only=True)
class UserNet:
    hostname: str
    dns_servers: tuple[str, ...]
    tftp_dir: Path
    boot_filename: str
    boot_file: Path | None
    model: str
    host_loopback: HostLoopback


@dataclass(frozen=True, kw_only=True)
class Boot:
    order: str
    chain_url: str | None
    chain_token_file: Path | None
    progress_seconds: int
    http: Http
    user_net: UserNet


@dataclass(frozen=True, kw_only=True)
class Macvtap:
    interface: str | None
    name: str
    mode: MacvtapMode
    mac_address: str | None


@dataclass(frozen=True, kw_only=True)
class Lan:
    enable: bool
    model: str
    macvtap: Macvtap


@dataclass(frozen=True, kw_only=True)
class Shutdown:
    powerdown_seconds: int
    quit_seconds: int
    terminate_seconds: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    package: Path | None
    """Directory whose ``bin`` has QEMU's programs; None: they are found on PATH."""

    name: str
    machine: str
    cpu: str
    enable_kvm: bool
    require_kvm: bool
    vcpus: int
    memory_mib: int
    serial: str
    state_dir: Path
    disk: Disk
    boot: Boot
    lan: Lan
    shutdown: Shutdown
    extra_args: tuple[str, ...]


def build_settings(raw: Mapping[str, Any]) -> Settings:
    """The settings from JSON that the schema accepts and whose literal defaults are filled in."""
    kvm: bool = raw["enableKvm"]
    state_dir = Path(raw["stateDir"])
    return Settings(
        package=_optional_path(raw.get("package")),
        name=raw["name"],
        machine=raw.get("machine", "q35,accel=kvm" if kvm else "q35,accel=tcg"),
        cpu=raw.get("cpu", "host" if kvm else "max"),
        enable_kvm=kvm,
        require_kvm=raw["requireKvm"],
        vcpus=int(raw["vcpus"]),
        memory_mib=int(raw["memoryMiB"]),
        serial=raw["serial"],
        state_dir=state_dir,
        disk=Disk(path=Path(raw["disk"].get("path", state_dir / "disk.qcow2")), size=raw["disk"]["size"]),
        boot=_build_boot(raw["boot"], state_dir=state_dir),
        lan=_build_lan(raw["lan"]),
        shutdown=Shutdown(
            powerdown_seconds=int(raw["shutdown"]["powerdownSeconds"]),
            quit_seconds=int(raw["shutdown"]["quitSeconds"]),
            terminate_seconds=int(raw["shutdown"]["terminateSeconds"]),
        ),
        extra_args=tuple(raw["extraArgs"]),
    )


def _build_boot(raw: Mapping[str, Any], *, state_dir: Path) -> Boot:
    http, user_net = raw["http"], raw["userNet"]
    return Boot(
        order=raw["order"],
        chain_url=raw["chainUrl"],
        chain_token_file=_optional_path(raw["chainTokenFile"]),
        progress_seconds=int(raw["progressSeconds"]),
        http=Http(
            enable=http["enable"],
            bind_ip=http["bindIp"],
            port=int(http["port"]),
            root=_optional_path(http["root"]),
        ),
        user_net=UserNet(
            hostname=user_net["hostname"],
            dns_servers=tuple(user_net["dnsServers"]),
            tftp_dir=Path(user_net.get("tftpDir", state_dir / "tftp")),
            boot_filename=user_net["bootFilename"],
            boot_file=_optional_path(user_net.get("bootFile")),
            model=user_net["model"],
            host_loopback=HostLoopback(user_net["hostLoopback"]),
        ),
    )


def _build_lan(raw: Mapping[str, Any]) -> Lan:
    macvtap = raw["macvtap"]
    return Lan(
        enable=raw["enable"],
        model=raw["model"],
        macvtap=Macvtap(
            interface=macvtap["interface"],
            name=macvtap["name"],
            mode=MacvtapMode(macvtap["mode"]),
            mac_address=macvtap["macAddress"],
        ),
    )


def _optional_path(value: str | None) -> Path | None:
    return None if value is None else Path(value)
