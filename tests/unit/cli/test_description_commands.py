"""``ectools generate``, ``init`` and ``validate`` on host descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ectools.addresses import find_own_address
from ectools.cli.combined_schema import choose_schema
from ectools.cli.generate import COMMAND as GENERATE
from ectools.cli.init import COMMAND as INIT
from ectools.cli.validate import COMMAND as VALIDATE
from ectools.host.combined_schema import load_combined_schema

if TYPE_CHECKING:
    from conftest import Program

ROOT = Path(__file__).parents[3]
HOST = ROOT / "examples" / "host.toml"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A description with two problems."""
    path = tmp_path / "bad.json"
    path.write_text('{"services": {"every-channel": {"ipxe-qemu": {"enable": 1, "nothing": 2}}}}')
    return path


def test_the_schema_is_the_combined_one_unless_one_is_named() -> None:
    assert choose_schema(()) == load_combined_schema()
    assert choose_schema(("ec-ipxe-qemu",)) != load_combined_schema()


class TestGenerate:
    def test_to_standard_output_to_a_file_and_checked(self, program: Program, tmp_path: Path) -> None:
        status, text, err = program(GENERATE, HOST)
        assert (status, err) == (0, "")
        file = tmp_path / "host.nix"
        assert program(GENERATE, HOST, "-o", file) == (0, "", "")
        assert file.read_text() == text
        assert program(GENERATE, HOST, "-o", file, "--check") == (0, "", "")

    def test_what_is_stale_or_missing_is_shown_and_left_alone(self, program: Program, tmp_path: Path) -> None:
        file = tmp_path / "host.nix"
        status, out, err = program(GENERATE, HOST, "-o", file, "--check")
        assert (status, out) == (1, "")
        assert f"{file}: missing" in err
        file.write_text("old\n")
        status, _, err = program(GENERATE, HOST, "-o", file, "--check")
        assert status == 1
        assert f"{file}: stale" in err
        assert "-old" in err.splitlines()
        assert file.read_text() == "old\n"

    def test_any_value(self, program: Program, tmp_path: Path) -> None:
        (tmp_path / "value.json").write_text('{"a": [1, "${x}"]}')
        status, out, _ = program(GENERATE, "--value", tmp_path / "value.json")
        assert status == 0
        assert "\\${x}" in out
        assert out.endswith("}\n")

    def test_bad_usage(self, program: Program) -> None:
        status, _, err = program(GENERATE, HOST, "--check")
        assert (status, "give -o" in err) == (2, True)
        status, _, err = program(GENERATE, HOST, "--value", "--schema", "ec-ipxe-qemu")
        assert (status, "leave out --schema" in err) == (2, True)

    def test_an_invalid_description_makes_nothing(self, program: Program, bad: Path, tmp_path: Path) -> None:
        status, out, err = program(GENERATE, bad, "-o", tmp_path / "host.nix")
        assert (status, out) == (2, "")
        assert f"{bad}: not a valid host description" in err
        assert not (tmp_path / "host.nix").exists()


class TestInit:
    def test_an_example_is_written_once(self, program: Program, tmp_path: Path) -> None:
        status, text, _ = program(INIT)
        assert status == 0
        file = tmp_path / "host.toml"
        assert program(INIT, "-o", file) == (0, "", "")
        assert file.read_text() == text
        file.write_text("mine")
        status, _, err = program(INIT, "-o", file)
        assert (status, f"{file}: exists" in err, "--force" in err) == (2, True, True)
        assert file.read_text() == "mine"
        assert program(INIT, "-o", file, "--force")[0] == 0
        assert file.read_text() == text

    def test_the_first_line_names_a_schema_for_editors(self, program: Program) -> None:
        assert program(INIT)[1].startswith("#:schema https://")
        assert program(INIT, "--editor-schema", "./x.json")[1].startswith("#:schema ./x.json\n# ")
        assert program(INIT, "--editor-schema", "")[1].startswith("# ")
        assert program(INIT, "--schema", "ec-ipxe-qemu")[1].startswith("# ")
        status, _, err = program(INIT, "--editor-schema", "a b")
        assert (status, "'a b': not the address of a schema" in err) == (2, True)

    def test_of_one_module(self, program: Program) -> None:
        _, text, _ = program(INIT, "--schema", "ec-ipxe-qemu")
        assert "ipxe-qemu" in text
        assert text != program(INIT)[1]

    def test_of_a_service_with_what_a_first_start_needs(self, program: Program, tmp_path: Path) -> None:
        for name in ("netboot", "ipxe-qemu"):
            file = tmp_path / f"{name}.toml"
            assert program(INIT, name, "-o", file) == (0, "", "")
            assert program(VALIDATE, file)[0] == 0
        text = (tmp_path / "netboot.toml").read_text()
        assert "ipxe-qemu" not in text
        assert [line for line in text.splitlines() if "pkgs." in line and not line.startswith("#")] == []
        address = find_own_address() or "192.0.2.10"
        lines = text.splitlines()
        assert {f'listenIP = "{address}"', f'hostname = "{address}"'} <= set(lines)
        assert len(program(INIT, "netboot", "ipxe-qemu")[1]) > len(text)

    def test_a_service_that_is_none(self, program: Program) -> None:
        status, _, err = program(INIT, "netbot")
        assert (status, "there are: install, ipxe-qemu, netboot" in err) == (2, True)


class TestValidate:
    def test_valid_ones(self, program: Program) -> None:
        assert program(VALIDATE, HOST) == (0, "", "1 file, 0 problems\n")
        assert program(VALIDATE, HOST, HOST, "--json") == (0, "[]\n", "2 files, 0 problems\n")

    def test_each_problem_has_its_line(self, program: Program, bad: Path) -> None:
        status, out, err = program(VALIDATE, bad, HOST)
        assert (status, err) == (1, "2 files, 2 problems\n")
        assert [line.startswith(f"{bad}:1:") for line in out.splitlines()].count(True) == 2
        status, out, _ = program(VALIDATE, bad, "--json")
        assert (status, len(json.loads(out))) == (1, 2)
        status, out, _ = program(VALIDATE, bad, "--sarif")
        assert (status, json.loads(out)["version"], len(json.loads(out)["runs"][0]["results"])) == (
            1,
            "2.1.0",
            2,
        )

    def test_a_fleet_file_has_a_command_of_its_own(self, program: Program) -> None:
        fleet = ROOT / "examples/fleet.toml"
        status, _, err = program(VALIDATE, fleet)
        assert status == 1
        assert f"{fleet}: this is a fleet file: `ectools fleet check {fleet}` checks it\n" in err
        assert "fleet check" not in program(VALIDATE, HOST)[2]

    def test_what_cannot_be_read_is_worse_than_what_is_wrong(
        self, program: Program, bad: Path, tmp_path: Path
    ) -> None:
        status, out, err = program(VALIDATE, tmp_path / "none.json", bad)
        assert status == 2
        assert out.count(f"{bad}:1:") == 2
        assert err.splitlines()[-1] == "2 files, 2 problems, 1 could not be read"
        assert "none.json" in err.splitlines()[0]

    def test_one_form_of_output(self, program: Program) -> None:
        assert program(VALIDATE, HOST, "--json", "--sarif")[0] == 2
