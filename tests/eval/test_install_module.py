"""The module ec-install: its unit, its partitions, and which systems have it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.systems import Systems

MODULES = Path(__file__).parents[2] / "nix/modules"
UNIT = "every-channel-install.service"
INSTALL = {"services": {"every-channel": {"install": {"enable": True, "espMiB": 256}}}}
REPORT = {"services": {"every-channel": {"report": {"enable": True}}}}


def read_unit(systems: Systems, config: dict[str, Any], attribute: str, name: str) -> list[str]:
    return (systems.build(attribute, config) / name).read_text().splitlines()


@pytest.mark.nix
def test_the_unit_does_nothing_without_an_order_and_begins_again_where_it_may(systems: Systems) -> None:
    lines = read_unit(systems, INSTALL, "installUnit", UNIT)
    for line in (
        "ConditionKernelCommandLine=every_channel.install",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "PrivateMounts=true",
        "RuntimeDirectoryMode=0700",
        "X-RestartIfChanged=false",
    ):
        assert line in lines


@pytest.mark.nix
def test_a_boot_that_installs_nothing_waits_for_no_disk(systems: Systems) -> None:
    """The condition holds back the unit's own programs, and not the units that it wants."""
    lines = read_unit(systems, INSTALL, "installUnit", UNIT)
    assert [line for line in lines if line.startswith(("Wants=", "Requires="))] == []
    assert "udev-settle" not in "\n".join(lines)
    (settle,) = [line for line in lines if line.startswith("ExecStartPre=")]
    assert settle.startswith("ExecStartPre=-/nix/store/")
    assert settle.endswith("/bin/udevadm settle")


@pytest.mark.nix
def test_programs_for_the_disk_are_the_units_own(systems: Systems) -> None:
    """Of `boot.supportedFilesystems`, NixOS puts programs on the system that the unit has no use for."""
    with_it, without = (systems.evaluate("fileSystemPrograms", config) for config in (INSTALL, {}))
    assert with_it == without


@pytest.mark.nix
def test_what_installs_does_not_report_that_it_is_up(systems: Systems) -> None:
    name = "every-channel-report.service"
    alone = read_unit(systems, REPORT, "reportUnit", name)
    both = {
        "services": {"every-channel": {**INSTALL["services"]["every-channel"], "report": {"enable": True}}}
    }
    together = read_unit(systems, both, "reportUnit", name)
    line = "ConditionKernelCommandLine=!every_channel.install"
    assert line not in alone
    assert line in together


def test_the_partitions_are_what_a_system_on_a_disk_looks_for() -> None:
    disk, module = (MODULES.parent / "hosts/disk.nix").read_text(), (MODULES / "ec-install.nix").read_text()
    for label in ("EC-BOOT", "ec-root"):
        assert f"/dev/disk/by-label/{label}" in disk
        assert f"Label={label}\n" in module


def test_shellcheck_finds_nothing(require_tool: Callable[[str, str], str]) -> None:
    check = require_tool("shellcheck", "install shellcheck")
    scripts = [MODULES / name for name in ("ec-install.sh", "install-disk.sh", "install-write.sh")]
    argv = [check, "--shell=bash", "--external-sources", "--source-path=SCRIPTDIR", *map(str, scripts)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
