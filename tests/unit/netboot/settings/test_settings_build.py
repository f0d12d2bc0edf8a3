"""JSON → settings: where each option goes, and what follows from several."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from support.built_settings import HERE, SCHEMA, build, find_problems

from ectools.netboot.protocols import Binary, StockBinary
from ectools.netboot.settings.build import build_netboot_settings
from ectools.netboot.settings.model import (
    NETBOOT_OPTIONS,
    DepotSource,
    Forge,
    IpxeFile,
    OnFailure,
    ProxyDhcp,
    RemoteIpxe,
    Signature,
    SignatureFormat,
    StockIpxe,
    Tarballs,
)
from ectools.parsing import Problems
from ectools.schemas import check_settings

SHA256 = "AB" * 32


def test_a_state_that_is_shared() -> None:
    fleet = {
        "state": "tls://nats.example.org,nats://[2001:db8::5]:4223",
        "stateBucket": "vienna",
        "stateCaFile": "/ca.pem",
        "stateCredentialsFile": "/run/nats",
        "hostName": "boot-1",
    }
    settings = build({**HERE, "hostname": "boot.example.org", "fleet": fleet})
    address = settings.fleet.state
    assert address is not None
    assert address.servers == ("tls://nats.example.org:4222", "nats://[2001:db8::5]:4223")
    assert (address.bucket, address.is_encrypted) == ("vienna", True)
    assert (address.ca_file, address.credentials_file) == (Path("/ca.pem"), Path("/run/nats"))
    assert settings.fleet.host_name == "boot-1"


def test_every_option_has_its_place() -> None:
    settings = build(
        {
            "interface": "eth0",
            "hostname": "boot.example.org",
            "stateDir": "/srv/state",
            "httpPort": 81,
            "httpAllowedCIDRs": ["192.0.2.0/24"],
            "trustedProxies": ["192.0.2.7"],
            "chainTokenFile": "/run/token",
            "protectedFiles": ["kernel", "initrd"],
            "maxConnections": 7,
            "maxNeighbours": 6,
            "mirrors": ["http://mirror/a/"],
            "tftpBootFilename": "boot.efi",
            "tftp": {"maxTransfers": 8, "receiveBuffer": 9},
            "proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24"},
            "release": {
                "host": "https://forge/",
                "repo": "a/b",
                "tag": "v1",
                "tokenFile": "/run/forge",
                "artifact": "x-*",
                "systems": ["x", "y"],
                "requireSums": True,
                "signature": {"format": "openssh", "publicKeyFile": "/k"},
                "keep": 1,
                "maxUnpackedMiB": 2,
                "maxFiles": 3,
            },
            "ipxe": {
                "biosFile": "/b",
                "ia32File": "/i",
                "arm64File": "/a",
                "verify": False,
                "attempts": 9,
                "onFailure": "reboot",
                "rebootSeconds": 10,
            },
            "fleet": {
                "keepBoots": 7,
                "accessTokenFile": "/run/access",
                "allowedHosts": ["a.example"],
                "file": "/f.toml",
            },
        }
    )
    assert (settings.interface, settings.hostname) == ("eth0", "boot.example.org")
    assert (settings.state_dir, settings.tftp_dir) == (Path("/srv/state"), Path("/srv/state/tftp"))
    assert settings.base_url == "http://boot.example.org:81"
    assert settings.fleet.allowed_hosts == ("a.example",)
    assert settings.allowed_cidrs == (IPv4Network("192.0.2.0/24"),)
    assert settings.trusted_proxies == (IPv4Network("192.0.2.7/32"),)
    assert settings.chain_token_file == Path("/run/token")
    assert settings.protected_files == {"kernel", "initrd"}
    assert (settings.max_connections, settings.tftp.max_transfers) == (7, 8)
    assert (settings.tftp.receive_buffer, settings.max_neighbours) == (9, 6)
    assert settings.mirrors == ("http://mirror/a",)
    assert settings.tftp_boot_filename == "boot.efi"
    assert settings.proxy_dhcp == ProxyDhcp(subnet=IPv4Network("192.0.2.0/24"))
    release = settings.release
    assert release.source == Forge(
        host="https://forge",
        repo="a/b",
        tag="v1",
        token_file=Path("/run/forge"),
        artifact="x-*",
        other_artifacts=(),
    )
    assert release.systems == ("x", "y")
    assert release.require_sums
    assert release.signature == Signature(format=SignatureFormat.OPENSSH, public_key_file=Path("/k"))
    assert (release.keep, release.max_unpacked, release.max_files) == (1, 2 << 20, 3)
    ipxe = settings.ipxe
    assert ipxe.files == {Binary.BIOS: Path("/b"), Binary.IA32: Path("/i"), Binary.ARM64: Path("/a")}
    assert (ipxe.verify, ipxe.attempts) == (False, 9)
    assert (ipxe.on_failure, ipxe.reboot_seconds) == (OnFailure.REBOOT, 10)
    fleet = settings.fleet
    assert (fleet.keep_boots, fleet.access_token_file) == (7, Path("/run/access"))
    assert fleet.file == Path("/f.toml")
    assert build({"fleet": {"listen": None}}).fleet.listen is None


@pytest.mark.parametrize(
    ("ipxe", "expected"),
    [
        ({}, StockIpxe(package=None)),
        # What another strategy would need is left aside.
        ({"localFile": "/l", "remoteUrl": "http://a/b", "remoteSha256": SHA256}, StockIpxe(package=None)),
        ({"strategy": "local", "localFile": "/l", "embeddedFile": "/e"}, IpxeFile(path=Path("/l"))),
        ({"strategy": "embedded", "localFile": "/l", "embeddedFile": "/e"}, IpxeFile(path=Path("/e"))),
        (
            {"strategy": "remote", "remoteUrl": "http://a/b", "remoteSha256": SHA256},
            RemoteIpxe(url="http://a/b", sha256=SHA256.lower(), ca_file=None),
        ),
    ],
)
def test_where_the_binary_comes_from(ipxe: dict[str, Any], expected: object) -> None:
    assert build({"ipxe": ipxe}).ipxe.x86_64 == expected


def test_a_package_is_where_the_stock_binaries_are() -> None:
    package = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-ipxe"
    assert build({"ipxe": {"package": package}}).ipxe.x86_64 == StockIpxe(package=Path(package))


def test_the_stock_binary_may_be_one_without_drivers() -> None:
    assert build({"ipxe": {"binary": "snponly"}}).ipxe.x86_64 == StockIpxe(
        package=None, binary=StockBinary.SNPONLY
    )
    local = {"binary": "snponly", "strategy": "local", "localFile": "/l"}
    assert build({"ipxe": local}).ipxe.x86_64 == IpxeFile(path=Path("/l"))


def test_a_receive_buffer_may_be_the_hosts_own() -> None:
    assert build({}).tftp.receive_buffer == 8388608
    assert build({"tftp": {"receiveBuffer": None}}).tftp.receive_buffer is None


def test_a_tarball_needs_no_forge() -> None:
    assert build({"release": {"tarball": "/a.tar"}}).release.source == Tarballs(paths=(Path("/a.tar"),))


def test_several_tarballs_are_one_release() -> None:
    source = build({"release": {"tarball": ["/a.tar", "/b.tar"]}}).release.source
    assert source == Tarballs(paths=(Path("/a.tar"), Path("/b.tar")))
    wrong = {"release": {"tarball": ["/a.tar", "b.tar", "/../c"]}}
    assert [option for option, _, _ in find_problems(wrong)] == ["release.tarball[1]", "release.tarball[2]"]


def test_a_registrys_address_may_name_the_release() -> None:
    source = build({"release": {"source": "oci://registry.example.org/boot:boot-v1"}}).release.source
    assert isinstance(source, DepotSource)
    assert source.tag == "boot-v1"
    both = {"source": "oci://registry.example.org/boot:boot-v1", "tag": "boot-v2"}
    assert [option for option, _, _ in find_problems({"release": both})] == ["release.source"]
    without = {"source": "oci://registry.example.org/boot"}
    assert [option for option, _, _ in find_problems({"release": without})] == ["release.source"]
    source = build({"release": {**without, "tag": "boot-v2"}}).release.source
    assert isinstance(source, DepotSource)
    assert source.tag == "boot-v2"


def others(artifact: str | None = None, *, arm64: bool = True) -> tuple[str, ...]:
    release = {} if artifact is None else {"artifact": artifact}
    ipxe = {"arm64File": "/a"} if arm64 else {}
    source = build({"release": release, "ipxe": ipxe}).release.source
    assert isinstance(source, Forge)
    return source.other_artifacts


def test_who_lets_arm64_in_wants_the_archive_of_that_name_too() -> None:
    assert others(arm64=False) == ()
    assert others() == ("ec-runner-aarch64-netboot-*.tar.*",)
    assert others("ec-publisher-x86_64-*.tar.xz") == ("ec-publisher-aarch64-*.tar.xz",)
    # It is what the artifact says already, or nothing can be made of it.
    assert others("ec-runner-aarch64-*") == others("release-*.tar.gz") == ()


def test_systems_without_one_for_machines_that_are_let_in_contradict_them() -> None:
    pc, arm = "ec-runner-x86_64-netboot", "ec-runner-aarch64-netboot"
    wrong = {"release": {"systems": [pc]}, "ipxe": {"arm64File": "/a"}}
    assert find_problems(wrong) == [
        (
            "release.systems",
            f'names no system for aarch64, whose machines ipxe.arm64File lets in: ["{pc}"]',
            f"{arm} beside the others",
        )
    ]
    for systems in ([pc, arm], [arm], [pc, "of-no-known-machine"], []):
        assert build({**wrong, "release": {"systems": systems}}).release.systems == tuple(systems)
    assert build({"release": {"systems": [pc]}}).release.systems == (pc,)
    (twice,) = find_problems({"release": {"systems": [pc, pc]}})
    assert twice[1].startswith("names a system twice: ")


def test_networks_behind_relays_are_answered_too() -> None:
    subnets = ["198.51.100.0/24", "128.0.0.0/30"]
    proxy = build({"proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24", "subnets": subnets}}).proxy_dhcp
    assert proxy is not None
    assert [str(each) for each in proxy.networks] == ["192.0.2.0/24", *subnets]


def test_a_subnet_without_proxy_dhcp_is_checked_and_left_aside() -> None:
    assert build({"proxyDhcp": {"subnet": "198.51.100.0/24"}}).proxy_dhcp is None


def test_the_ends_of_a_subnet_are_in_it() -> None:
    for address in ("192.0.2.0", "192.0.2.255"):
        proxy = build({"listenIP": address, "proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24"}})
        assert proxy.proxy_dhcp is not None
    beyond = {"listenIP": "192.0.3.0", "proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24"}}
    assert [option for option, _, _ in find_problems(beyond)] == ["proxyDhcp.subnet"]


def test_what_is_not_served_needs_no_address_and_one_that_is_given_is_checked() -> None:
    raw = check_settings(HERE, SCHEMA, where="test")
    for document, options in (({}, []), ({"listenIP": "0.0.0.0"}, ["listenIP"])):
        del raw["listenIP"]
        raw.update(document)
        problems = Problems(NETBOOT_OPTIONS)
        assert (build_netboot_settings(raw, problems) is None) == bool(options)
        assert [each.option for each in problems.found] == [f"{NETBOOT_OPTIONS}.{each}" for each in options]
        raw["listenIP"] = "192.0.2.10"
