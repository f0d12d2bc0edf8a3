"""``ectools schema`` as a program, on dumps that were evaluated before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from ectools.cli.main import run_command
from ectools.cli.schema import COMMAND, SCHEMA_COMMANDS, check, diff, export, own, types

if TYPE_CHECKING:
    from _pytest.capture import CaptureFixture

TABLE = Path(__file__).parents[2] / "golden" / "schemas" / "type_table.dump.json"


class Program:
    def __init__(self, capsys: CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.argv", ["schema", *map(str, arguments)])
        assert isinstance(COMMAND, click.Group)
        status = run_command(COMMAND, prog_name="ectools schema")
        out, err = self._capsys.readouterr()
        return status, out, err


@pytest.fixture
def schema(capsys: CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(capsys, monkeypatch)


def test_each_command_is_in_the_file_of_its_name() -> None:
    context = click.Context(COMMAND)
    assert [COMMAND.get_command(context, name) for name in SCHEMA_COMMANDS] == [
        export.COMMAND,
        check.COMMAND,
        diff.COMMAND,
        types.COMMAND,
    ]
    assert own.find_own_schemas().is_dir()


def test_an_export_is_what_check_wants(schema: Program, tmp_path: Path) -> None:
    status, out, _ = schema("export", "--dump", TABLE, "-o", tmp_path)
    assert (status, out) == (0, f"{tmp_path}/options.schema.json\n")
    assert schema("check", "--dump", TABLE, "-d", tmp_path)[0] == 0


def test_the_document_of_a_dump_is_one_file(schema: Program, tmp_path: Path) -> None:
    arguments = ("export", "--document", "--dump", TABLE, "-o", tmp_path)
    assert schema(*arguments)[:2] == (0, f"{tmp_path}/host.document.json\n")
    document = json.loads((tmp_path / "host.document.json").read_text())
    assert document["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert document["properties"]["port"]["maximum"] == 65535
    schema(*arguments, "--dialect", "2020-12", "--id", "https://e.org/x.json")
    newer = json.loads((tmp_path / "host.document.json").read_text())
    assert newer["$schema"].endswith("2020-12/schema")
    assert newer["$id"] == "https://e.org/x.json"


def test_drift_is_told_by_meaning(schema: Program, tmp_path: Path) -> None:
    schema("export", "--dump", TABLE, "-o", tmp_path)
    path = tmp_path / "options.schema.json"
    document = json.loads(path.read_text())
    document["properties"]["port"]["maximum"] = 1024
    document["properties"]["str"]["description"] = "other words"
    path.write_text(json.dumps(document))
    (tmp_path / "old.schema.json").write_text("{}")
    status, out, err = schema("check", "--dump", TABLE, "-d", tmp_path)
    assert status == 1
    assert "compatible: port: more values are valid than before" in out
    assert "docs: str: the description differs" in out
    assert "old.schema.json: no module has these options any more" in out
    assert "ectools schema export" in err


def test_a_layout_of_its_own_is_drift_too(schema: Program, tmp_path: Path) -> None:
    schema("export", "--dump", TABLE, "-o", tmp_path)
    path = tmp_path / "options.schema.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    status, out, _ = schema("check", "--dump", TABLE, "-d", tmp_path)
    assert status == 1
    assert "only the layout of the file differs" in out


def test_a_missing_schema_is_drift(schema: Program, tmp_path: Path) -> None:
    status, out, _ = schema("check", "--dump", TABLE, "-d", tmp_path)
    assert status == 1
    assert "is missing" in out


def test_broken_options_fail_and_the_rest_is_written(schema: Program, tmp_path: Path) -> None:
    dump = json.loads(TABLE.read_text())
    dump["trees"][0]["options"][0]["broken"] = ["default"]
    broken = tmp_path / "dump.json"
    broken.write_text(json.dumps(dump))
    status, _, err = schema("export", "--dump", broken, "-o", tmp_path)
    assert status == 1
    assert "broken option: anything: its default does not evaluate" in err
    assert (tmp_path / "options.schema.json").is_file()
    assert schema("export", "--dump", broken, "-o", tmp_path, "--allow-broken")[0] == 0


def test_diff_has_a_status_for_each_kind(schema: Program, tmp_path: Path) -> None:
    schema("export", "--dump", TABLE, "-o", tmp_path)
    old, new = tmp_path / "options.schema.json", tmp_path / "new.schema.json"
    document = json.loads(old.read_text())
    new.write_text(json.dumps(document))
    assert schema("diff", old, new)[0] == 0
    document["properties"]["str"]["description"] = "other"
    new.write_text(json.dumps(document))
    assert schema("diff", old, new)[0] == 3
    del document["properties"]["strMatching"]["pattern"]
    new.write_text(json.dumps(document))
    assert schema("diff", old, new)[0] == 4
    del document["properties"]["port"]
    new.write_text(json.dumps(document))
    status, out, _ = schema("diff", old, new, "--json")
    assert status == 5
    assert json.loads(out)["worst"] == "breaking"
    status, out, _ = schema("diff", old, new, "--junit")
    assert out.startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "--dump", TABLE, "-o", "/tmp", "nobody"], "no module of that name"),
        (["export", "--from", "{ }"], "--from and --module go with -o"),
        (["export", "--module", "x.nix"], "--from and --module go with -o"),
        (["export", "--module", "x.nix", "--from", "{ }", "-o", "/tmp"], "give either --from or --module"),
        (["export", "--module", "a", "--module", "b", "--name", "n", "-o", "/tmp"], "--name goes with one"),
        (["export", "--type", "a=int"], "--type goes with"),
        (["export", "--from", "{ }", "-o", "/tmp", "--type", "a"], "--type a: give NAME=NAME"),
        (["export", "--from", "{ }", "-o", "/tmp", "--type", "a=listof"], "did you mean listOf?"),
        (["export", "--class", "nixos"], "go with --module"),
        (["export", "--module", "/absent/x.nix", "-o", "/tmp"], "/absent/x.nix: no such module"),
        (["export", "--required"], "--required goes with --from"),
        (["export", "--dialect", "2020-12"], "--dialect and --id go with --document"),
        (["export", "--id", "https://e.org"], "--dialect and --id go with --document"),
        (["diff", "/absent/a.json", "/absent/b.json"], "no such file or directory"),
        (["check", "--dump", "/absent/dump.json"], "No such file"),
    ],
)
def test_bad_usage_is_told_without_a_traceback(schema: Program, arguments: list[str], words: str) -> None:
    status, _, err = schema(*arguments)
    assert status in (1, 2)
    assert words in err
    assert "Traceback" not in err
