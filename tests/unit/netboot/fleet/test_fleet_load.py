"""The fleet file, as the boot server and ``ectools fleet`` read it."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from support.fleets import DOCUMENTS

from ectools.errors import EcError, InputError, ProblemsError
from ectools.netboot.fleet import load
from ectools.netboot.fleet.build import build_part
from ectools.netboot.fleet.load import accepts, load_fleet, load_fleet_schema, load_whole, read_fleet_file
from ectools.parsing import Problems
from ectools.schemas import validate_document

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


@pytest.mark.parametrize("name", ["fleet.toml", "fleet-next.toml"])
def test_the_examples(name: str) -> None:
    assert load_fleet(EXAMPLES / name).nodes["nuc-07"].group == "runners"


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    texts = {
        "fleet.toml": '[nodes.nuc]\nmatch.mac = ["02:00:00:00:00:07"]\n',
        "fleet.yaml": 'nodes: {nuc: {match: {mac: ["02:00:00:00:00:07"]}}}\n',
        "fleet.json": '{"nodes": {"nuc": {"match": {"mac": ["02:00:00:00:00:07"]}}}}',
    }
    fleets = []
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        fleets.append(load_fleet(tmp_path / name))
    assert fleets[0] == fleets[1] == fleets[2]
    assert list(fleets[0].nodes) == ["nuc"]


def test_what_the_schema_refuses_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('unknwon = "hold"\n[nodes.n]\nhold = "yes"\n')
    with pytest.raises(ProblemsError) as caught:
        load_fleet(file)
    found = [(each.option, each.line, each.column) for each in caught.value.problems]
    assert found == [("fleet.unknwon", 1, 11), ("fleet.nodes.n.hold", 3, 8)]


FAULTS_OF_BOTH_KINDS = """
[groups.runners]
boot = "netwrk"
[nodes."a.b"]
hold = "yes"
match.serial = "S1"
[nodes.m]
group = "runners"
match.serial = "S2"
[nodes.n]
group = "runnners"
match.serial = "S2"
"""


def test_with_a_value_that_is_none_the_rest_is_looked_at_too(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(FAULTS_OF_BOTH_KINDS)
    with pytest.raises(ProblemsError) as caught:
        load_fleet(file)
    found = [(each.option, each.line) for each in caught.value.problems]
    # In the order of the file; a group that cannot be used is none that is missing.
    assert found == [
        ("fleet.groups.runners.boot", 3),
        ('fleet.nodes."a.b".hold', 5),
        ("fleet.nodes.n.group", 11),
        ("fleet.nodes.n.match.serial", 12),
    ]
    # A group may stand in the settings, beside which a file is read.
    with pytest.raises(ProblemsError) as caught:
        read_fleet_file(file)
    assert [each.line for each in caught.value.problems] == [3, 5, 12]


@pytest.mark.parametrize("text", ["[]", '{"nodes": []}', '{"groups": 1, "nodes": {}}', '{"unknown": 1}', "3"])
def test_what_is_no_fleet_at_all_has_its_own_problem_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "fleet.json"
    file.write_text(text)
    with pytest.raises(ProblemsError) as caught:
        load_fleet(file)
    assert len(caught.value.problems) == 1


def test_without_the_compiled_check_the_slow_one_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastjsonschema", None)
    path = tmp_path / "fleet.json"
    path.write_text('{"nodes": {"a": {"match": {"mac": ["52:54:00:00:00:01"]}}}}')
    assert list(load_fleet(path).nodes) == ["a"]
    path.write_text('{"nodes": {"a": {"match": {"mac": ["no address"]}}}}')
    with pytest.raises(ProblemsError):
        load_fleet(path)


def test_what_contradicts_itself_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[nodes.n]\nmatch.serial = "S1"\n[nodes.m]\nmatch.serial = "S1"\n')
    with pytest.raises(ProblemsError) as caught:
        load_fleet(file)
    (problem,) = caught.value.problems
    assert (problem.option, problem.line) == ("fleet.nodes.m.match.serial", 4)


@pytest.mark.parametrize("name", ["fleet.toml", "fleet.txt"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    if name.endswith("txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError):
        load_fleet(tmp_path / name)


def test_options_and_file_are_one_fleet(tmp_path: Path) -> None:
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps({"nodes": {"n": {"group": "g", "match": {"asset": "n"}}}}))
    options: dict[str, Any] = {"groups": {"g": {}}, "nodes": {"m": {"match": {"asset": "m"}}}}
    part = build_part(options, Problems("x"), where="the options", prefix="fleet")
    assert set(load_whole(part, file).nodes) == {"n", "m"}
    assert set(load_whole(part, None).nodes) == {"m"}
    file.write_text(json.dumps({"nodes": {"n": {"match": {"asset": "m"}}}}))
    with pytest.raises(ProblemsError) as caught:
        load_whole(part, file)
    assert "is what fleet.nodes.m in the options is known by too" in caught.value.render()


@given(DOCUMENTS)
def test_the_compiled_check_takes_what_the_schema_takes(document: dict[str, Any]) -> None:
    assert accepts(document)
    for broken in ({**document, "x": 1}, {**document, "unknown": "y"}, {**document, "nodes": {"n": []}}, []):
        assert not accepts(broken)
        assert validate_document(broken, load_fleet_schema())


def test_garbage_is_collected_again_whatever_becomes_of_a_file(tmp_path: Path) -> None:
    """It is not meanwhile: each collection walks all that was read so far."""
    file = tmp_path / "fleet.toml"
    collects = []

    def read(path: Path, **_: Any) -> bytes:
        collects.append(gc.isenabled())
        return path.read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "read_input", read)
        for text in ("[groups.g]\n", "[groups\n"):
            file.write_text(text)
            with contextlib.suppress(EcError):
                load_fleet(file)
            assert gc.isenabled()
    assert collects == [False, False]
    gc.disable()
    try:
        load_fleet(EXAMPLES / "fleet.toml")
        assert not gc.isenabled()
    finally:
        gc.enable()
