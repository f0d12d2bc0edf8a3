"""The module ec-runner-follow: its unit, what it refuses, and that nobody has it who has not asked for it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from support.systems import Systems

OPTION = "services.every-channel.runner.follow"
UNIT = "every-channel-follow.service"


def configure(*, runner: bool = True, **options: Any) -> dict[str, Any]:
    follow = {"enable": True, **options}
    return {"services": {"every-channel": {"runner": {"enable": runner, "follow": follow}}}}


@pytest.mark.nix
def test_what_the_options_say_is_in_the_unit(systems: Systems) -> None:
    config = configure(everySeconds=7, beforeReboot=["drain.service", "stop.target", "drain.service"])
    lines = (systems.build("followUnit", config) / UNIT).read_text().splitlines()
    for line in (
        'Environment="FOLLOW_SECONDS=7"',
        'Environment="FOLLOW_UNITS=drain.service stop.target"',
        "ConditionKernelCommandLine=every_channel.report",
        "WantedBy=multi-user.target",
        "Restart=on-failure",
    ):
        assert line in lines


@pytest.mark.nix
@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"everySeconds": 4}, "everySeconds"),
        ({"beforeReboot": ["no unit"]}, "beforeReboot"),
        ({"beforeReboot": ["--evil.service"]}, "beforeReboot"),
    ],
)
def test_a_value_of_the_wrong_type_fails_with_its_option(
    systems: Systems, options: dict[str, Any], attribute: str
) -> None:
    done = systems.run(["nix-instantiate"], "followUnit", configure(**options))
    assert done.returncode != 0
    assert f"{OPTION}.{attribute}" in done.stderr


@pytest.mark.nix
@pytest.mark.parametrize(
    "config",
    [
        configure(runner=False),
        {"services": {"every-channel": {"runner": {"enable": True}}}},
        {"services": {"every-channel": {"publisher-guest": {"enable": True}}}},
    ],
)
def test_nobody_follows_who_has_not_asked_for_it(systems: Systems, config: dict[str, Any]) -> None:
    done = systems.run(["nix-instantiate"], "followUnit", config)
    assert done.returncode != 0
    assert f"attribute '{UNIT}' missing" in done.stderr


@pytest.mark.nix
def test_exposure_is_at_most_1_6(systems: Systems, require_tool: Callable[[str, str], str]) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = systems.build("followUnit", configure()) / UNIT
    argv = [analyze, "security", "--offline=true", "--threshold=16", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= 1.6
