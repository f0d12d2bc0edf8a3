"""One service's settings from a file of either form, in each format, and where its problems stand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ectools.errors import InputError, ProblemsError
from ectools.netboot.settings.load import load_netboot_settings, load_server_settings
from ectools.schemas import load_schema
from ectools.settings_file import check_document, leave_out_packages, read_settings, read_settings_file
from ectools.vm.load import load_boot_script_settings, load_guest_settings

EXAMPLES = Path(__file__).parents[2] / "examples"
NETBOOT = load_schema("ec-netboot")
GUEST = load_schema("ec-ipxe-qemu")
BOTH = """\
services:
  every-channel:
    ipxe-qemu:
      package: pkgs.qemu
      vcpus: 3
      boot: {http: {root: /srv/netboot}}
    netboot:
      enable: true
      listenIP: 192.0.2.10
      release:
        refresh: daily
"""


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def problems_of(error: ProblemsError) -> list[tuple[str, int | None, int | None]]:
    return [(problem.option.rpartition(".")[2], problem.line, problem.column) for problem in error.problems]


def test_each_service_takes_its_own_of_a_host_description(tmp_path: Path) -> None:
    host = write(tmp_path, "host.yaml", BOTH)
    assert str(load_server_settings(host, environment={}).listen_ip) == "192.0.2.10"
    guest = load_guest_settings(host)
    assert (guest.vcpus, guest.package) == (3, None), "a package is found on this machine"
    assert load_boot_script_settings(host).chain is None


@pytest.mark.parametrize("name", ["host.toml", "host.json", "host.yaml"])
def test_every_format_of_the_example_is_read(name: str) -> None:
    assert load_guest_settings(EXAMPLES / name) == load_guest_settings(EXAMPLES / "host.toml")


def test_the_form_is_told_by_what_the_file_says_and_not_by_its_name(tmp_path: Path) -> None:
    text = (EXAMPLES / "boot-host.toml").read_text()
    expected = load_server_settings(EXAMPLES / "boot-host.toml", environment={})
    assert load_server_settings(write(tmp_path, "host", text), environment={}) == expected
    plain = write(tmp_path, "plain.toml", 'listenIP = "192.0.2.10"')
    assert str(load_server_settings(plain, environment={}).listen_ip) == "192.0.2.10"
    found = read_settings_file(write(tmp_path, "x.json", '{"listenIP": "192.0.2.1"}'), NETBOOT)
    assert (found.is_host, found.document) == (False, {"listenIP": "192.0.2.1"})
    assert read_settings_file(write(tmp_path, "y", "{}"), NETBOOT).document == {}


def test_a_pipe_is_read_once_whatever_it_holds(tmp_path: Path) -> None:
    for text in ('[services.every-channel.netboot]\nlistenIP = "192.0.2.9"', '{"listenIP": "192.0.2.9"}'):
        reading, writing = os.pipe()
        os.write(writing, text.encode())
        os.close(writing)
        try:
            settings = load_server_settings(Path(f"/dev/fd/{reading}"), environment={})
        finally:
            os.close(reading)
        assert str(settings.listen_ip) == "192.0.2.9"


def test_what_is_neither_is_told_as_json(tmp_path: Path) -> None:
    for name, text, said in (
        ("x", "= [", "is not JSON"),
        ("x.yaml", "[1]", "holds a list where a JSON object was expected"),
        ("x.toml", "= 1", "x.toml:1:1: (the whole file): not TOML"),
    ):
        with pytest.raises(ProblemsError) as caught:
            read_settings_file(write(tmp_path, name, text), NETBOOT)
        assert said in caught.value.render()
    with pytest.raises(InputError, match="No such file"):
        read_settings_file(tmp_path / "absent", NETBOOT)


def test_a_description_without_the_service_names_those_that_it_has(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError) as caught:
        load_guest_settings(EXAMPLES / "boot-host.toml")
    assert "there is services.every-channel.netboot" in caught.value.render()
    lines = (EXAMPLES / "boot-host.toml").read_text().splitlines()
    assert problems_of(caught.value) == [
        ("ipxe-qemu", lines.index("[services.every-channel.netboot]") + 1, 11)
    ]
    for text, option in (
        ('{"services": {}}', "services.every-channel.netboot"),
        ('{"services": 1}', "services"),
        ('{"services": {"every-channel": {"netboot": []}}}', "services.every-channel.netboot"),
    ):
        with pytest.raises(ProblemsError) as caught:
            read_settings_file(write(tmp_path, "x.json", text), NETBOOT)
        assert [problem.option for problem in caught.value.problems] == [option]


def test_problems_have_the_place_in_the_file_that_was_written(tmp_path: Path) -> None:
    text = BOTH.replace("refresh: daily", "refresh: 5").replace("vcpus: 3", "vcpus: 0")
    host = write(tmp_path, "host.yaml", text)
    with pytest.raises(ProblemsError) as caught:
        load_server_settings(host, environment={})
    assert problems_of(caught.value) == [("refresh", 11, 18)]
    with pytest.raises(ProblemsError) as caught:
        load_guest_settings(host)
    assert problems_of(caught.value) == [("vcpus", 5, 14)]
    # What a schema cannot say is found later, and has its place too.
    with pytest.raises(ProblemsError) as caught:
        load_server_settings(write(tmp_path, "x.yaml", BOTH.replace("2.10", "2.300")), environment={})
    assert problems_of(caught.value) == [("listenIP", 9, 17)]
    guest = write(tmp_path, "g.json", '{\n  "boot": {"http": {"enable": false, "bindIp": "x"}}}')
    for load in (load_guest_settings, load_boot_script_settings):
        with pytest.raises(ProblemsError) as caught:
            load(guest)
        assert problems_of(caught.value) == [("bindIp", 2, 48)]


def test_an_option_that_is_missing_has_its_containers_place(tmp_path: Path) -> None:
    service = '{"proxyDhcp":\n  {"enable": true}, "listenIP": "192.0.2.1"}'
    text = '{"services": {"every-channel": {\n "netboot": ' + service + "}}}"
    with pytest.raises(ProblemsError) as caught:
        load_server_settings(write(tmp_path, "x.json", text), environment={})
    assert problems_of(caught.value) == [("subnet", 2, 14)]


def test_what_a_flag_or_a_variable_says_has_no_place_in_the_file(tmp_path: Path) -> None:
    plain = write(tmp_path, "x.json", '{"listenIP": "192.0.2.10", "httpPort": 0}')
    with pytest.raises(ProblemsError) as caught:
        load_netboot_settings(
            plain,
            flags={"listenIP": "192.0.2.300"},
            environment={"EVERY_CHANNEL_NETBOOT_HOSTNAME": "-"},
        )
    assert problems_of(caught.value) == [
        ("--listen-ip", None, None),
        ("$EVERY_CHANNEL_NETBOOT_HOSTNAME", None, None),
        ("httpPort", 1, 40),
    ]


def test_packages_that_are_named_are_left_out_at_every_depth() -> None:
    stored = f"/nix/store/{'a' * 32}-ipxe"
    document = {"ipxe": {"package": "pkgs.ipxe", "verify": True}, "hostname": "pkgs.x"}
    leave_out_packages(document, NETBOOT.document)
    assert document == {"ipxe": {"verify": True}, "hostname": "pkgs.x"}
    document = {"ipxe": {"package": stored}}
    leave_out_packages(document, NETBOOT.document)
    assert document == {"ipxe": {"package": stored}}


def test_a_byte_that_only_the_strict_reader_takes_leaves_the_message_alone(tmp_path: Path) -> None:
    deep = "[" * 300 + "]" * 300
    path = write(tmp_path, "x.json", json.dumps({"listenIP": "x"})[:-1] + f', "mirrors": {deep}}}')
    with pytest.raises(ProblemsError) as caught:
        read_settings(path, NETBOOT)
    assert caught.value.problems[0].line is None


def test_a_document_without_a_file_is_checked_too() -> None:
    with pytest.raises(ProblemsError, match="here: 1 problem"):
        check_document({"vcpus": 0}, GUEST, file=None, where="here")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"$schema": "./s.json", "vcpus": 3}'),
        ("a.toml", '"$schema" = "./s.json"\n[services.every-channel.ipxe-qemu]\nvcpus = 3'),
        ("a.yaml", "# yaml-language-server: $schema=./s.json\nvcpus: 3"),
    ],
)
def test_what_names_a_schema_for_editors_is_no_option(tmp_path: Path, name: str, text: str) -> None:
    found = read_settings_file(write(tmp_path, name, text), load_schema("ec-ipxe-qemu"))
    assert found.document == {"vcpus": 3}
