"""JSON that the schema accepts, with its literal defaults → settings that can be used, or all that is wrong.

The contradictions between options are here; the rules for one value are in ``checks.py``. Nothing here looks
at the machine: the same runs when a system is built.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from ectools.names import show_path
from ectools.netboot.fleet.build import build_part, join_parts
from ectools.netboot.kernel import find_named_architecture, replace_architecture
from ectools.netboot.protocols import Binary, StockBinary, find_own_kernel
from ectools.netboot.settings import checks
from ectools.netboot.settings.boot_names import check_boot_name, check_extra_files
from ectools.netboot.settings.model import (
    NETBOOT_OPTIONS,
    FleetSettings,
    IpxeFile,
    IpxeSettings,
    NetbootSettings,
    OnFailure,
    ProxyDhcp,
    ReleaseSettings,
    RemoteIpxe,
    ServerSettings,
    Signature,
    SignatureFormat,
    StockIpxe,
    Strategy,
    TftpSettings,
)
from ectools.netboot.settings.source import build_channel, build_source, check_group_channels
from ectools.netboot.state.nats_access import NatsAddress
from ectools.parsing import check_path, check_secret_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from ectools.parsing import Problems


def build_netboot_settings(raw: Mapping[str, Any], problems: Problems) -> NetbootSettings | None:
    """The settings; None where something is wrong, and then ``problems`` has all of it.

    ``listenIP`` may be missing.
    """
    take = problems.check
    listen_ip = problems.parse("listenIP", raw.get("listenIP"), checks.parse_listen_ip)
    interface = take("interface", raw["interface"], checks.check_interface)
    hostname = take("hostname", raw["hostname"], checks.check_hostname)
    state_dir = take("stateDir", raw["stateDir"], check_path)
    http_port = take("httpPort", int(raw["httpPort"]), checks.check_http_port)
    allowed = problems.parse_each("httpAllowedCIDRs", raw["httpAllowedCIDRs"], checks.parse_network)
    proxies = problems.parse_each("trustedProxies", raw["trustedProxies"], checks.parse_network)
    token_file = take("chainTokenFile", raw["chainTokenFile"], check_secret_path)
    mirrors = problems.parse_each("mirrors", raw["mirrors"], checks.parse_mirror)
    filename = take("tftpBootFilename", raw["tftpBootFilename"], check_boot_name)
    proxy_dhcp = _build_proxy(raw["proxyDhcp"], problems, listen_ip=listen_ip)
    release = _build_release(raw["release"], problems, offered=_list_offered(raw["ipxe"]))
    ipxe = _build_ipxe(raw["ipxe"], problems, tokened=token_file is not None)
    check_extra_files(raw["ipxe"]["extraFiles"], problems, boot_filename=filename)
    fleet = _build_fleet(raw["fleet"], problems)
    _check_boot_binaries(raw, problems)
    check_group_channels(fleet.part.groups, problems, is_signed=release.signature is not None)
    if problems.found or ipxe is None:
        return None
    return NetbootSettings(
        interface=interface,
        hostname=hostname,
        state_dir=Path(state_dir),
        http_port=http_port,
        allowed_cidrs=allowed,
        trusted_proxies=proxies,
        chain_token_file=_optional_path(token_file),
        protected_files=frozenset(raw["protectedFiles"]),
        max_connections=int(raw["maxConnections"]),
        max_neighbours=_optional_int(raw["maxNeighbours"]),
        mirrors=mirrors,
        tftp_boot_filename=filename,
        tftp=_build_tftp(raw["tftp"]),
        proxy_dhcp=proxy_dhcp,
        release=release,
        ipxe=ipxe,
        fleet=fleet,
    )


def _build_tftp(raw: Mapping[str, Any]) -> TftpSettings:
    return TftpSettings(
        max_transfers=int(raw["maxTransfers"]), receive_buffer=_optional_int(raw["receiveBuffer"])
    )


def build_server_settings(raw: Mapping[str, Any], problems: Problems) -> ServerSettings | None:
    """The settings of what serves: ``listenIP`` is there. None where something is wrong, as above."""
    settings = build_netboot_settings(raw, problems)
    if settings is None:
        return None
    return ServerSettings(listen_ip=checks.parse_listen_ip(raw["listenIP"]), **vars(settings))


def _build_fleet(raw: Mapping[str, Any], problems: Problems) -> FleetSettings:
    """The fleet of the options; with a file it is not whole, and read together with that."""
    file = problems.check("fleet.file", raw["file"], check_path)
    part = build_part(raw, problems, where=f"{NETBOOT_OPTIONS}.fleet", prefix="fleet")
    join_parts([part], is_whole=file is None)
    listen = problems.parse("fleet.listen", raw["listen"], checks.parse_listen)
    token_file = problems.check("fleet.accessTokenFile", raw["accessTokenFile"], check_secret_path)
    if token_file is not None and raw["listen"] is None:
        message = "nobody can send the token where fleet.listen is null"
        problems.add("fleet.accessTokenFile", token_file, message, "fleet.listen, or null")
    if raw["allowedHosts"] and raw["listen"] is None:
        message = "nothing is asked for by a name where fleet.listen is null"
        problems.add("fleet.allowedHosts", raw["allowedHosts"], message, "fleet.listen, or an empty list")
    return FleetSettings(
        state=_build_state(raw, problems),
        host_name=raw["hostName"],
        listen=listen,
        allowed_hosts=tuple(raw["allowedHosts"]),
        file=_optional_path(file),
        part=part,
        keep_boots=int(raw["keepBoots"]),
        access_token_file=_optional_path(token_file),
    )


def _build_state(raw: Mapping[str, Any], problems: Problems) -> NatsAddress | None:
    ca_file = problems.check("fleet.stateCaFile", raw["stateCaFile"], check_path)
    credentials = problems.check("fleet.stateCredentialsFile", raw["stateCredentialsFile"], check_secret_path)
    if raw["state"] is None:
        for name, value in (("stateCaFile", ca_file), ("stateCredentialsFile", credentials)):
            if value is not None:
                message = "there is no server to use it with where fleet.state is null"
                problems.add(f"fleet.{name}", value, message, "fleet.state, or null")
        return None
    servers = problems.parse("fleet.state", raw["state"], checks.parse_nats_servers)
    return NatsAddress(
        servers=servers or (),
        bucket=raw["stateBucket"],
        ca_file=_optional_path(ca_file),
        credentials_file=_optional_path(credentials),
    )


def _check_boot_binaries(raw: Mapping[str, Any], problems: Problems) -> None:
    """What says which machine gets which is ProxyDHCP, and there is a choice of stock binaries alone."""
    if raw["proxyDhcp"]["enable"] and raw["ipxe"]["strategy"] == Strategy.AUTOEXEC:
        return
    for name, group in raw["fleet"]["groups"].items():
        if group["bootBinary"] is not None:
            message = "no machine can be given a boot binary of its own"
            expected = 'proxyDhcp.enable, and ipxe.strategy "autoexec"'
            problems.add(
                show_path(("groups", name, "bootBinary"), "fleet"), group["bootBinary"], message, expected
            )


def _build_proxy(
    raw: Mapping[str, Any], problems: Problems, *, listen_ip: IPv4Address | None
) -> ProxyDhcp | None:
    """ProxyDHCP; its networks are checked where it is not enabled too."""
    if raw["subnet"] is None and raw["enable"]:
        message = "must be set when proxyDhcp.enable is true"
        problems.add("proxyDhcp.subnet", None, message, "192.0.2.0/24")
    subnet = problems.parse("proxyDhcp.subnet", raw["subnet"], checks.parse_subnet)
    subnets = problems.parse_each("proxyDhcp.subnets", raw["subnets"], checks.parse_subnet)
    if subnet is None or not raw["enable"]:
        return None
    if len(subnets) == len(raw["subnets"]):
        _check_overlaps(subnet, subnets, problems)
    if listen_ip is not None and listen_ip not in subnet:
        expected = f"the network of {listen_ip}"
        problems.add("proxyDhcp.subnet", raw["subnet"], "listenIP is not in it", expected)
    return ProxyDhcp(subnet=subnet, subnets=subnets)


def _check_overlaps(subnet: IPv4Network, subnets: Sequence[IPv4Network], problems: Problems) -> None:
    """A network that is there already is a mistake: which one was meant cannot be told."""
    known = {"proxyDhcp.subnet": subnet}
    for index, each in enumerate(subnets):
        option = f"proxyDhcp.subnets[{index}]"
        other = next((name for name, network in known.items() if network.overlaps(each)), None)
        if other is not None:
            problems.add(option, str(each), f"overlaps {other}", "a further network, behind a DHCP relay")
        known[option] = each


def _list_offered(ipxe: Mapping[str, Any]) -> tuple[Binary, ...]:
    """What machines are offered a boot binary, beside those that x86-64's system is for."""
    return (Binary.ARM64,) if ipxe["arm64File"] is not None else ()


def _build_release(
    raw: Mapping[str, Any], problems: Problems, *, offered: tuple[Binary, ...]
) -> ReleaseSettings:
    # In the order of the options, in which all that is wrong is said.
    source = build_source(raw, problems, others=partial(_list_others, offered=offered))
    systems = _build_systems(raw["systems"], problems, offered=offered)
    signature = _build_signature(raw["signature"], problems)
    return ReleaseSettings(
        source=source,
        channel=build_channel(raw, problems, is_signed=signature is not None),
        systems=systems,
        require_sums=raw["requireSums"],
        signature=signature,
        keep=int(raw["keep"]),
        max_unpacked=int(raw["maxUnpackedMiB"]) * 1024**2,
        max_files=int(raw["maxFiles"]),
    )


def _build_systems(names: list[str], problems: Problems, *, offered: tuple[Binary, ...]) -> tuple[str, ...]:
    """The systems that are wanted. A boot binary whose machines none of them is for is a contradiction."""
    if len(set(names)) != len(names):
        problems.add("release.systems", names, "names a system twice", "each once")
    known = {find_named_architecture(name) for name in names}
    for binary in offered if names and None not in known else ():
        architecture = find_own_kernel(binary)
        if architecture not in known:
            message = f"names no system for {architecture}, whose machines ipxe.{binary}File lets in"
            other = replace_architecture(names[0], architecture)
            problems.add("release.systems", names, message, f"{other} beside the others")
    return tuple(names)


def _list_others(artifact: str, *, offered: tuple[Binary, ...]) -> Iterator[str]:
    """The glob for the other architectures whose machines are let in, where it says one."""
    for binary in offered:
        if (other := replace_architecture(artifact, find_own_kernel(binary))) is not None:
            yield other


def _build_signature(raw: Mapping[str, Any], problems: Problems) -> Signature | None:
    form, key_file = raw["format"], raw["publicKeyFile"]
    problems.check("release.signature.publicKeyFile", key_file, check_path)
    if form is not None and key_file is not None:
        return Signature(format=SignatureFormat(form), public_key_file=Path(key_file))
    if form is not None or key_file is not None:
        missing = "format" if form is None else "publicKeyFile"
        message = "must be set together with the other of release.signature"
        problems.add(f"release.signature.{missing}", None, message, "format and publicKeyFile, or neither")
    return None


def _build_ipxe(raw: Mapping[str, Any], problems: Problems, *, tokened: bool) -> IpxeSettings | None:
    named = {
        Binary.BIOS: raw.get("biosFile"),
        Binary.IA32: raw["ia32File"],
        Binary.ARM64: raw["arm64File"],
    }
    x86_64 = _build_x86_64(raw, problems, tokened=tokened)
    if x86_64 is None:
        return None
    return IpxeSettings(
        x86_64=x86_64,
        files={binary: Path(file) for binary, file in named.items() if file is not None},
        force=raw["force"],
        looked_for=_list_looked_for(raw, x86_64),
        extra_files={name: Path(file) for name, file in raw["extraFiles"].items()},
        verify=raw["verify"],
        attempts=int(raw["attempts"]),
        on_failure=OnFailure(raw["onFailure"]),
        reboot_seconds=int(raw["rebootSeconds"]),
    )


def _list_looked_for(raw: Mapping[str, Any], x86_64: StockIpxe | IpxeFile | RemoteIpxe) -> frozenset[Binary]:
    """The binaries that no option names, where x86-64's is not named either: NixOS names a package.

    BIOS's option has no default outside of NixOS, so that null is a word there: it is not offered.
    """
    if not isinstance(x86_64, StockIpxe) or x86_64.package is not None:
        return frozenset()
    bios = set() if "biosFile" in raw else {Binary.BIOS}
    return frozenset(bios if raw["arm64File"] is not None else bios | {Binary.ARM64})


def _build_x86_64(
    raw: Mapping[str, Any], problems: Problems, *, tokened: bool
) -> StockIpxe | IpxeFile | RemoteIpxe | None:
    """The strategy with what it needs, None where that is missing; the others' options are checked too."""
    strategy = Strategy(raw["strategy"])

    def need(option: str) -> str | None:
        value: str | None = raw.get(option)
        if value is None:
            message = f'must be set when ipxe.strategy is "{strategy}"'
            problems.add(f"ipxe.{option}", None, message, "a value for it")
        return value

    problems.check("ipxe.embeddedFile", raw.get("embeddedFile"), check_path)
    ca_file = problems.check("ipxe.remoteCaFile", raw["remoteCaFile"], check_path)
    problems.check("ipxe.remoteUrl", raw["remoteUrl"], checks.check_remote_url)
    match strategy:
        case Strategy.AUTOEXEC:
            package = _optional_path(raw.get("package"))
            return StockIpxe(package=package, binary=StockBinary(raw["binary"]))
        case Strategy.LOCAL:
            path = need("localFile")
            return None if path is None else IpxeFile(path=Path(path))
        case Strategy.EMBEDDED:
            path = need("embeddedFile")
            if tokened:
                message = "cannot carry the token of chainTokenFile: the binary is in the Nix store"
                expected = '"autoexec", whose script is written when the service starts'
                problems.add("ipxe.strategy", str(strategy), message, expected)
            return None if path is None else IpxeFile(path=Path(path))
        case Strategy.REMOTE:
            url, sha256 = need("remoteUrl"), need("remoteSha256")
            if url is None or sha256 is None:
                return None
            return RemoteIpxe(url=url, sha256=sha256.lower(), ca_file=_optional_path(ca_file))
    assert_never(strategy)


def _optional_int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _optional_path(value: str | None) -> Path | None:
    return None if value is None else Path(value)
