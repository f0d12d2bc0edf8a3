"""What the programs refuse of a description that the schemas accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.cli.service_settings import find_contradictions
from ectools.cli.validate import COMMAND as VALIDATE_COMMAND
from ectools.documents.load import HostFormat, parse_host

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Program

PROXY = """\
[services.every-channel.netboot]
enable = true
listenIP = "192.0.2.10"
proxyDhcp.enable = true
hostname = "a b"
"""


def find(text: str) -> list[str]:
    description = parse_host(text.encode(), file="f", form=HostFormat.TOML)
    return [problem.render().splitlines()[0] for problem in find_contradictions(description)]


def test_each_contradiction_of_an_enabled_service_stands_where_it_is() -> None:
    prefix = "services.every-channel.netboot"
    assert find(PROXY) == [
        f'f:5:12: {prefix}.hostname: not usable: "a b"',
        f"f:4:1: {prefix}.proxyDhcp.subnet: must be set when proxyDhcp.enable is true: null",
    ]
    assert find(PROXY.replace("enable = true\nlisten", "enable = false\nlisten")) == []


def test_a_package_is_no_matter_of_the_programs() -> None:
    text = '[services.every-channel.ipxe-qemu]\nenable = true\npackage = "pkgs.qemu"\n'
    assert find(text) != []
    assert find(text + 'boot.http.root = "/srv"\n') == []
    assert find("") == []


def test_validate_says_them(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "host.toml"
    file.write_text(PROXY)
    status, out, _ = program(VALIDATE_COMMAND, file)
    assert (status, "host.toml:5:12: " in out) == (1, True)
    # A schema that is named is all that is asked for.
    assert program(VALIDATE_COMMAND, file, "--schema", "ec-netboot")[0] == 0


def test_validate_takes_one_services_settings(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "netboot.json"
    file.write_text('{"listenIP": "192.0.2.10"}')
    assert program(VALIDATE_COMMAND, file)[0] == 0
