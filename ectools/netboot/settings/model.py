"""The settings of network boot: the JSON of ``services.every-channel.netboot`` without what only NixOS uses.

The frozen form that the rest of the package reads; what cannot be used has none. The schema
(``schemas/ec-netboot.schema.json``) has the types of the JSON and the literal defaults; ``build.py`` makes
the one of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.netboot.protocols import Binary, StockBinary
from ectools.netboot.settings.depot_address import ForgeAddress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv4Network

    from ectools.addresses import Network
    from ectools.netboot.fleet.build import FleetPart
    from ectools.netboot.settings.depot_address import DirectoryAddress, OciAddress, S3Address, WebAddress
    from ectools.netboot.state.nats_access import NatsAddress
    from ectools.parsing import ListenAddress

NETBOOT_OPTIONS = "services.every-channel.netboot"
NETBOOT_SCHEMA = "ec-netboot"
NETBOOT_CONFIG = Path("/etc/every-channel/netboot.json")


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
    """The networks whose PXE clients are answered: ``subnet`` is this host's, ``subnets`` are behind relays.

    No two of them overlap.
    """

    subnet: IPv4Network
    subnets: tuple[IPv4Network, ...] = ()

    @property
    def networks(self) -> tuple[IPv4Network, ...]:
        """All of them, this host's own first."""
        return (self.subnet, *self.subnets)


@dataclass(frozen=True, kw_only=True)
class TftpSettings:
    """``max_transfers``: at once, of all clients. ``receive_buffer``: bytes of requests that wait to be read,
    None where that is left to this host.
    """

    max_transfers: int
    receive_buffer: int | None


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The pinned key that a release's sums are signed with."""

    format: SignatureFormat
    public_key_file: Path


@dataclass(frozen=True, kw_only=True)
class Forge:
    """A Forgejo's repository. ``host`` is its URL, ``artifact`` a glob of the archive's name.

    ``other_artifacts`` are globs of archives for other architectures, which are staged too where the release
    has them. ``tag`` None: its latest release. ``token_file`` None: it is public. ``ca_file`` None: what the
    system trusts is enough. ``is_github``: it is GitHub's, which has another API.
    """

    host: str
    repo: str
    tag: str | None
    token_file: Path | None
    artifact: str
    other_artifacts: tuple[str, ...]
    ca_file: Path | None = None
    is_github: bool = False

    @property
    def address(self) -> ForgeAddress:
        """Of its releases."""
        return ForgeAddress(host=self.host, repo=self.repo, is_github=self.is_github)


@dataclass(frozen=True, kw_only=True)
class DepotSource:
    """A place where releases are published beside each other; see ``Forge`` for the rest.

    ``tag`` None: a channel says it. ``token_file`` is for a web server, ``credentials_file`` for S3 or a
    registry.
    """

    address: DirectoryAddress | WebAddress | S3Address | OciAddress
    tag: str | None
    token_file: Path | None
    credentials_file: Path | None
    artifact: str
    other_artifacts: tuple[str, ...]
    ca_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Tarballs:
    """A release's archives on this machine, at least one."""

    paths: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class ReleaseSettings:
    """``systems`` are the names of those that are wanted, the preferred first; none: ``source`` says which.

    ``channel`` is what leads to the release, None where a tag does, or nothing; with it goes a signature.
    ``max_unpacked`` is in bytes; ``keep`` counts releases beside the current and the previous one.
    """

    source: Forge | DepotSource | Tarballs
    systems: tuple[str, ...]
    require_sums: bool
    signature: Signature | None
    keep: int
    max_unpacked: int
    max_files: int
    channel: str | None = None


@dataclass(frozen=True, kw_only=True)
class StockIpxe:
    """The strategy "autoexec": ``package`` is a directory of stock binaries.

    None: they are looked for where distributions put them.
    """

    package: Path | None
    binary: StockBinary = StockBinary.IPXE


@dataclass(frozen=True, kw_only=True)
class IpxeFile:
    """The strategies "local" and "embedded": a binary on this machine."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class RemoteIpxe:
    """The strategy "remote": a binary to download. ``sha256`` is in lower-case hexadecimal."""

    url: str
    sha256: str
    ca_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class IpxeSettings:
    """``x86_64`` is where the binary for x86-64 UEFI comes from.

    ``files`` are the binaries named for the other architectures. Of those ``looked_for``, the distribution's
    is offered where there is one; any other that is missing is not.
    ``force``: one that loads no script of its own is served without ProxyDHCP too.
    ``extra_files``: name in the TFTP directory, below directories where wanted → file.
    """

    x86_64: StockIpxe | IpxeFile | RemoteIpxe
    files: Mapping[Binary, Path]
    force: bool
    extra_files: Mapping[str, Path]
    verify: bool
    attempts: int
    on_failure: OnFailure
    reboot_seconds: int
    looked_for: frozenset[Binary] = frozenset()

    @property
    def offered(self) -> tuple[Binary, ...]:
        """The boot binaries that are asked for: whose machines are let in, beside ``looked_for``."""
        return (Binary.X86_64, *self.files)


@dataclass(frozen=True, kw_only=True)
class FleetSettings:
    """``listen``: where health and metrics are answered, None for nowhere of their own.

    ``part`` is what the options say of machines; ``file`` says more of them. ``keep_boots``: days for which
    boots are remembered. ``access_token_file`` None: who comes to ``listen`` may look, and do nothing.
    ``allowed_hosts``: names by which it may be asked for, beside its own.
    ``state``: what several boot hosts share their state by, None: this one has it for itself. ``host_name``
    None: the machine's.
    """

    listen: ListenAddress | None
    allowed_hosts: tuple[str, ...]
    keep_boots: int
    access_token_file: Path | None
    file: Path | None
    part: FleetPart
    state: NatsAddress | None = None
    host_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Where values were given that the settings file does not have.

    ``flags``: dotted option → the flag; ``variables``: dotted option → the variable and what it holds, which
    is used where neither a flag nor the file has the option.
    """

    flags: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def name(self, option: str, value: Any) -> str:
        """What a message calls an option with this value: the flag, the variable, or the option's path."""
        if option in self.flags:
            return self.flags[option]
        variable, held = self.variables.get(option, ("", None))
        return f"${variable}" if held is not None and held == str(value) else f"{NETBOOT_OPTIONS}.{option}"


@dataclass(frozen=True, kw_only=True)
class NetbootSettings:
    """``mirrors`` are URLs without a slash at the end. ``proxy_dhcp`` None: there is none.

    ``origins`` is for messages alone: settings with the same values are equal.
    """

    interface: str | None
    hostname: str
    state_dir: Path
    http_port: int
    allowed_cidrs: tuple[Network, ...]
    trusted_proxies: tuple[Network, ...]
    chain_token_file: Path | None
    protected_files: frozenset[str]
    max_connections: int
    max_neighbours: int | None
    mirrors: tuple[str, ...]
    tftp_boot_filename: str
    tftp: TftpSettings
    proxy_dhcp: ProxyDhcp | None
    release: ReleaseSettings
    ipxe: IpxeSettings
    fleet: FleetSettings
    origins: Origins = field(default_factory=Origins, compare=False, repr=False)

    @property
    def base_url(self) -> str:
        """Where clients are sent, without a slash at the end."""
        return f"http://{self.hostname}:{self.http_port}"

    @property
    def tftp_dir(self) -> Path:
        """Directory of the boot binaries and of what stands beside them."""
        return self.state_dir / "tftp"

    @property
    def fleet_dir(self) -> Path:
        """Directory of what is remembered of the fleet: the one below the state directory into which the boot
        server itself writes.
        """
        return self.state_dir / "fleet"


@dataclass(frozen=True, kw_only=True)
class ServerSettings(NetbootSettings):
    """The settings of what serves, which has an address."""

    listen_ip: IPv4Address
