"""Settings of network boot: which source wins, and what is refused."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from ectools.errors import ProblemsError
from ectools.netboot.settings.load import load_settings
from ectools.netboot.settings.model import Settings

HERE = {"listenIP": "192.0.2.10"}


def load(document: dict[str, Any] | None, directory: Path, **arguments: Any) -> Settings:
    file = None
    if document is not None:
        file = directory / "netboot.json"
        file.write_text(json.dumps(document))
    return load_settings(file, **{"environment": {}, "serving": True, **arguments})


def names_of(error: ProblemsError) -> list[str]:
    return [problem.option.removeprefix("services.every-channel.netboot.") for problem in error.problems]


def test_defaults_are_the_schemas(tmp_path: Path) -> None:
    settings = load(HERE, tmp_path)
    assert settings.listen_ip == IPv4Address("192.0.2.10")
    assert settings.base_url == "http://boot.every.channel:8080"
    assert settings.tftp_dir == Path("/var/lib/every-channel/netboot/tftp")
    assert settings.tftp_boot_filename == "ec-ipxe.efi"
    assert settings.protected_files == {"netboot.ipxe"}
    assert settings.release.signature is None
    assert settings.release.max_unpacked == 8 * 1024**3


def test_a_flag_goes_before_the_file_and_the_file_before_the_environment(tmp_path: Path) -> None:
    environment = {
        "EVERY_CHANNEL_NETBOOT_HOSTNAME": "env.example.org",
        "EVERY_CHANNEL_NETBOOT_LISTEN_IP": "192.0.2.1",
        "EVERY_CHANNEL_NETBOOT_INTERFACE": "eth1",
        "EVERY_CHANNEL_NETBOOT_RELEASE_TAG": "",
    }
    settings = load(
        {"hostname": "file.example.org", "httpPort": 81},
        tmp_path,
        environment=environment,
        flags={"interface": "eth2", "httpPort": None},
    )
    assert settings.hostname == "file.example.org"
    assert settings.listen_ip == IPv4Address("192.0.2.1")
    assert settings.interface == "eth2"
    assert settings.http_port == 81
    assert settings.release.tag is None


@pytest.mark.parametrize("source", ["flags", "environment"])
def test_a_proxy_subnet_by_hand_means_proxy_dhcp(tmp_path: Path, source: str) -> None:
    given = (
        {"flags": {"proxyDhcp.subnet": "192.0.2.0/24"}}
        if source == "flags"
        else {"environment": {"EVERY_CHANNEL_NETBOOT_PROXY_SUBNET": "192.0.2.0/24"}}
    )
    proxy = load(HERE, tmp_path, **given).proxy_dhcp
    assert proxy.enable
    assert proxy.subnet == ip_network("192.0.2.0/24")


def test_a_tarball_by_hand_takes_the_place_of_the_files_tag(tmp_path: Path) -> None:
    document = {**HERE, "release": {"tag": "boot-v1"}}
    release = load(document, tmp_path, flags={"release.tarball": "x.tar.gz"}).release
    assert release.tag is None
    assert release.tarball == Path.cwd() / "x.tar.gz"
    environment = {"EVERY_CHANNEL_NETBOOT_TARBALL": "/y.tar.gz"}
    assert load(document, tmp_path, environment=environment).release.tarball is None


def test_only_a_server_needs_an_address(tmp_path: Path) -> None:
    assert load({}, tmp_path, serving=False).listen_ip is None
    assert load(None, tmp_path, serving=False).listen_ip is None
    with pytest.raises(ProblemsError, match="in the settings") as caught:
        load({}, tmp_path)
    assert [problem.option for problem in caught.value.problems] == [
        "services.every-channel.netboot.listenIP"
    ]


@pytest.mark.parametrize(
    ("document", "options"),
    [
        ({"listenIP": "192.0.2.256"}, ["listenIP"]),
        ({"listenIP": "0.0.0.0"}, ["listenIP"]),
        ({"listenIP": "224.0.0.1"}, ["listenIP"]),
        ({"interface": "a b"}, ["interface"]),
        ({"hostname": "10.1"}, ["hostname"]),
        ({"hostname": "a;shell"}, ["hostname"]),
        ({"hostname": "${ip}"}, ["hostname"]),
        ({"hostname": "-a"}, ["hostname"]),
        ({"hostname": ""}, ["hostname"]),
        ({"httpPort": 0}, ["httpPort"]),
        ({"tftpBootFilename": "a." + "b" * 200}, ["tftpBootFilename"]),
        ({"mirrors": ["ftp://a/b", "http://a/b?c", "http://u:pa55@a/"]}, [f"mirrors[{n}]" for n in range(3)]),
        ({"httpAllowedCIDRs": ["192.0.2.1/24", "::/129"]}, ["httpAllowedCIDRs[0]", "httpAllowedCIDRs[1]"]),
        ({"trustedProxies": ["fe80::1/10"]}, ["trustedProxies[0]"]),
        ({"stateDir": "netboot"}, ["stateDir"]),
        ({"chainTokenFile": "/nix/store/x-token"}, ["chainTokenFile"]),
        ({"release": {"tokenFile": "token"}}, ["release.tokenFile"]),
        ({"proxyDhcp": {"enable": True}}, ["proxyDhcp.subnet"]),
        ({"proxyDhcp": {"enable": True, "subnet": "192.0.2.9/24"}}, ["proxyDhcp.subnet"]),
        ({"proxyDhcp": {"enable": True, "subnet": "198.51.100.0/24"}}, ["proxyDhcp.subnet"]),
        ({"release": {"tag": "a", "tarball": "/b"}}, ["release.tarball"]),
        ({"release": {"tag": "../a"}}, ["release.tag"]),
        ({"release": {"artifact": "a/b"}}, ["release.artifact"]),
        ({"release": {"signature": {"format": "minisign"}}}, ["release.signature.publicKeyFile"]),
        ({"release": {"signature": {"publicKeyFile": "/k"}}}, ["release.signature.format"]),
        ({"ipxe": {"strategy": "local"}}, ["ipxe.localFile"]),
        ({"ipxe": {"strategy": "remote"}}, ["ipxe.remoteUrl", "ipxe.remoteSha256"]),
        ({"ipxe": {"strategy": "embedded"}}, ["ipxe.embeddedFile"]),
        (
            {"ipxe": {"strategy": "embedded", "embeddedFile": "/e"}, "chainTokenFile": "/t"},
            ["ipxe.strategy"],
        ),
        ({"ipxe": {"remoteUrl": "http://a b"}}, ["ipxe.remoteUrl"]),
        ({"stateDir": "x", "hostname": "10.1"}, ["hostname", "stateDir"]),
    ],
)  # fmt: skip
def test_what_no_service_takes_is_refused(
    tmp_path: Path, document: dict[str, Any], options: list[str]
) -> None:
    with pytest.raises(ProblemsError) as caught:
        load({**HERE, **document}, tmp_path)
    assert names_of(caught.value) == options
    assert "pa55" not in caught.value.render()


@pytest.mark.parametrize("hostname", ["192.0.2.10", "boot", "boot.every.channel", "3com.example.org"])
def test_names_and_addresses_are_host_names(tmp_path: Path, hostname: str) -> None:
    assert load({**HERE, "hostname": hostname}, tmp_path).hostname == hostname
