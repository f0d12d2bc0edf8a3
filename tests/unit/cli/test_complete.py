"""Values that a shell completes, and that a shell never sees an error."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import click
import pytest
from click.shell_completion import ShellComplete

from ectools.cli import complete as complete_module
from ectools.cli.completion import COMPLETED_PROGRAMS, COMPLETED_SHELLS, completion
from ectools.cli.lazy import completion_variable
from ectools.cli.main import COMMANDS, ectools, run_command
from ectools.schemas import schema_names

if TYPE_CHECKING:
    from pathlib import Path

ID = "sha256-0123456789abcdef0123456789abcdef"


def complete(*words: str) -> list[tuple[str, str | None]]:
    """What stands to choose from for the last word, with what is said of each."""
    *before, incomplete = words
    found = ShellComplete(ectools, {}, "ectools", "_X").get_completions(before, incomplete)
    return [(item.value, item.help) if item.type == "plain" else (item.type, None) for item in found]


def names(*words: str) -> list[str]:
    return [name for name, _ in complete(*words)]


def test_commands_come_with_what_they_do() -> None:
    assert dict(complete("")) == {name: line for name, (_, line) in COMMANDS.items()}
    assert names("netboot", "s") == ["stage", "serve"]
    assert names("netboot", "releases", "p") == ["pin"]
    assert "--tarball" in names("netboot", "stage", "--t")


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    for name, text in (
        (ID, json.dumps({"tag": "boot-v1"})),
        ("sha256-f", json.dumps({"tag": None})),
        ("sha256-broken", "{"),
        ("sha256-list", "[]"),
        ("other", "{}"),
    ):
        (tmp_path / "state/releases" / name).mkdir(parents=True)
        (tmp_path / "state/releases" / name / "release.json").write_text(text)
    return tmp_path / "state"


@pytest.mark.parametrize("command", ["pin", "unpin", "verify"])
def test_releases_come_with_their_tags(state_dir: Path, command: str) -> None:
    found = complete("netboot", "releases", command, "--state-dir", str(state_dir), "")
    assert dict(found) == {ID: "boot-v1", "sha256-f": None, "sha256-broken": None, "sha256-list": None}
    assert names("netboot", "releases", command, "--state-dir", str(state_dir), "sha256-01") == [ID]


def test_the_state_directory_is_the_settings_too(state_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "netboot.json"
    config.write_text(json.dumps({"stateDir": str(state_dir)}))
    assert names("netboot", "releases", "pin", "--config", str(config), "sha256-01") == [ID]
    for text in ("{", "[]", "{}", '{"stateDir": 3}'):
        config.write_text(text)
        assert names("netboot", "releases", "pin", "--config", str(config), "sha256-01") == []


def test_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0"), (3, "od\nd")])
    for command in ("serve", "probe"):
        assert names("netboot", command, "--interface", "") == ["lo", "eth0"]
        assert names("netboot", command, "--interface", "e") == ["eth0"]

    def fail() -> None:
        raise OSError

    monkeypatch.setattr(socket, "if_nameindex", fail)
    assert names("netboot", "serve", "--interface", "") == []


@pytest.mark.parametrize(
    "words", [("schema", "check"), ("docs", "--schema"), ("validate", "--schema"), ("generate", "--schema")]
)
def test_schemas(words: tuple[str, ...]) -> None:
    assert names(*words, "ec-n") == [name for name in schema_names() if name.startswith("ec-n")]
    assert names(*words, "./x") == ["file"]


def test_vm_tests_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nix/tests").mkdir(parents=True)
    for name in ("default", "eval-systems", "netboot", "node"):
        (tmp_path / f"nix/tests/{name}.nix").touch()
    monkeypatch.chdir(tmp_path)
    assert names("vmtest", "") == ["netboot", "node"]
    monkeypatch.chdir("/")
    assert names("vmtest", "") == []
    assert names("vmtest", "--flake", f"path:{tmp_path}", "no") == ["node"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("netboot", "stage", "--config"), "file"),
        (("netboot", "stage", "--tarball"), "file"),
        (("netboot", "stage", "--state-dir"), "dir"),
        (("netboot", "ipxe", "--local-file"), "file"),
        (("proposals", "list", "--dir"), "dir"),
        (("vm", "run", "--config"), "file"),
    ],
)
def test_files_are_the_shells_to_complete(words: tuple[str, ...], kind: str) -> None:
    assert names(*words, "x") == [kind]


def test_words_whose_values_are_checked_elsewhere() -> None:
    assert names("netboot", "ipxe", "--strategy", "") == ["autoexec", "embedded", "local", "remote"]
    assert names("netboot", "stage", "--signature-format", "open") == ["openssh", "openssl"]
    assert ("7", "x64 UEFI") in complete("netboot", "probe", "--arch", "")


@pytest.mark.parametrize("program", COMPLETED_PROGRAMS)
@pytest.mark.parametrize("shell", COMPLETED_SHELLS)
def test_a_script_asks_its_program(shell: str, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    completion.main([shell, "--program", program], standalone_mode=False)
    script = capsys.readouterr().out
    assert f"{completion_variable(program)}={shell}_complete" in script
    assert program in script


def test_nothing_of_a_fault_gets_into_the_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_words: object) -> list[object]:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(complete_module, "_choose", fail)
    monkeypatch.setenv("_ECTOOLS_COMPLETE", "bash_complete")
    for line, cword in (("ectools netboot probe --arch ", "4"), ("ectools nothing x", "2"), ("ectools", "x")):
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", cword)
        run_command(ectools, prog_name="ectools")
        out, err = capfd.readouterr()
        assert (out.strip(), err) == ("", "")


@pytest.mark.parametrize(("instruction", "status"), [("bash_complete", 0), ("tcsh_complete", 1), ("x", 1)])
def test_the_status_is_the_shells_to_ignore(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], instruction: str, status: int
) -> None:
    monkeypatch.setenv("_ECTOOLS_COMPLETE", instruction)
    monkeypatch.setenv("COMP_WORDS", "ectools netboot sta")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run_command(ectools, prog_name="ectools") == status
    assert capfd.readouterr() == ("plain,stage\n" if status == 0 else "", "")


def test_an_answer_that_nobody_takes_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_words: object, **_more: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(click.Command, "main", break_off)
    monkeypatch.setitem(os.environ, "_ECTOOLS_COMPLETE", "bash_complete")
    assert run_command(ectools, prog_name="ectools") == 1
