"""JSON → settings: contradictions, everything wrong at once, and no exception whatever the JSON is."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.settings_documents import documents, list_options

from ectools.errors import ProblemsError
from ectools.netboot.boot_files.layout import build_filenames
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.dnsmasq.model import build_boot_services
from ectools.netboot.dnsmasq.render import render_configuration
from ectools.netboot.protocols import Binary, StockBinary
from ectools.netboot.settings.build import build_netboot_settings, build_server_settings
from ectools.netboot.settings.model import (
    NETBOOT_OPTIONS,
    NETBOOT_SCHEMA,
    DepotSource,
    Forge,
    IpxeFile,
    OnFailure,
    ProxyDhcp,
    RemoteIpxe,
    ServerSettings,
    Signature,
    SignatureFormat,
    StockIpxe,
    Tarballs,
)
from ectools.parsing import Problems
from ectools.schemas import check_settings, load_schema

HERE = {"listenIP": "192.0.2.10"}
SCHEMA = load_schema(NETBOOT_SCHEMA)
SHA256 = "AB" * 32


def build(document: dict[str, Any]) -> ServerSettings:
    raw = check_settings({**HERE, **document}, SCHEMA, where="test")
    problems = Problems(NETBOOT_OPTIONS)
    settings = build_server_settings(raw, problems)
    if settings is None:
        raise problems.error("test")
    assert problems.found == []
    return settings


def find_problems(document: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """The option, the message and what was expected, of each problem."""
    with pytest.raises(ProblemsError) as caught:
        build(document)
    return [
        (problem.option.removeprefix(f"{NETBOOT_OPTIONS}."), problem.message, problem.expected)
        for problem in caught.value.problems
    ]


PATH = "an absolute path, without .. or control characters"

WRONG: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    (
        {"interface": "a b"},
        [("interface", 'not usable: "a b"', "the name of an interface: enp3s0")],
    ),
    (
        {"httpPort": 0},
        [("httpPort", "not usable: 0", "the port that clients are sent to: 8080")],
    ),
    (
        {"tftpBootFilename": "a." + "b" * 126},
        [("tftpBootFilename", f'too long: "a.{"b" * 126}"', "at most 127 bytes")],
    ),
    ({"stateDir": "netboot"}, [("stateDir", 'not usable: "netboot"', PATH)]),
    ({"release": {"tokenFile": "token"}}, [("release.tokenFile", 'not usable: "token"', PATH)]),
    ({"release": {"tarball": "/a/../b"}}, [("release.tarball", 'not usable: "/a/../b"', PATH)]),
    ({"ipxe": {"embeddedFile": "e"}}, [("ipxe.embeddedFile", 'not usable: "e"', PATH)]),
    (
        {"chainTokenFile": "/nix/store/x-token"},
        [
            (
                "chainTokenFile",
                'in the Nix store, which everyone can read: "/nix/store/x-token"',
                "a path outside of it",
            )
        ],
    ),
    (
        {"release": {"tokenFile": "/nix/store/x-token"}},
        [
            (
                "release.tokenFile",
                'in the Nix store, which everyone can read: "/nix/store/x-token"',
                "a path outside of it",
            )
        ],
    ),
    (
        {"proxyDhcp": {"enable": True}},
        [("proxyDhcp.subnet", "must be set when proxyDhcp.enable is true: null", "192.0.2.0/24")],
    ),
    (
        {"proxyDhcp": {"enable": False, "subnet": "192.0.2.9/24"}},
        [("proxyDhcp.subnet", 'not usable: "192.0.2.9/24"', "192.0.2.0/24")],
    ),
    (
        {"proxyDhcp": {"enable": True, "subnet": "198.51.100.0/24"}},
        [("proxyDhcp.subnet", 'listenIP is not in it: "198.51.100.0/24"', "the network of 192.0.2.10")],
    ),
    *(
        (
            {"proxyDhcp": {"enable": enable, "subnet": nobody}},
            [("proxyDhcp.subnet", f'no client is in it: "{nobody}"', "the clients' network: 192.0.2.0/24")],
        )
        for enable in (True, False)
        for nobody in (
            *("0.0.0.0/0", "0.0.0.0/8", "127.0.0.0/8", "127.0.0.0/24", "224.0.0.0/4", "239.1.0.0/16"),
            *("0.0.0.0/1", "224.0.0.0/3"),
            *("240.0.0.0/4", "192.0.2.10/32", "192.0.2.10/31"),
        )
    ),
    (
        {"proxyDhcp": {"subnets": ["198.51.100.0/24", "0.0.0.0/0", "10.0.0.1/8"]}},
        [
            (
                "proxyDhcp.subnets[1]",
                'no client is in it: "0.0.0.0/0"',
                "the clients' network: 192.0.2.0/24",
            ),
            ("proxyDhcp.subnets[2]", 'not usable: "10.0.0.1/8"', "10.0.0.0/8"),
        ],
    ),
    (
        {
            "proxyDhcp": {
                "enable": True,
                "subnet": "192.0.2.0/24",
                "subnets": ["192.0.0.0/16", "10.1.0.0/16", "10.1.2.0/24"],
            }
        },
        [
            (
                "proxyDhcp.subnets[0]",
                'overlaps proxyDhcp.subnet: "192.0.0.0/16"',
                "a further network, behind a DHCP relay",
            ),
            (
                "proxyDhcp.subnets[2]",
                'overlaps proxyDhcp.subnets[1]: "10.1.2.0/24"',
                "a further network, behind a DHCP relay",
            ),
        ],
    ),
    (
        # One end of the network is wrong already: nothing is said of the other.
        {"listenIP": "0.0.0.0", "proxyDhcp": {"enable": True, "subnet": "198.51.100.0/24"}},
        [("listenIP", 'not usable: "0.0.0.0"', "an IPv4 address of this host: 192.0.2.10")],
    ),
    (
        {"release": {"tag": "a", "tarball": "/b"}},
        [("release.tarball", 'set beside release.tag: "/b"', "one of the two")],
    ),
    (
        {"release": {"signature": {"format": "minisign"}}},
        [
            (
                "release.signature.publicKeyFile",
                "must be set together with the other of release.signature: null",
                "format and publicKeyFile, or neither",
            )
        ],
    ),
    (
        {"release": {"signature": {"publicKeyFile": "/k"}}},
        [
            (
                "release.signature.format",
                "must be set together with the other of release.signature: null",
                "format and publicKeyFile, or neither",
            )
        ],
    ),
    (
        {"ipxe": {"strategy": "local"}},
        [("ipxe.localFile", 'must be set when ipxe.strategy is "local": null', "a value for it")],
    ),
    (
        {"ipxe": {"strategy": "remote"}},
        [
            ("ipxe.remoteUrl", 'must be set when ipxe.strategy is "remote": null', "a value for it"),
            ("ipxe.remoteSha256", 'must be set when ipxe.strategy is "remote": null', "a value for it"),
        ],
    ),
    (
        {"ipxe": {"strategy": "remote", "remoteUrl": "http://a/b"}},
        [("ipxe.remoteSha256", 'must be set when ipxe.strategy is "remote": null', "a value for it")],
    ),
    (
        {"fleet": {"groups": {"a b": {}, "g": {"bootBinary": "snponly"}}}},
        [
            (
                'fleet.groups."a b"',
                'is no name that scripts, metrics and messages can hold: "a b"',
                "letters, digits and . _ - within, 63 at most: nuc-07",
            ),
            (
                "fleet.groups.g.bootBinary",
                'no machine can be given a boot binary of its own: "snponly"',
                'proxyDhcp.enable, and ipxe.strategy "autoexec"',
            ),
        ],
    ),
    (
        {"fleet": {"listen": None, "allowedHosts": [".a.example", "*"]}},
        [
            (
                "fleet.allowedHosts",
                'nothing is asked for by a name where fleet.listen is null: [".a.example", "*"]',
                "fleet.listen, or an empty list",
            )
        ],
    ),
    (
        {"fleet": {"listen": None, "accessTokenFile": "/run/access"}},
        [
            (
                "fleet.accessTokenFile",
                'nobody can send the token where fleet.listen is null: "/run/access"',
                "fleet.listen, or null",
            )
        ],
    ),
    (
        {"fleet": {"stateCredentialsFile": "/run/nats"}},
        [
            (
                "fleet.stateCredentialsFile",
                'there is no server to use it with where fleet.state is null: "/run/nats"',
                "fleet.state, or null",
            )
        ],
    ),
    (
        {"fleet": {"state": "nats://a:99999"}},
        [
            (
                "fleet.state",
                'not usable: "nats://a:99999"',
                "URLs: nats://192.0.2.5:4222, tls://nats.example.org:4222",
            )
        ],
    ),
    (
        {"ipxe": {"strategy": "embedded"}, "chainTokenFile": "/t"},
        [
            ("ipxe.embeddedFile", 'must be set when ipxe.strategy is "embedded": null', "a value for it"),
            (
                "ipxe.strategy",
                'cannot carry the token of chainTokenFile: the binary is in the Nix store: "embedded"',
                '"autoexec", whose script is written when the service starts',
            ),
        ],
    ),
]


@pytest.mark.parametrize(("document", "expected"), WRONG, ids=lambda part: str(part)[:60])
def test_what_is_wrong_is_said_with_what_was_expected(
    document: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    assert find_problems(document) == expected


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_options() -> None:
    """Each rule is applied, whatever the others say."""
    document = {
        "listenIP": "224.0.0.1",
        "interface": "",
        "hostname": "10.1",
        "stateDir": "x",
        "httpPort": 0,
        "httpAllowedCIDRs": ["192.0.2.0/24", "192.0.2.1/24", "::/129"],
        "trustedProxies": ["fe80::1/10"],
        "chainTokenFile": "x",
        "mirrors": ["ftp://a/b", "http://a/", "http://u:pa55@a/"],
        "tftpBootFilename": "a." + "b" * 200,
        "proxyDhcp": {"enable": True, "subnet": "192.0.2.9/24"},
        "release": {
            "tag": "../a",
            "tarball": "x",
            "tokenFile": "x",
            "artifact": "a/b",
            "signature": {"publicKeyFile": "x"},
        },
        "ipxe": {"embeddedFile": "x", "remoteUrl": "http://u:pa55@a/", "strategy": "local"},
        "fleet": {"listen": "127.0.0.1:0", "accessTokenFile": "x"},
    }
    found = find_problems(document)
    assert [option for option, _, _ in found] == [
        *("listenIP", "interface", "hostname", "stateDir", "httpPort"),
        *("httpAllowedCIDRs[1]", "httpAllowedCIDRs[2]", "trustedProxies[0]", "chainTokenFile"),
        *("mirrors[0]", "mirrors[2]", "tftpBootFilename", "proxyDhcp.subnet"),
        *("release.tag", "release.tarball", "release.tokenFile", "release.artifact", "release.tarball"),
        *("release.signature.publicKeyFile", "release.signature.format"),
        *("ipxe.embeddedFile", "ipxe.remoteUrl", "ipxe.localFile"),
        *("fleet.listen", "fleet.accessTokenFile"),
    ]
    assert "pa55" not in str(found)


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


URLS = [
    *("http://a", "https://b/c/", "tftp://a/b", "http://a/?b", "http://u:p@a/", "ftp://a", "HTTP://A/"),
    *("http://[2001:db8::1]:8080/x", "http://a:0/", "http://" + "a" * 500, ""),
]
PATHS = ["/a", "/a b,c", "/é\u2028", "/a/../b", "a", "/nix/store/x", "/a\nb"]
TEXTS: dict[str, list[Any]] = {
    "listenIP": ["192.0.2.10", "127.0.0.1", "0.0.0.0", "255.255.255.255", "300.1.1.1"],
    "hostname": ["192.0.2.10", "boot.example.org", "a" * 63, "10.1", "a b", ""],
    "interface": ["eth0", "a b", None],
    "stateDir": PATHS,
    "chainTokenFile": [*PATHS, None],
    "mirrors": URLS,
    "httpAllowedCIDRs": ["192.0.2.0/24", "::/0", "192.0.2.1/24", "1"],
    "trustedProxies": ["192.0.2.7", "fe80::1/10"],
    "tftpBootFilename": ["a.efi", "ec-ipxe-arm64.efi", "a." + "b" * 125, "a." + "b" * 126],
    "proxyDhcp.subnet": ["192.0.2.0/24", "0.0.0.0/0", "192.0.2.1/24", "999.0.0.0/8", None],
    "release.tag": ["v1", "../a", None],
    "release.tarball": [*PATHS, None],
    "release.tokenFile": [*PATHS, None],
    "release.artifact": ["*", "a/b"],
    "release.refresh": ["hourly", None],
    "release.signature.publicKeyFile": ["/k", "k", None],
    "ipxe.embeddedFile": ["/e", "e", None],
    "ipxe.remoteUrl": [*URLS, None],
    "fleet.listen": ["127.0.0.1:9090", "[::1]:1", "[127.0.0.1]:1", "127.0.0.1:99999", "1.1:1", None],
    "fleet.accessTokenFile": [*PATHS, None],
    "fleet.state": ["nats://a", "tls://[::1]:4222,nats://192.0.2.5", "nats://a:99999", "nats://[::::]", None],
    "fleet.stateCaFile": [*(each for each in PATHS if each != "a"), None],
    "fleet.stateCredentialsFile": [*PATHS, None],
}


DOCUMENTS = documents(SCHEMA, HERE, TEXTS)


@example({**HERE, "mirrors": ["tftp://a/b"]}, None)
@example({**HERE, "release": {"host": "http://0["}}, None)
@example({**HERE, "fleet": {"state": "nats://[::::]"}}, None)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.none() | st.just("t0k/en"))
def test_a_document_that_the_schema_takes_is_built_and_used_or_said_to_be_wrong(
    document: dict[str, Any], token: str | None
) -> None:
    raw = check_settings(document, SCHEMA, where="test")
    problems = Problems(NETBOOT_OPTIONS)
    settings = build_server_settings(raw, problems)
    assert (settings is None) == bool(problems.found)
    # What does not serve finds the same.
    other = Problems(NETBOOT_OPTIONS)
    assert (build_netboot_settings(raw, other) is None) == (settings is None)
    assert other.found == problems.found
    options = {f"{NETBOOT_OPTIONS}.{name}" for name, _ in list_options(SCHEMA.document)}
    for problem in problems.found:
        # Or below one: an item of a list, or what has a name of the user's.
        above = (name for name in options if problem.option.startswith((f"{name}[", f"{name}.")))
        assert problem.option in options or next(above, None) is not None, problem.option
        assert problem.expected
    if settings is None:
        return
    assert build_autoexec(settings, token).isascii()
    names = frozenset(build_filenames(settings).values())
    render_configuration(build_boot_services(settings, present=names))
