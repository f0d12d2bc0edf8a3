"""The settings of network boot: the JSON of ``services.every-channel.netboot`` without what only NixOS uses.

The schema (``schemas/ec-netboot.schema.json``) gives the types and the literal defaults. What is here: the
defaults that are computed from other options, and the frozen form that the rest of the package reads. Nothing
here looks at the machine.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.netboot.protocols import Binary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.addresses import Network

OPTION_PREFIX = "services.every-channel.netboot"
SCHEMA_NAME = "ec-netboot"
DEFAULT_CONFIG = Path("/etc/every-channel/netboot.json")


class Strategy(StrEnum):
    """Where the x86-64 UEFI boot binary comes from, and how it learns where to go next."""

    AUTOEXEC = "autoexec"
    EMBEDDED = "embedded"
    LOCAL = "local"
    REMOTE = "remote"


class OnFailure(StrEnum):
    """What a boot script does when nothing could be booted."""

    SHELL = "shell"
    REBOOT = "reboot"


class SignatureFormat(StrEnum):
    """Who signed: ``minisign -S``, ``ssh-keygen -Y sign -n file``, ``openssl dgst -sha256 -sign``."""

    MINISIGN = "minisign"
    OPENSSH = "openssh"
    OPENSSL = "openssl"


@dataclass(frozen=True, kw_only=True)
class ProxyDhcp:
    enable: bool
    subnet: ipaddress.IPv4Network | None


@dataclass(frozen=True, kw_only=True)
class TftpSettings:
    """``max_transfers``: at once, of all clients."""

    max_transfers: int


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The pinned key that a release's sums are signed with."""

    format: SignatureFormat
    public_key_file: Path


@dataclass(frozen=True, kw_only=True)
class ReleaseSettings:
    """``artifact`` is a glob of the archive's name. ``max_unpacked`` is in bytes."""

    host: str
    repo: str
    tag: str | None
    tarball: Path | None
    token_file: Path | None
    artifact: str
    require_sums: bool
    signature: Signature | None
    keep: int
    max_unpacked: int
    max_files: int


@dataclass(frozen=True, kw_only=True)
class IpxeSettings:
    """``package``: a directory of stock iPXE binaries; None: those of the distribution are looked for.

    ``files`` are the binaries named for the other architectures; one that is missing there is not offered.
    """

    strategy: Strategy
    package: Path | None
    local_file: Path | None
    embedded_file: Path | None
    remote_url: str | None
    remote_sha256: str | None
    files: Mapping[Binary, Path]
    verify: bool
    attempts: int
    on_failure: OnFailure
    reboot_seconds: int


@dataclass(frozen=True, kw_only=True)
class ListenAddress:
    """An address of this host, and a TCP port."""

    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int


@dataclass(frozen=True, kw_only=True)
class FleetSettings:
    """``listen``: where health and metrics are answered, None for nowhere of their own."""

    listen: ListenAddress | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``listen_ip`` is None only where nothing is to be served."""

    listen_ip: ipaddress.IPv4Address | None
    interface: str | None
    hostname: str
    state_dir: Path
    http_port: int
    allowed_cidrs: tuple[Network, ...]
    trusted_proxies: tuple[Network, ...]
    chain_token_file: Path | None
    protected_files: frozenset[str]
    max_connections: int
    mirrors: tuple[str, ...]
    tftp_boot_filename: str
    tftp: TftpSettings
    proxy_dhcp: ProxyDhcp
    release: ReleaseSettings
    ipxe: IpxeSettings
    fleet: FleetSettings

    @property
    def base_url(self) -> str:
        """Where clients are sent, without a slash at the end."""
        return f"http://{self.hostname}:{self.http_port}"

    @property
    def tftp_dir(self) -> Path:
        """Directory of the boot binaries and of what stands beside them."""
        return self.state_dir / "tftp"


def build_settings(raw: Mapping[str, Any]) -> Settings:
    """The settings from JSON that the schema and ``checks.py`` accept and whose literal defaults are in."""
    listen_ip = raw.get("listenIP")
    subnet = raw["proxyDhcp"]["subnet"]
    return Settings(
        listen_ip=None if listen_ip is None else ipaddress.IPv4Address(listen_ip),
        interface=raw["interface"],
        hostname=raw["hostname"],
        state_dir=Path(raw["stateDir"]),
        http_port=int(raw["httpPort"]),
        allowed_cidrs=_networks(raw["httpAllowedCIDRs"]),
        trusted_proxies=_networks(raw["trustedProxies"]),
        chain_token_file=_optional_path(raw["chainTokenFile"]),
        protected_files=frozenset(raw["protectedFiles"]),
        max_connections=int(raw["maxConnections"]),
        mirrors=tuple(mirror.rstrip("/") for mirror in raw["mirrors"]),
        tftp_boot_filename=raw["tftpBootFilename"],
        tftp=TftpSettings(max_transfers=int(raw["tftp"]["maxTransfers"])),
        proxy_dhcp=ProxyDhcp(
            enable=raw["proxyDhcp"]["enable"],
            subnet=None if subnet is None else ipaddress.IPv4Network(subnet),
        ),
        release=_build_release(raw["release"]),
        ipxe=_build_ipxe(raw["ipxe"]),
        fleet=FleetSettings(listen=parse_listen_address(raw["fleet"]["listen"])),
    )


def parse_listen_address(text: str | None) -> ListenAddress | None:
    """``127.0.0.1:9090`` or ``[::1]:9090``; None for None. Raises ValueError where it is neither."""
    if text is None:
        return None
    ip, _, port = text.rpartition(":")
    bare = ip.removeprefix("[").removesuffix("]")
    if (":" in bare) != (ip != bare) or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(text)
    return ListenAddress(ip=ipaddress.ip_address(bare), port=int(port))


def _build_release(raw: Mapping[str, Any]) -> ReleaseSettings:
    signature = raw["signature"]
    return ReleaseSettings(
        host=raw["host"].rstrip("/"),
        repo=raw["repo"],
        tag=raw["tag"],
        tarball=_optional_path(raw["tarball"]),
        token_file=_optional_path(raw["tokenFile"]),
        artifact=raw["artifact"],
        require_sums=raw["requireSums"],
        signature=None
        if signature["format"] is None
        else Signature(
            format=SignatureFormat(signature["format"]), public_key_file=Path(signature["publicKeyFile"])
        ),
        keep=int(raw["keep"]),
        max_unpacked=int(raw["maxUnpackedMiB"]) * 1024**2,
        max_files=int(raw["maxFiles"]),
    )


def _build_ipxe(raw: Mapping[str, Any]) -> IpxeSettings:
    named = {
        Binary.BIOS: raw.get("biosFile"),
        Binary.IA32: raw["ia32File"],
        Binary.ARM64: raw["arm64File"],
    }
    return IpxeSettings(
        strategy=Strategy(raw["strategy"]),
        package=_optional_path(raw.get("package")),
        local_file=_optional_path(raw["localFile"]),
        embedded_file=_optional_path(raw.get("embeddedFile")),
        remote_url=raw["remoteUrl"],
        remote_sha256=raw["remoteSha256"],
        files={binary: Path(file) for binary, file in named.items() if file is not None},
        verify=raw["verify"],
        attempts=int(raw["attempts"]),
        on_failure=OnFailure(raw["onFailure"]),
        reboot_seconds=int(raw["rebootSeconds"]),
    )


def _networks(raw: list[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in raw)


def _optional_path(value: str | None) -> Path | None:
    return None if value is None else Path(value)
