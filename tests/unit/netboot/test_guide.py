"""The guide of network boot says what the programs say: every code, every command, every option."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from ectools.cli.main import ectools
from ectools.netboot.probe.faults import REMEDIES, FaultCode
from ectools.netboot.protocols import load_protocols
from ectools.netboot.settings.load import load_server_settings

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "NUC_UNIFI_NETBOOT.md"
TEXT = GUIDE.read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BOOT_FILES = {binary.filename for binary in load_protocols().binaries.values()}
ALL_TEXT = "".join(path.read_text() for path in DOCUMENTS)
SCHEMA = json.loads((ROOT / "schemas" / "ec-netboot.schema.json").read_text())


def find_commands(text: str) -> list[str]:
    """Every ``ectools …`` of an indented block or of inline code; the comment behind it left out."""
    blocks = re.findall(r"^    (?:sudo )?(ectools .+)$", text, re.MULTILINE)
    inline = re.findall(r"`(?:sudo )?(ectools [^`]+)`", text)
    lines = {re.split(r"\s+#|\s{2,}", command)[0].strip() for command in (*blocks, *inline)}
    found = {command for line in lines for command in line.split(" && ") if command.startswith("ectools ")}
    # A quotation that goes on in the next line belongs to a shell.
    return sorted(command for command in found if command.count("'") % 2 == 0)


@pytest.mark.parametrize("command", find_commands(ALL_TEXT))
def test_every_command_is_one(command: str) -> None:
    group: click.Command = ectools
    context = click.Context(group)
    words = shlex.split(command)[1:]
    # A group that works by itself has options of its own.
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        found = group.get_command(context, words.pop(0))
        assert found is not None, command
        group = found
    # The words are parsed as they would be, and nothing is run. Inline, a command may lack its arguments.
    inline = f"`{command}`" in ALL_TEXT or f"`sudo {command}`" in ALL_TEXT
    with contextlib.suppress(*([click.MissingParameter] if inline else [])):
        try:
            group.make_context(command, words, parent=context)
        except click.BadParameter as error:
            # Of the reader's own files none is here.
            if not error.message.endswith("does not exist."):
                raise


def test_the_commands_are_found() -> None:
    assert len(find_commands(TEXT)) > 15
    assert "ectools netboot stage" in find_commands(TEXT)
    assert "ectools netboot serve --check --config /etc/every-channel/netboot.toml" in find_commands(TEXT)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_rollout_is_of_what_was_staged(path: Path) -> None:
    """In the block where it is started: no release is there before it is staged."""
    for block in re.findall(r"(?:^    .*\n)+", path.read_text(), re.MULTILINE):
        for found in re.finditer(r"^    ectools rollout start (\S+)", block, re.MULTILINE):
            assert f"ectools netboot stage --tag {found[1]}" in block[: found.start()]


def test_the_group_that_installs_names_what_it_boots() -> None:
    """Else it follows whatever is staged, and no rollout leads it on."""
    pieces = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/INSTALL.md").read_text(), re.DOTALL)
    groups = [group for piece in pieces for group in tomllib.loads(piece).get("groups", {}).values()]
    assert groups
    assert all("release" in group or "channel" in group for group in groups)


@pytest.mark.parametrize("code", FaultCode)
def test_every_code_of_the_probe_is_explained(code: FaultCode) -> None:
    assert re.search(rf"^- (?:`[a-z0-9-]+`, )*`{code}`", TEXT, re.MULTILINE)


def test_no_code_is_explained_that_is_none() -> None:
    troubles = TEXT.partition("## When it does not boot")[2]
    named = {
        name
        for line in re.findall(r"^- ((?:`[a-z0-9-]+`(?:, )?)+):", troubles, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", line)
    }
    assert named == set(FaultCode)


def find_option(name: str) -> bool:
    found = SCHEMA
    for part in name.split("."):
        while "properties" not in found and "anyOf" in found:
            found = next(each for each in found["anyOf"] if "properties" in each)
        if part not in found.get("properties", {}):
            return False
        found = found["properties"][part]
    return True


@pytest.mark.parametrize("text", [TEXT, *REMEDIES.values()])
def test_every_option_is_one(text: str) -> None:
    dotted = {
        name
        for name in re.findall(r"\b(?:proxyDhcp|ipxe|release)\.[A-Za-z]+\b", text)
        if not name.endswith((".efi", ".org"))
    }
    named = dotted | set(re.findall(r"`(listenIP|hostname|interface|[a-z]+[A-Z][A-Za-z]+)`", text))
    assert all(find_option(name) for name in named), sorted(name for name in named if not find_option(name))


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``, object by object."""
    return below | {
        name: merge(below[name], value) if isinstance(value, dict) and name in below else value
        for name, value in above.items()
    }


def test_the_settings_are_settings(tmp_path: Path) -> None:
    """The one example for all, and each piece of TOML laid over it."""
    assert "sudo cp examples/boot-host.toml /etc/every-channel/netboot.toml" in TEXT
    example = tomllib.loads((ROOT / "examples/boot-host.toml").read_text())
    for piece in ("", *re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)):
        document = merge(example, tomllib.loads(piece))["services"]["every-channel"]["netboot"]
        path = tmp_path / "netboot.json"
        path.write_text(json.dumps(document))
        settings = load_server_settings(path, flags={}, environment={})
        assert settings.proxy_dhcp is not None
        assert str(settings.listen_ip) == "192.0.2.10"


def test_what_other_servers_are_told_is_what_this_project_serves() -> None:
    """Kea's file and OpenWrt's sections against the table of architectures."""
    table = load_protocols()
    files = {architecture.number: architecture for architecture in table.architectures}
    kea = json.loads((ROOT / "examples/kea-dhcp4.json").read_text())["Dhcp4"]
    named = {}
    for entry in kea["client-classes"]:
        for number in re.findall(r"option\[93\]\.hex == 0x([0-9a-f]{4})", entry["test"]):
            named[int(number, 16)] = entry["boot-file-name"]
    assert set(named) == {0, 7, 9, 11, 16}
    for number, name in named.items():
        binary = table.binaries[files[number].binary].filename
        assert name.removeprefix("http://192.0.2.10:8080/") == binary
        assert name.startswith("http:") is (files[number].transport == "http")
    (subnet,) = kea["subnet4"]
    assert subnet["next-server"] == "192.0.2.10"
    listed = TEXT.partition("The numbers of option 93")[2].partition("\n\n")[0]
    assert {table.binaries[each.binary].filename for each in table.architectures} == {
        name for name in re.findall(r"`([^`]+)`", listed) if name in BOOT_FILES
    }
    (openwrt,) = re.findall(r"```\n(config match\n.*?)```", TEXT, re.DOTALL)
    assert re.findall(r"filename '([^']+)'", openwrt) == [
        table.binaries["x86_64"].filename,
        "http://192.0.2.10:8080/autoexec.ipxe",
    ]


def test_files_and_ports_are_the_programs_own() -> None:
    table = load_protocols()
    for port in (table.ports.tftp, table.ports.dhcp, table.ports.pxe):
        assert f"| UDP {port} |" in TEXT
    assert SCHEMA["properties"]["tftpBootFilename"]["default"] in TEXT
    assert (ROOT / "ectools/netboot/probe/report.py").exists()
