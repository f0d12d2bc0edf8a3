"""What is in the way of a boot host though nothing is wrong with its settings: said, and refused nowhere.

None of it keeps the server from starting, and each is a first day's riddle: clients that are sent to a name
that is nobody's, a token that is none, packets that do not arrive, a second server that answers too.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.addresses import list_own_addresses
from ectools.errors import EcError
from ectools.files import FileError, read_regular
from ectools.netboot.dnsmasq.check import check_proxy_version, find_dnsmasq
from ectools.netboot.dnsmasq.plan import OTHER_FILES
from ectools.netboot.kernel import find_named_architecture
from ectools.netboot.protocols import Binary, find_own_kernel, load_protocols
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.release.systems import find_unserved
from ectools.netboot.server.firewall import find_blocked_ports
from ectools.netboot.server.host import list_ports
from ectools.netboot.server.udp_listeners import list_udp_listeners
from ectools.netboot.settings.kernel_settings import NEIGHBOURS, RECEIVE_BUFFER, list_kernel_settings
from ectools.netboot.settings.model import NETBOOT_OPTIONS, NETBOOT_SCHEMA, DepotSource, Forge, Tarballs
from ectools.processes import ProgramMissingError
from ectools.schemas import load_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ectools.netboot.settings.model import NetbootSettings, ServerSettings

MIN_TOKEN = 16
"""Characters of a token that nobody guesses: 64 bits of hexadecimal digits."""

_TOKEN_BYTES = 64 << 10
_RESOLVE_SECONDS = 3.0
_KERNEL_SETTINGS = Path("/proc/sys")
# What the kernel counts for a short packet: Linux's own buffer of 212,992 bytes holds 256 requests.
_BYTES_A_REQUEST = 832
_CONSEQUENCES: Mapping[str, Callable[[int], str]] = {
    RECEIVE_BUFFER: lambda found: (
        f"of machines that ask TFTP at the same moment, about {found // _BYTES_A_REQUEST} are heard, and the "
        "others ask again after seconds"
    ),
    NEIGHBOURS: lambda found: (
        f"of the machines in its networks, this host can send something to {found} at a time, and to others "
        "nothing"
    ),
}


@dataclass(frozen=True, kw_only=True)
class HostWarning:
    """What is in the way, and what to do about it. ``subject``: an option, or what else it is about."""

    subject: str
    message: str
    hint: str


def find_host_warnings(settings: ServerSettings) -> list[HostWarning]:
    """All of them, of the settings on this machine; what this user may not see is not among them."""
    return [
        *_check_hostname(settings),
        *_check_tokens(settings),
        *_check_firewall(settings),
        *_check_other_servers(settings),
        *_check_systems(settings),
        *_check_crowd(settings),
    ]


def find_small_kernel_settings(wanted: Mapping[str, int]) -> Iterator[HostWarning]:
    """Those of the kernel's numbers that are less than ``wanted``, where it says them.

    In a network namespace of its own it may not.
    """
    for name, consequence in _CONSEQUENCES.items():
        try:
            found = int((_KERNEL_SETTINGS / name.replace(".", "/")).read_text())
        except (OSError, ValueError):
            continue
        if found < wanted.get(name, 0):
            others = " ".join(f"{other}={value}" for other, value in wanted.items() if _are_kin(other, name))
            yield HostWarning(
                subject=name,
                message=f"is {found}: {consequence(found)}",
                hint=f"sysctl -w {others}, before the boot server starts; a file in /etc/sysctl.d keeps it "
                "(`ectools service install` writes one)",
            )


def _are_kin(name: str, other: str) -> bool:
    return name.rpartition(".")[0] == other.rpartition(".")[0]


def _check_crowd(settings: ServerSettings) -> Iterator[HostWarning]:
    """What of this host lets fewer machines boot at a time than the settings say."""
    tftp = settings.tftp
    yield from find_small_kernel_settings(list_kernel_settings(settings))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = tftp.max_transfers + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        yield HostWarning(
            subject=f"{NETBOOT_OPTIONS}.tftp.maxTransfers",
            message=f"is {tftp.max_transfers}, and a program that is started here may have {hard} open "
            f"files: there will be {max(1, hard - OTHER_FILES)} transfers at most",
            hint=f"`ulimit -Hn {wanted}` by root, before it is started; the units have a limit that fits "
            "(LimitNOFILE)",
        )
    if settings.proxy_dhcp is not None:
        try:
            check_proxy_version(find_dnsmasq())
        except ProgramMissingError:
            return  # where settings are only checked
        except EcError as error:
            yield HostWarning(subject="dnsmasq", message=error.message, hint=error.hint or "")


def _check_systems(settings: ServerSettings) -> Iterator[HostWarning]:
    """Machines that are let in, and that the next staging or the current release has nothing for.

    Of an archive whose name says no architecture nothing is known, nor of what a forge's release has.
    """
    source, own = settings.release.source, find_own_kernel(Binary.ARM64)
    if Binary.ARM64 in settings.ipxe.files and isinstance(source, Tarballs):
        named = {find_named_architecture(path.name) for path in source.paths}
        if None not in named and own not in named:
            yield HostWarning(
                subject=f"{NETBOOT_OPTIONS}.release.tarball",
                message="has nothing for the machines that ipxe.arm64File lets in: they will boot nothing",
                hint=f"name the archive for {own} beside it, or unset ipxe.arm64File",
            )
    with contextlib.suppress(EcError):
        release = ReleaseStore(settings.state_dir).find_current()
        unserved = [] if release is None else find_unserved(release.systems, settings.ipxe.offered)
        if release is not None and unserved:
            has = ", ".join(f"{each.name} for {each.architecture}" for each in release.systems)
            yield HostWarning(
                subject=f"the release {release.title}",
                message=f"has no system for {', '.join(unserved)}, whose machines are let in: it has {has}",
                hint="stage one for them too (release.systems, or --tarball once more), or unset ipxe.*File",
            )


def _check_hostname(settings: NetbootSettings) -> Iterator[HostWarning]:
    default = load_schema(NETBOOT_SCHEMA).document["properties"]["hostname"]["default"]
    name = settings.hostname
    if name != default or name in (socket.gethostname(), socket.gethostname() + ".") or _is_here(name):
        return
    yield HostWarning(
        subject=f"{NETBOOT_OPTIONS}.hostname",
        message=f"is its default, {name}, which is not this host: clients are sent there",
        hint="set it to listenIP, or to a name that the clients' DNS server knows for it",
    )


def _is_here(name: str) -> bool:
    """Whether a name is an address of this host; what DNS does not say in time is not."""
    found: list[str] = []

    def resolve() -> None:
        try:
            found.extend(str(info[4][0]) for info in socket.getaddrinfo(name, None, socket.AF_INET))
        except OSError:
            return

    # The resolver has no time limit of its own.
    asking = threading.Thread(target=resolve, daemon=True)
    asking.start()
    asking.join(_RESOLVE_SECONDS)
    return bool({str(address) for _, address in list_own_addresses()} & {*found})


def _check_tokens(settings: NetbootSettings) -> Iterator[HostWarning]:
    if settings.chain_token_file is not None:
        option = f"{NETBOOT_OPTIONS}.chainTokenFile"
        yield from _check_readers(settings.chain_token_file, option)
        shortest = _find_shortest(settings.chain_token_file)
        if shortest is not None and shortest < MIN_TOKEN:
            yield HostWarning(
                subject=option,
                message=f"{settings.chain_token_file}: a token of {shortest} characters is soon guessed",
                hint=f"{MIN_TOKEN} or more: openssl rand -hex 32",
            )
    source = settings.release.source
    if isinstance(source, Forge | DepotSource) and source.token_file is not None:
        yield from _check_readers(source.token_file, f"{NETBOOT_OPTIONS}.release.tokenFile")
    if isinstance(source, DepotSource) and source.credentials_file is not None:
        yield from _check_readers(source.credentials_file, f"{NETBOOT_OPTIONS}.release.credentialsFile")


def _check_readers(file: Path, option: str) -> Iterator[HostWarning]:
    """Where everybody on this host can read a secret: the file, and all directories on the way to it."""
    try:
        modes = [each.stat().st_mode for each in (file, *file.parents)]
    except OSError:
        return  # not there, or not for this user to see
    if modes[0] & stat.S_IROTH and all(mode & stat.S_IXOTH for mode in modes[1:]):
        yield HostWarning(
            subject=option,
            message=f"{file}: every user of this host can read it",
            hint=f"chmod o-r {file}: the service gets it from the service manager, which is root",
        )


def _find_shortest(file: Path) -> int | None:
    """The length of the shortest line; None where it cannot be read."""
    try:
        lines = read_regular(file, limit=_TOKEN_BYTES).split()
    except FileError:
        return None
    return min(map(len, lines), default=0)


def _check_firewall(settings: ServerSettings) -> Iterator[HostWarning]:
    for chain, ports in find_blocked_ports(list_ports(settings)).items():
        shown = ", ".join(f"{protocol} {port}" for protocol, port in ports)
        yield HostWarning(
            subject="firewall",
            message=f"nftables' chain {chain} drops what no rule lets in, and none lets in {shown}",
            hint="let them in from the clients' network: nft add rule … udp dport 69 accept",
        )


def _check_other_servers(settings: ServerSettings) -> Iterator[HostWarning]:
    """Others that hear what clients send here, on TFTP's port, and where it is enabled on ProxyDHCP's."""
    ports = load_protocols().ports
    wanted = [ports.tftp] if settings.proxy_dhcp is None else [ports.tftp, ports.dhcp, ports.pxe]
    interface = settings.interface or next(
        (name for name, address in list_own_addresses() if address == settings.listen_ip), None
    )
    for found in list_udp_listeners(*wanted):
        if not found.is_own and found.hears(settings.listen_ip, interface):
            where = f"UDP {found.address}:{found.port}"
            yield HostWarning(
                subject="another server",
                message=f"{found.process or 'a program'} has {where}"
                + (f" on {found.interface}" if found.interface else ""),
                hint="stop it, or keep it from this interface (dnsmasq: bind-dynamic with except-interface)",
            )
