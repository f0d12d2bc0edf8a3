"""The module ec-report: its unit, what it refuses, the programs that run on a node, and who has it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.redaction import TOKENS, USERS
from support.systems import Systems

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "nix/modules"
OPTION = "services.every-channel.report"
UNIT = "every-channel-report.service"


def configure(**options: Any) -> dict[str, Any]:
    return {"services": {"every-channel": {"report": {"enable": True, **options}}}}


def read_unit(systems: Systems, config: dict[str, Any]) -> list[str]:
    return (systems.build("reportUnit", config) / UNIT).read_text().splitlines()


@pytest.mark.nix
def test_what_the_options_say_is_in_the_unit(systems: Systems) -> None:
    lines = read_unit(
        systems,
        configure(healthUnits=["a.service", r"b\x2dc@1.service"], holdSeconds=7, journalKiB=3),
    )
    for line in (
        'Environment="REPORT_HEALTH_UNITS=a.service b\\\\x2dc@1.service"',
        'Environment="REPORT_HOLD_SECONDS=7"',
        'Environment="REPORT_JOURNAL_KIB=3"',
        # Either of them: a boot server has said so, or who has installed this.
        "ConditionKernelCommandLine=|every_channel.report",
        "ConditionPathExists=|/var/lib/every-channel/report/first-boot",
        "Wants=boot-complete.target",
        "WantedBy=multi-user.target",
        "X-RestartIfChanged=false",
        "User=every-channel-report",
    ):
        assert line in lines


@pytest.mark.nix
def test_nothing_of_the_boot_waits_for_it(systems: Systems) -> None:
    """It is ordered before nothing, and has begun as soon as systemd has got to it."""
    lines = read_unit(systems, configure())
    assert [
        line for line in lines if line.startswith(("Before=", "After=", "Requires=", "RequiredBy="))
    ] == []
    assert "Type=simple" in lines


@pytest.mark.nix
@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"healthUnits": ["no unit"]}, "healthUnits"),
        ({"healthUnits": ["--evil.service"]}, "healthUnits"),
        ({"healthUnits": ["name-alone"]}, "healthUnits"),
        ({"holdSeconds": -1}, "holdSeconds"),
        ({"journalKiB": 33}, "journalKiB"),
    ],
)
def test_a_value_of_the_wrong_type_fails_with_its_option(
    systems: Systems, options: dict[str, Any], attribute: str
) -> None:
    done = systems.run(["nix-instantiate"], "reportUnit", configure(**options))
    assert done.returncode != 0
    assert f"{OPTION}.{attribute}" in done.stderr


@pytest.mark.nix
@pytest.mark.parametrize("profile", ["runner", "publisher-guest"])
def test_the_profiles_have_it_unless_a_host_says_no(systems: Systems, profile: str) -> None:
    def is_enabled(**report: Any) -> Any:
        services = {profile: {"enable": True}, "report": report}
        return systems.evaluate(
            "config.services.every-channel.report.enable", {"services": {"every-channel": services}}
        )

    assert is_enabled() is True
    assert is_enabled(enable=False) is False
    assert systems.evaluate("config.services.every-channel.report.enable", {}) is False


@pytest.mark.nix
def test_the_publishers_daemon_is_part_of_its_health(systems: Systems) -> None:
    def read_units(**node: Any) -> Any:
        services = {"publisher-guest": {"enable": True}, "node": node}
        return systems.evaluate(
            "config.services.every-channel.report.healthUnits", {"services": {"every-channel": services}}
        )

    assert read_units() == []
    assert read_units(package={"package": "hello"}) == ["every-channel-node.service"]


@pytest.mark.nix
def test_exposure_is_at_most_1_1(systems: Systems, require_tool: Callable[[str, str], str]) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = systems.build("reportUnit", configure()) / UNIT
    argv = [analyze, "security", "--offline=true", "--threshold=11", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= 1.1


def configure_initrd(*, systemd: bool = True, **initrd: Any) -> dict[str, Any]:
    """A host whose stage 1 says that the kernel runs; ``initrd``: more of its stage 1."""
    return {
        **configure(initrd={"enable": True}),
        "boot": {"initrd": {**initrd, "systemd": {"enable": systemd}}},
    }


@pytest.mark.nix
def test_stage_1_has_it_where_that_is_asked_for_and_systemds(systems: Systems) -> None:
    off = {**configure(), "boot": {"initrd": {"systemd": {"enable": True}}}}
    found = systems.evaluate("reportInitrd.services", off)
    assert "every-channel-report-running" not in found
    assert "every-channel-report-running" in systems.evaluate("reportInitrd.services", configure_initrd())
    assert systems.evaluate("failed", configure_initrd()) == []
    (failed,) = systems.evaluate("failed", configure_initrd(systemd=False))
    assert failed.startswith(f"{OPTION}.initrd.enable needs a stage 1 with systemd: ")


@pytest.mark.nix
def test_stage_1_brings_drivers_and_ends_before_the_switch_to_stage_2(systems: Systems) -> None:
    assert {"af_packet", "e1000e", "virtio_net"} <= set(
        systems.evaluate("reportInitrd.modules", configure_initrd())
    )
    lines = systems.evaluate("reportInitrd.text", configure_initrd()).splitlines()
    for line in (
        "Before=initrd-switch-root.target",
        "Conflicts=initrd-switch-root.target",
        "DefaultDependencies=false",
        "ConditionKernelCommandLine=every_channel.report",
        "Type=simple",
    ):
        assert line in lines


@pytest.mark.nix
def test_a_network_that_stage_1_has_is_used_as_it_is(systems: Systems) -> None:
    own = systems.evaluate("reportInitrd.text", configure_initrd()).splitlines()
    others = systems.evaluate("reportInitrd.text", configure_initrd(network={"enable": True})).splitlines()
    assert 'Environment="OWN_NETWORK=yes"' in own
    assert 'Environment="OWN_NETWORK="' in others
    # Whatever becomes of them, they are no failure of stage 2's.
    assert any(line.startswith("ExecStart=-/") for line in own)
    assert any(line.startswith("ExecStopPost=-/") for line in own)
    assert not any(line.startswith("ExecStopPost=") for line in others)


@pytest.mark.parametrize("name", ["report.sh", "report-running.sh"])
def test_shellcheck_finds_nothing(name: str, require_tool: Callable[[str, str], str]) -> None:
    check = require_tool("shellcheck", "install shellcheck")
    argv = [check, "--shell=bash", "--external-sources", "--source-path=SCRIPTDIR", str(MODULES / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((text, shown) for text, shown in (*TOKENS, *USERS) if "\n" not in text),
        # Of a text, not of one URL: up to the blank.
        ("http://a:b@h/ and http://c:d@h/ to me@h", "http://***@h/ and http://***@h/ to me@h"),
        ("http://h/report?boot=0_-aZ&stage=up boot=local", "http://h/report?boot=***&stage=up boot=local"),
        ("token=\x01s3cret", "token=***"),
        ("token=***é", "token=***"),
    ],
)
def test_the_shell_redacts_as_ectools_does(text: str, shown: str) -> None:
    def redact(line: str) -> str:
        argv = ["sed", "-E", "-f", str(MODULES / "redact.sed")]
        done = subprocess.run(
            argv, input=f"{line}\n".encode(), env={"LC_ALL": "C"}, capture_output=True, check=True
        )
        return done.stdout.decode().removesuffix("\n")

    assert redact(text) == shown
    assert redact(shown) == shown
