"""JSON → settings: contradictions, and everything wrong at once."""

from __future__ import annotations

from typing import Any

import pytest
from support.built_settings import find_problems

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
