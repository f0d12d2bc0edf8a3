"""The sources of network boot's settings: which wins, what is relative to where, and what a server needs."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from ectools.errors import InputError, ProblemsError
from ectools.netboot.settings.load import VARIABLES, load_netboot_settings, load_server_settings
from ectools.netboot.settings.model import Forge, IpxeFile, OnFailure, ServerSettings, StockIpxe, Tarballs
from ectools.parsing import ListenAddress

HERE = {"listenIP": "192.0.2.10"}
PREFIX = "services.every-channel.netboot"


def write(document: dict[str, Any] | None, directory: Path) -> Path | None:
    if document is None:
        return None
    file = directory / "netboot.json"
    file.write_text(json.dumps(document))
    return file


def load(document: dict[str, Any] | None, directory: Path, **arguments: Any) -> ServerSettings:
    return load_server_settings(write(document, directory), **{"environment": {}, **arguments})


def test_defaults_are_the_schemas(tmp_path: Path) -> None:
    settings = load(HERE, tmp_path)
    assert settings.listen_ip == IPv4Address("192.0.2.10")
    assert (settings.interface, settings.hostname) == (None, "boot.every.channel")
    assert settings.base_url == "http://boot.every.channel:8080"
    assert settings.tftp_dir == Path("/var/lib/every-channel/netboot/tftp")
    assert (settings.allowed_cidrs, settings.trusted_proxies, settings.mirrors) == ((), (), ())
    assert settings.chain_token_file is None
    assert settings.protected_files == {"netboot.ipxe"}
    assert settings.max_connections == 1024
    assert settings.tftp_boot_filename == "ec-ipxe.efi"
    assert settings.tftp.max_transfers == 4096
    assert settings.proxy_dhcp is None
    assert settings.release.source == Forge(
        host="https://git.every.channel",
        repo="every-channel/every.channel",
        tag=None,
        token_file=None,
        artifact="ec-runner-x86_64-netboot-*.tar.*",
        other_artifacts=(),
    )
    assert settings.release.systems == ()
    assert settings.release.signature is None
    assert not settings.release.require_sums
    assert (settings.release.keep, settings.release.max_files) == (3, 10000)
    assert settings.release.max_unpacked == 8 * 1024**3
    assert settings.ipxe.x86_64 == StockIpxe(package=None)
    assert settings.ipxe.files == {}
    assert (settings.ipxe.verify, settings.ipxe.attempts) == (True, 5)
    assert (settings.ipxe.on_failure, settings.ipxe.reboot_seconds) == (OnFailure.SHELL, 30)
    assert settings.fleet.listen == ListenAddress(ip=IPv4Address("127.0.0.1"), port=9090)


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
    assert isinstance(settings.release.source, Forge)
    assert settings.release.source.tag is None


def test_null_in_the_file_is_not_set(tmp_path: Path) -> None:
    environment = {"EVERY_CHANNEL_NETBOOT_INTERFACE": "eth1"}
    assert load({**HERE, "interface": None}, tmp_path, environment=environment).interface == "eth1"


def test_the_environment_is_this_process_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("EVERY_CHANNEL_NETBOOT_HOSTNAME", "env.example.org")
    assert load_netboot_settings(write({}, tmp_path)).hostname == "env.example.org"
    assert load_netboot_settings(None).hostname == "env.example.org"


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_bad_variable_is_a_bad_option(variable: str) -> None:
    bad = {"EVERY_CHANNEL_NETBOOT_TARBALL": "/a/../b"}.get(variable, "a b")
    with pytest.raises(ProblemsError) as caught:
        load_netboot_settings(None, environment={variable: bad})
    # Named as it was given.
    assert [problem.option for problem in caught.value.problems] == [f"${variable}"]
    assert caught.value.message.startswith("the command line and the environment: 1 ")


@pytest.mark.parametrize("source", ["flags", "environment"])
def test_a_proxy_subnet_by_hand_means_proxy_dhcp(tmp_path: Path, source: str) -> None:
    given = (
        {"flags": {"proxyDhcp.subnet": "192.0.2.0/24"}}
        if source == "flags"
        else {"environment": {"EVERY_CHANNEL_NETBOOT_PROXY_SUBNET": "192.0.2.0/24"}}
    )
    proxy = load(HERE, tmp_path, **given).proxy_dhcp
    assert proxy is not None
    assert proxy.subnet == IPv4Network("192.0.2.0/24")


def test_a_file_that_forbids_proxy_dhcp_goes_before_the_environment_and_not_before_a_flag(
    tmp_path: Path,
) -> None:
    document = {**HERE, "proxyDhcp": {"enable": False}}
    environment = {"EVERY_CHANNEL_NETBOOT_PROXY_SUBNET": "192.0.2.0/24"}
    assert load(document, tmp_path, environment=environment).proxy_dhcp is None
    assert load(document, tmp_path, flags={"proxyDhcp.subnet": "192.0.2.0/24"}).proxy_dhcp is not None


def test_a_tarball_by_hand_takes_the_place_of_the_files_tag(tmp_path: Path) -> None:
    document = {**HERE, "release": {"tag": "boot-v1"}}
    release = load(document, tmp_path, flags={"release.tarball": "x.tar.gz"}).release
    assert release.source == Tarballs(paths=(Path.cwd() / "x.tar.gz",))
    environment = {"EVERY_CHANNEL_NETBOOT_TARBALL": "/y.tar.gz"}
    source = load(document, tmp_path, environment=environment).release.source
    assert isinstance(source, Forge)
    assert source.tag == "boot-v1"


def test_several_tarballs_are_relative_to_where_one_is_too(tmp_path: Path) -> None:
    flags = {"release.tarball": ["x.tar.gz", "/y.tar.gz"]}
    source = load(HERE, tmp_path, flags=flags).release.source
    assert source == Tarballs(paths=(Path.cwd() / "x.tar.gz", Path("/y.tar.gz")))


def test_a_tag_by_hand_takes_the_place_of_the_files_tarball(tmp_path: Path) -> None:
    document = {**HERE, "release": {"tarball": "/y.tar.gz"}}
    source = load(document, tmp_path, flags={"release.tag": "boot-v1"}).release.source
    assert isinstance(source, Forge)
    assert source.tag == "boot-v1"
    environment = {"EVERY_CHANNEL_NETBOOT_RELEASE_TAG": "boot-v1"}
    assert load(document, tmp_path, environment=environment).release.source == Tarballs(
        paths=(Path("/y.tar.gz"),)
    )


def test_a_path_by_hand_is_relative_to_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = {
        "stateDir": "state",
        "chainTokenFile": "token",
        "release.tokenFile": "forge",
        "release.signature.format": "minisign",
        "release.signature.publicKeyFile": "key",
        "ipxe.strategy": "local",
        "ipxe.localFile": "ipxe.efi",
    }
    settings = load(HERE, tmp_path, flags=flags)
    assert settings.state_dir == tmp_path / "state"
    assert settings.chain_token_file == tmp_path / "token"
    assert isinstance(settings.release.source, Forge)
    assert settings.release.source.token_file == tmp_path / "forge"
    assert settings.release.signature is not None
    assert settings.release.signature.public_key_file == tmp_path / "key"
    assert settings.ipxe.x86_64 == IpxeFile(path=tmp_path / "ipxe.efi")
    # In a file they are not: its reader may be a service, which is nowhere.
    with pytest.raises(ProblemsError):
        load({**HERE, "stateDir": "state"}, tmp_path)


def test_only_a_server_needs_an_address(tmp_path: Path) -> None:
    for document in ({}, None, {"listenIP": None}):
        assert load_netboot_settings(write(document, tmp_path), environment={}).interface is None
    with pytest.raises(ProblemsError, match="in the settings") as caught:
        load({}, tmp_path)
    assert [problem.option for problem in caught.value.problems] == [f"{PREFIX}.listenIP"]
    with pytest.raises(ProblemsError) as caught:
        load_netboot_settings(write({"listenIP": "0.0.0.0"}, tmp_path), environment={})
    assert [problem.option for problem in caught.value.problems] == [f"{PREFIX}.listenIP"]


@pytest.mark.parametrize("document", [{"release": 1}, {"proxyDhcp": None}, {"release": []}])
def test_flags_do_not_hide_a_file_of_another_shape(tmp_path: Path, document: dict[str, Any]) -> None:
    flags = {"release.tag": "v1", "proxyDhcp.subnet": "192.0.2.0/24"}
    with pytest.raises(ProblemsError) as caught:
        load({**HERE, **document}, tmp_path, flags=flags)
    (name,) = document
    assert f"{PREFIX}.{name}" in [problem.option for problem in caught.value.problems]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for function in (load_netboot_settings, load_server_settings):
        with pytest.raises(InputError, match=r"absent\.json"):
            function(tmp_path / "absent.json", environment={})


def test_an_error_names_the_file_and_counts_its_fields(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError) as caught:
        load({**HERE, "httpPort": 0}, tmp_path)
    assert caught.value.message == f"{tmp_path}/netboot.json: 1 field cannot be used"
    with pytest.raises(ProblemsError) as caught:
        load_netboot_settings(write({"httpPort": 0, "hostname": ""}, tmp_path), environment={})
    assert caught.value.message == f"{tmp_path}/netboot.json: 2 fields cannot be used"
