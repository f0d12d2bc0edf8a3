"""The commands: every field wrong in turn, the pure prints, and what they load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from ectools.cli.vm import COMMAND, every_channel_ipxe_qemu
from ectools.errors import InputError, ProblemsError
from ectools.schemas import load_schema
from ectools.vm.settings import GUEST_OPTIONS, GUEST_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[3] / "examples/ipxe-qemu.json"


def options(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every option in the schema."""
    for name, inner in node.get("properties", {}).items():
        if "x-nix-type" in inner:
            yield (*path, name)
        else:
            yield from options(inner, (*path, name))


OPTIONS = sorted(options(load_schema(GUEST_SCHEMA).document))


def write(directory: Path, document: Any) -> str:
    path = directory / "settings.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_the_schema_was_walked() -> None:
    assert len(OPTIONS) > 35
    assert {("boot", "http", "root"), ("extraArgs",), ("lan", "macvtap", "mode")} <= set(OPTIONS)


@pytest.mark.parametrize(
    "command",
    [
        '"$0" -P -m ectools.cli.main vm check --config <(cat "$1")',
        'cat "$1" | "$0" -P -m ectools.cli.main vm check --config /dev/stdin',
        '"$0" -P -m ectools.cli.main vm check --config /dev/stdin < "$1"',
        '"$0" -P -m ectools.cli.main vm check --config /proc/self/fd/9 9< "$1"',
    ],
)
def test_settings_come_from_a_pipe_as_well(command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, EXAMPLE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(": the settings can be used\n")


@pytest.mark.parametrize("path", OPTIONS, ids=".".join)
@pytest.mark.parametrize("arguments", [["--check"], []], ids=["check", "run"])
def test_a_field_of_the_wrong_type_is_named_and_nothing_is_started(
    path: tuple[str, ...], arguments: list[str], tmp_path: Path
) -> None:
    document: Any = {"an object": "where none is expected"}
    for name in reversed(path):
        document = {name: document}
    document.setdefault("stateDir", str(tmp_path / "state"))
    config = write(tmp_path, document)
    result = CliRunner().invoke(every_channel_ipxe_qemu, ["--config", config, *arguments])
    assert isinstance(result.exception, ProblemsError)
    assert result.exception.exit_code == 2
    assert f"{GUEST_OPTIONS}.{'.'.join(path)}" in [problem.option for problem in result.exception.problems]
    assert all(problem.expected for problem in result.exception.problems)
    assert not (tmp_path / "state").exists()


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    config = write(tmp_path, {"boot": {"htpp": {}}})
    result = CliRunner().invoke(every_channel_ipxe_qemu, ["--check", "--config", config])
    assert isinstance(result.exception, ProblemsError)
    assert "htpp" in result.exception.render()


def test_the_program_prints_an_error_and_ends_with_status_2(tmp_path: Path) -> None:
    """Through the console script's own function: the message is on standard error, without a traceback."""
    config = write(tmp_path, {"disk": {"size": 7}})
    program = [sys.executable, "-c", "import sys; from ectools.cli.vm import main; sys.exit(main())"]
    done = subprocess.run(
        [*program, "--check", "--config", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{GUEST_OPTIONS}.disk.size" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_example_is_usable_and_argv_is_one_json_array_or_one_shell_line() -> None:
    as_json = CliRunner().invoke(COMMAND, ["argv", "--config", str(EXAMPLE), "--json"])
    as_line = CliRunner().invoke(COMMAND, ["argv", "--config", str(EXAMPLE)])
    argv = json.loads(as_json.stdout)
    assert argv[0] == "qemu-system-x86_64"
    shell = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {as_line.stdout.strip()}"], capture_output=True, text=True, check=True
    )
    assert shell.stdout.split("\0")[:-1] == argv


def test_argv_shows_the_accelerator_that_is_asked_for(tmp_path: Path) -> None:
    argv = json.loads(
        CliRunner().invoke(COMMAND, ["argv", "--config", str(EXAMPLE), "--json", "--accel", "tcg"]).stdout
    )
    assert "q35,accel=tcg" in argv
    config = write(tmp_path, {"enableKvm": False, "boot": {"http": {"enable": False}}})
    result = CliRunner().invoke(COMMAND, ["argv", "--config", config, "--accel", "kvm"])
    assert "enableKvm is false" in str(result.exception)


def test_the_boot_script_needs_only_what_it_is_made_of(tmp_path: Path) -> None:
    boot = {
        "chainUrl": None,
        "http": {"bindIp": "0.0.0.0", "port": 81},
        "userNet": {"dnsServers": ["9.9.9.9"]},
    }
    config = write(tmp_path, {"boot": boot})
    result = CliRunner().invoke(every_channel_ipxe_qemu, ["--print-boot-script", "--config", config])
    assert result.exit_code == 0
    assert result.stdout.startswith("#!ipxe\n")
    assert "chain http://10.0.2.2:81/netboot.ipxe && exit ||" in result.stdout
    assert "set dns 9.9.9.9" in result.stdout
    # The rest of it is not usable: there is no root.
    assert CliRunner().invoke(every_channel_ipxe_qemu, ["--check", "--config", config]).exit_code == 1


def test_the_boot_script_is_printed_without_the_token(tmp_path: Path) -> None:
    config = write(tmp_path, {"boot": {"chainUrl": "http://a/x", "chainTokenFile": "/nonexistent"}})
    result = CliRunner().invoke(COMMAND, ["boot-script", "--config", config])
    assert "chain http://a/x?token=REDACTED " in result.stdout


def test_a_boot_script_that_nix_embeds_has_the_chain_url_whole(tmp_path: Path) -> None:
    config = write(tmp_path, {"boot": {"chainUrl": "http://a/x?token=public&node=1"}})
    result = CliRunner().invoke(every_channel_ipxe_qemu, ["--print-boot-script", "--config", config])
    assert "chain http://a/x?token=public&node=1 && exit ||" in result.stdout


@pytest.mark.parametrize("port", [0, 8080])
def test_a_boot_script_cannot_name_a_port_that_is_not_known_yet(port: int, tmp_path: Path) -> None:
    config = write(tmp_path, {"boot": {"http": {"port": port}}})
    result = CliRunner().invoke(COMMAND, ["boot-script", "--config", config])
    assert (result.exception is None) == (port != 0)


@pytest.mark.parametrize("arguments", [["--check"], ["--print-boot-script"]])
def test_what_runs_in_a_nix_build_loads_only_click_and_jsonschema(arguments: list[str]) -> None:
    """There the interpreter may have nothing else."""
    heavy = ["aiohttp", "qemu", "pyroute2", "yaml", "markdown_it"]
    code = (
        "import sys\n"
        f"for name in {heavy!r}: sys.modules[name] = None\n"
        "from ectools.cli.vm import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--config", str(EXAMPLE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [[], ["--user", "daemon", "--remove"]])
def test_a_link_is_made_for_a_user_or_removed(arguments: list[str]) -> None:
    result = CliRunner().invoke(COMMAND, ["lan-link", "--config", str(EXAMPLE), *arguments])
    assert result.exit_code == 2
    assert "give --user, or --remove" in result.stderr


def test_there_is_no_link_without_a_lan() -> None:
    result = CliRunner().invoke(COMMAND, ["lan-link", "--config", str(EXAMPLE), "--remove"])
    assert isinstance(result.exception, InputError)
    assert f"{GUEST_OPTIONS}.lan.enable: is false" in result.exception.message
