"""Commands and options that are little more than their arguments."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest

from ectools import log
from ectools.cli import demo, docs, doctor, proposals
from ectools.cli.lazy import LazyGroup
from ectools.cli.log_format import log_format_option, use_log_format
from ectools.cli.param_types import Seconds

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Program


class TestLazyGroup:
    def make(self) -> LazyGroup:
        modules = {"b": ("ectools.cli.init", "Second."), "a": ("no.such.module", "First.")}
        return LazyGroup("group", modules=modules)

    def test_commands_are_listed_without_being_loaded(self, program: Program) -> None:
        status, out, _ = program(self.make(), "--help")
        assert status == 0
        assert out.split("Commands:")[1].split("\n")[1:3] == ["  b  Second.", "  a  First."]

    def test_one_is_loaded_when_it_is_named(self) -> None:
        group = self.make()
        context = click.Context(group)
        assert group.list_commands(context) == ["b", "a"]
        assert group.get_command(context, "b") is sys.modules["ectools.cli.init"].COMMAND
        assert group.get_command(context, "c") is None
        with pytest.raises(ModuleNotFoundError):
            group.get_command(context, "a")


@pytest.mark.parametrize(
    ("text", "seconds"), [("2.5", 2.5), ("1", 1.0), ("0.9", None), ("inf", None), ("nan", None), ("x", None)]
)
def test_a_time_is_a_finite_number_within_its_bounds(text: str, seconds: float | None) -> None:
    kind = Seconds(min=1)
    if seconds is None:
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)
    else:
        assert kind.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("word", "expected"), [("auto", [False, None]), ("json", [False, True]), ("text", [False, False])]
)
def test_the_form_of_the_log(
    program: Program, monkeypatch: pytest.MonkeyPatch, word: str, expected: list[bool | None]
) -> None:
    asked: list[bool | None] = []
    command = click.command()(log_format_option(use_log_format))
    with monkeypatch.context() as patch:
        patch.setattr(
            log, "set_up", lambda **options: asked.append(options["json_lines"]) if options else None
        )
        assert program(command, "--log-format", word)[0] == 0
        assert asked == expected
        assert program(command, "--log-format", "xml")[0] == 2


class TestDoctor:
    FOUND = (
        doctor.Finding(name="qemu", commands=("vm",), state=doctor.FindingState.OK, detail="8.2"),
        doctor.Finding(
            name="kvm",
            commands=("vm", "demo"),
            state=doctor.FindingState.LIMITED,
            detail="none",
            remedy="load it",
        ),
    )

    def test_findings_and_the_status(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(
            doctor, "examine", lambda names, kvm, boot_host: asked.append((list(names), kvm())) or self.FOUND
        )
        monkeypatch.setattr(doctor, "probe_kvm", lambda: None)
        assert program(doctor.COMMAND, "vm") == (
            0,
            "ok       qemu: 8.2  [vm]\nlimited  kvm: none  [vm, demo]\n           load it\n",
            "",
        )
        failure = SimpleNamespace(trouble="no device", detail="/dev/kvm")
        monkeypatch.setattr(doctor, "probe_kvm", lambda: failure)
        monkeypatch.setattr(doctor, "is_fit", lambda _findings: False)
        status, out, _ = program(doctor.COMMAND, "--json")
        assert (status, [each["state"] for each in json.loads(out)]) == (1, ["ok", "limited"])
        failure.detail = ""
        program(doctor.COMMAND)
        assert [kvm for _, kvm in asked] == [None, "no device: /dev/kvm", "no device"]
        assert asked[0][0] == ["vm"]
        assert asked[1][0] == list(doctor.CHECKED_COMMANDS)


class TestProposals:
    def test_one_is_started_linted_and_listed(self, program: Program, tmp_path: Path) -> None:
        directory = ("--dir", tmp_path)
        status, out, _ = program(proposals.COMMAND, "new", *directory, "A title")
        assert status == 0
        path = out.strip()
        assert path.startswith(str(tmp_path))
        _, out, _ = program(proposals.COMMAND, "list", *directory)
        assert out.endswith("A title\n")
        assert out.startswith("ECP-0001  ")
        _, out, _ = program(proposals.COMMAND, "list", "--json", *directory)
        (listed,) = json.loads(out)
        assert (listed["number"], listed["title"], listed["path"]) == (1, "A title", path)
        (tmp_path / "ECP-x.md").write_text("no proposal")
        status, out, err = program(proposals.COMMAND, "lint", *directory)
        assert (status, out) == (1, "")
        assert "ECP-x.md" in err


class TestDemo:
    @pytest.mark.parametrize("keep", [False, True])
    def test_the_result(
        self, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keep: bool
    ) -> None:
        asked: list[dict[str, Any]] = []
        outcome = SimpleNamespace(
            stages={"up": 12.34}, pid=77 if keep else None, directory=tmp_path if keep else None
        )
        monkeypatch.setattr("ectools.demo.run.run_demo", lambda **options: asked.append(options) or outcome)
        monkeypatch.setattr("ectools.docs.build_pages", lambda: {"index.md": b"x"})
        flags = ["--keep"] if keep else []
        status, out, _ = program(demo.COMMAND, "--docs", tmp_path / "docs", "--timeout", 5, *flags)
        assert status == 0
        assert out.splitlines()[0] == "the guest was up after 12.3 s"
        assert (f"{tmp_path}/runner.log; stop it with: kill 77" in out) is keep
        assert (tmp_path / "docs" / "index.md").read_bytes() == b"x"
        assert {name: asked[0][name] for name in ("payload", "keep", "timeout")} == {
            "payload": None,
            "keep": keep,
            "timeout": 5.0,
        }
        _, out, _ = program(demo.COMMAND, "--docs", tmp_path / "docs", "--json")
        assert json.loads(out)["stages"] == {"up": 12.34}
        assert json.loads(out)["pid"] == outcome.pid
        assert asked[1]["timeout"] == 300.0


class TestDocs:
    def test_pages_are_written_and_checked(self, program: Program, tmp_path: Path) -> None:
        schema = tmp_path / "m.schema.json"
        option = {"type": "string", "description": "d", "x-nix-type": "string", "x-nix-declarations": []}
        schema.write_text(
            json.dumps({"x-nix-path": ["s"], "title": "s", "type": "object", "properties": {"a": option}})
        )
        status, out, err = program(docs.COMMAND, "-o", tmp_path / "d", "--schema", schema)
        assert (status, err) == (0, "")
        assert all(line.startswith(str(tmp_path / "d")) for line in out.splitlines())
        assert program(docs.COMMAND, "--check", tmp_path / "d", "--schema", schema)[:2] == (0, "")
        (tmp_path / "d" / out.splitlines()[0].rpartition("/")[2]).write_text("other")
        status, out, _ = program(docs.COMMAND, "--check", tmp_path / "d", "--schema", schema)
        assert status == 1
        assert len(out.splitlines()) == 1

    @pytest.mark.parametrize("arguments", [[], ["-o", "d", "--check", "."]])
    def test_one_of_two(self, program: Program, arguments: list[str]) -> None:
        status, _, err = program(docs.COMMAND, *arguments)
        assert (status, "give either -o DIRECTORY or --check DIRECTORY" in err) == (2, True)
