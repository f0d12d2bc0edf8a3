"""The module ec-node: its unit, its settings, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.systems import Systems

pytestmark = pytest.mark.nix

OPTION = "services.every-channel.node"
UNIT = "every-channel-node.service"
PACKAGE = {"package": {"package": "hello"}}


def node(**options: Any) -> dict[str, Any]:
    return {"services": {"every-channel": {"node": {"enable": True, **options}}}}


def read_unit(systems: Systems, **options: Any) -> list[str]:
    return (systems.build("nodeUnit", node(**PACKAGE, **options)) / UNIT).read_text().splitlines()


def read_arguments(lines: list[str]) -> list[str]:
    (start,) = [line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart=")]
    # What systemd undoes: specifiers, and variables.
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(start)]


def test_without_a_package_an_assertion_names_the_option(systems: Systems) -> None:
    (failed,) = systems.evaluate("failed", node())
    assert failed.startswith(f"{OPTION}.package must be set when enable is true: ")
    assert systems.evaluate("failed", node(**PACKAGE)) == []


def test_secrets_are_refused_in_the_store_and_under_names_that_are_none(systems: Systems) -> None:
    credentials = {"a/b": "/run/x", "key": "/nix/store/0000-key", "other": "/run/secrets/other"}
    stored, named = systems.evaluate("failed", node(**PACKAGE, credentials=credentials))
    assert stored == f"{OPTION}.credentials.key must not be in the Nix store, which everyone can read"
    assert named.startswith(f'{OPTION}.credentials: "a/b" cannot be a credential\'s name')


@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"restart": "sometimes"}, "restart"),
        ({"restartSeconds": 0}, "restartSeconds"),
        ({"credentials": {"key": "relative"}}, "credentials.key"),
        ({"program": "bin/ec-node"}, "program"),
        ({"settings": [1]}, "settings"),
    ],
)
def test_a_value_of_the_wrong_type_fails_with_its_option(
    systems: Systems, options: dict[str, Any], attribute: str
) -> None:
    done = systems.run(["nix-instantiate"], "nodeUnit", node(**PACKAGE, **options))
    assert done.returncode != 0
    assert f"{OPTION}.{attribute}" in done.stderr


def test_the_settings_are_a_file_that_the_daemon_is_started_with(systems: Systems) -> None:
    settings = {"a": {"b": [1, 2.5, None, True, "%n ${x}"]}}
    program, flag, file, *rest = read_arguments(
        read_unit(systems, settings=settings, extraArgs=["--all", "50% of $HOME", 'q"\\'])
    )
    assert program.endswith("/bin/ec-node")
    assert (flag, rest) == ("--config", ["--all", "50% of $HOME", 'q"\\'])
    assert json.loads(Path(file).read_text()) == settings


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"settingsFlag": None, "settingsFile": "/etc/node.json"}, ["/etc/node.json"]),
        ({"settingsFlag": "-c", "settingsFile": "/etc/node.json"}, ["-c", "/etc/node.json"]),
        ({"settingsFile": None, "extraArgs": ["run"]}, ["run"]),
        ({"settingsFile": None, "program": "noded"}, []),
    ],
)
def test_how_the_settings_file_is_passed(
    systems: Systems, options: dict[str, Any], expected: list[str]
) -> None:
    program, *arguments = read_arguments(read_unit(systems, **options))
    assert arguments == expected
    assert program.endswith(f"/bin/{options.get('program', 'ec-node')}")


def test_what_the_options_say_is_in_the_unit(systems: Systems) -> None:
    lines = read_unit(
        systems,
        restart="on-failure",
        restartSeconds=7,
        stopSeconds=9,
        environment={"RATE": "5%"},
        credentials={"key": "/run/secrets/a %k"},
        user="somebody",
    )
    for line in (
        "Restart=on-failure",
        "RestartSec=7",
        "TimeoutStopSec=9",
        'Environment="RATE=5%%"',
        "LoadCredential=key:/run/secrets/a %%k",
        "User=somebody",
        "Group=every-channel-node",
        "StartLimitIntervalSec=0",
        "StateDirectory=every-channel/node",
        "Wants=network-online.target",
        "MemoryMax=80%",
        "TasksMax=1024",
    ):
        assert line in lines


def test_only_the_modules_own_user_is_made(systems: Systems) -> None:
    assert "every-channel-node" not in systems.evaluate("users", node(**PACKAGE, user="root"))
    assert "every-channel-node" in systems.evaluate("users", node(**PACKAGE))


def test_a_host_lifts_a_restriction_by_a_plain_definition(systems: Systems) -> None:
    config = node(**PACKAGE)
    config["systemd"] = {"services": {"every-channel-node": {"serviceConfig": {"PrivateDevices": False}}}}
    text = (systems.build("nodeUnit", config) / UNIT).read_text()
    assert "PrivateDevices=false" in text.splitlines()
    assert "ProtectSystem=strict" in text.splitlines()


def test_exposure_is_at_most_2(systems: Systems, require_tool: Callable[[str, str], str]) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = systems.build("nodeUnit", node(**PACKAGE, credentials={"key": "/run/secrets/key"})) / UNIT
    argv = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= 2.0
