"""``ectools fleet verify``: a table and its exit status, of a boot server's nodes and signed statements."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import jsonschema
import pytest
from support.fleet_api import NOW, Api, control_socket, make_boot
from support.rebuilding import OTHER, SYSTEM, make_key, make_rebuilt

from ectools.cli import fleet_verify
from ectools.cli.fleet import COMMAND
from ectools.netboot.api.verification import Knowledge
from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.netboot.publishing.rebuilt import seal_rebuilt
from ectools.netboot.settings.model import SignatureFormat
from ectools.schemas import schemas_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Program

STAGES = {NodeStage.SCRIPT: NOW - 60, NodeStage.UP: NOW - 30}


def prepare(api: Api) -> None:
    for name, system in (("nuc-07", SYSTEM), ("nuc-08", OTHER)):
        boot = make_boot(name, id=f"boot-{name}", store_path=system, stages=STAGES, state=BootState.HEALTHY)
        report = NodeReport(release=boot.release, system=system, healthy=True)
        api.boots.note(replace(boot, report=report))


@pytest.fixture
def sock(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    with control_socket(path, prepare):
        yield path


@pytest.fixture
def key(tmp_path: Path) -> bytes:
    private, public = make_key()
    (tmp_path / "builder.pub").write_bytes(public)
    return private


def sign(path: Path, key: bytes, system: str) -> Path:
    path.write_bytes(seal_rebuilt(make_rebuilt(system), form=SignatureFormat.OPENSSL, private_key=key))
    return path


def test_what_nodes_report_is_enough_where_nothing_more_is_wanted(program: Program, sock: Path) -> None:
    status, out, err = program(COMMAND, "verify", "--socket", sock)
    assert status == 0
    assert out.splitlines() == [
        "NODE     KNOWN     SYSTEM",
        f"nuc-07   reported  {SYSTEM}",
        f"nuc-08   reported  {OTHER}",
        "on-disk  unknown   has not booted yet; nothing is expected of it",
    ]
    assert err == "3 nodes, each reported or better, as far as something is expected of it\n"
    assert program(COMMAND, "verify", "--socket", sock, "--require", "rebuilt")[0] == 1


def test_what_is_signed_by_a_trusted_key_is_rebuilt(
    program: Program, sock: Path, tmp_path: Path, key: bytes
) -> None:
    public = tmp_path / "builder.pub"
    first = sign(tmp_path / "one.jsonl", key, SYSTEM)
    arguments = ("verify", "--socket", sock, "--rebuilt-by", public)
    status, out, err = program(COMMAND, *arguments, first)
    assert (status, f"nuc-07   rebuilt   {SYSTEM}; by {public}" in out.splitlines()) == (1, True)
    assert err == "3 nodes; not rebuilt: 1\n"
    assert program(COMMAND, *arguments, first, "--require", "reported")[0] == 0
    second = sign(tmp_path / "two.jsonl", key, OTHER)
    status, out, _ = program(COMMAND, *arguments, first, second, "--json")
    assert status == 0
    shown = json.loads(out)
    schema = json.loads((schemas_directory() / "api/verification.json").read_text())
    boot = json.loads((schemas_directory() / "api/boot.json").read_text())
    text = json.dumps(schema).replace("boot.json#/$defs/release", "#/$defs/release")
    jsonschema.validate(shown, {**json.loads(text), "$defs": boot["$defs"]})
    known = schema["properties"]["nodes"]["items"]["properties"]["knowledge"]["enum"]
    assert known == [each.value for each in Knowledge]
    assert [node["knowledge"] for node in shown["nodes"]] == ["rebuilt", "rebuilt", "unknown"]
    assert shown["verified"] is True


def test_who_is_not_trusted_is_refused(program: Program, sock: Path, tmp_path: Path, key: bytes) -> None:
    other = sign(tmp_path / "one.jsonl", make_key()[0], SYSTEM)
    arguments = ("verify", "--socket", sock, "--rebuilt-by", tmp_path / "builder.pub")
    status, out, err = program(COMMAND, *arguments, other)
    assert (status, out) == (1, "")
    assert "is signed by none of the keys that are trusted" in err
    status, _, err = program(COMMAND, *arguments)
    assert (status, "go together" in err) == (2, True)
    (tmp_path / "none.pub").write_text("x")
    status, _, err = program(COMMAND, *arguments, "--rebuilt-by", tmp_path / "none.pub", other)
    assert (status, "none.pub: is no public key" in err) == (1, True)


def test_it_is_a_command_of_the_fleets() -> None:
    assert {command.name for command in fleet_verify.VERIFY_COMMANDS} <= set(COMMAND.commands)


def test_a_contradiction_is_never_enough(program: Program, tmp_path: Path) -> None:
    def lie(api: Api) -> None:
        prepare(api)
        boot = make_boot("on-disk", id="boot-9", store_path=SYSTEM, stages=STAGES)
        report = NodeReport(release=boot.release, system=OTHER, healthy=True)
        api.boots.note(replace(boot, report=report))

    path = tmp_path / "control.sock"
    with control_socket(path, lie):
        status, out, _ = program(COMMAND, "verify", "--socket", path)
        assert (status, "contradicted" in out) == (1, True)
        assert program(COMMAND, "verify", "--socket", path, "--group", "runners")[0] == 0
