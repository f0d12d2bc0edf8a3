"""The module ec-runner-follow: its unit, what it refuses, and that nobody has it who has not asked for it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts import merge
from support.systems import Systems

MODULES = Path(__file__).parents[2] / "nix/modules"
OPTION = "services.every-channel.runner.follow"
UNIT = "every-channel-follow.service"
MODULES = Path(__file__).parents[2] / "nix/modules"


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
def test_what_the_key_says_is_in_the_unit(systems: Systems, tmp_path: Path) -> None:
    key = tmp_path / "release.pub"
    key.write_text("ssh-ed25519 AAAA somebody\n")
    signature = {"format": "openssh", "publicKeyFiles": [str(key)], "allowedArguments": ["a=1", 'b="2"']}
    unit = systems.build("followUnit", configure(signature={**signature, "channel": "stable"})) / UNIT
    text = unit.read_text()
    lines = text.splitlines()
    for line in (
        'Environment="FOLLOW_CHANNEL=stable"',
        'Environment="FOLLOW_DIRECTORY=/run/every-channel-follow"',
        'Environment="FOLLOW_KEXEC=yes"',
        'Environment="FOLLOW_REBOOT="',
        'Environment="FOLLOW_SIGNATURE=openssh"',
        "CapabilityBoundingSet=CAP_SYS_BOOT",
        "RuntimeDirectory=every-channel-follow",
        "RuntimeDirectoryMode=0700",
        "RuntimeDirectoryPreserve=restart",
        "SystemCallFilter=kexec_load",
        "SystemCallFilter=kexec_file_load",
    ):
        assert line in lines
    assert "MemoryMax" not in text
    assert f'Environment="FOLLOW_KEYS={key}"' in lines
    (path,) = re.findall(r'FOLLOW_ARGUMENTS=(/nix/store/[^"]+)"', text)
    assert Path(path).read_text() == 'a=1\nb="2"\n'


@pytest.mark.nix
def test_systemd_expands_nothing_in_the_names_of_files(systems: Systems) -> None:
    signature = {"format": "openssh", "publicKeyFiles": ["/etc/keys/%n.pub"]}
    config = merge(configure_disk(), configure(signature=signature))
    config = merge(config, {"boot": {"loader": {"efi": {"efiSysMountPoint": "/efi%i"}}}})
    lines = (systems.build("followUnit", config) / UNIT).read_text().splitlines()
    assert 'Environment="FOLLOW_KEYS=/etc/keys/%%n.pub"' in lines
    assert 'Environment="FOLLOW_ESP=/efi%%i"' in lines
    assert 'ReadWritePaths="/efi%%i"' in lines
    assert (
        'Environment="SETTLE_ESP=/efi%%i"'
        in systems.evaluate("diskUnits", config)["every-channel-update-look.service"]
    )


@pytest.mark.nix
def test_without_a_key_it_boots_through_its_firmware(systems: Systems) -> None:
    text = (systems.build("followUnit", configure()) / UNIT).read_text()
    assert "FOLLOW_KEXEC" not in text
    assert "FOLLOW_SIGNATURE" not in text
    assert "MemoryMax=64M" in text
    assert 'FOLLOW_KEXEC=yes"' in (systems.build("followUnit", configure(kexec=True)) / UNIT).read_text()


@pytest.mark.nix
@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ({}, {"kexec": False}, "never boots again"),
        ({"boot": {"kernel": {"sysctl": {"kernel.kexec_load_disabled": 1}}}}, {}, "takes no other one"),
        ({"security": {"protectKernelImage": True}}, {}, "takes no other one"),
    ],
)
def test_what_cannot_work_is_refused(
    systems: Systems, tmp_path: Path, more: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    (tmp_path / "key").write_text("a key\n")
    signature = {"format": "minisign", "publicKeyFiles": [str(tmp_path / "key")]}
    config = {**configure(signature=signature, **options), **more}
    assert any(message in each for each in systems.evaluate("failed", config))
    with_blank = configure(signature={**signature, "publicKeyFiles": ["/etc/a key"]})
    assert any("must have no blanks" in each for each in systems.evaluate("failed", with_blank))
    fine = configure(signature={**signature, "reboot": True}, **options)
    assert not any(message in each for each in systems.evaluate("failed", fine))


@pytest.mark.parametrize(
    "name",
    ["follow", "follow-trust", "follow-kexec", "follow-installed", "settle-update", "disk-boot"],
)
def test_shellcheck_finds_nothing(name: str, require_tool: Callable[[str, str], str]) -> None:
    check = require_tool("shellcheck", "install shellcheck")
    # What one of them sets, another one reads.
    argv = [check, "--shell=bash", "--external-sources", "--exclude=SC2034,SC2154", f"{name}.sh"]
    done = subprocess.run(argv, cwd=MODULES, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.nix
@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"everySeconds": 4}, "everySeconds"),
        ({"beforeReboot": ["no unit"]}, "beforeReboot"),
        ({"signature": {"format": "pgp", "publicKeyFiles": ["/k"]}}, "signature.format"),
        ({"signature": {"format": "minisign", "publicKeyFiles": []}}, "signature.publicKeyFiles"),
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


def configure_disk(**options: Any) -> dict[str, Any]:
    """One that follows on its disk."""
    config = configure(disk=options) if options else configure()
    return {**config, "boot": {"loader": {"systemd-boot": {"enable": True}}}}


@pytest.mark.nix
def test_who_has_systemd_boot_follows_on_its_disk(systems: Systems) -> None:
    config = configure_disk(tries=3, trialSeconds=60, generations=5)
    lines = (systems.build("followUnit", config) / UNIT).read_text().splitlines()
    for line in (
        "ConditionKernelCommandLine=|every_channel.report",
        "ConditionPathExists=|/run/every-channel/disk-boot/arguments",
        'Environment="FOLLOW_TRIES=3"',
        'Environment="FOLLOW_ESP=/boot"',
        'ReadWritePaths="/boot"',
        "StateDirectoryMode=0700",
    ):
        assert line in lines
    units = systems.evaluate("diskUnits", config)
    assert set(units) == {
        "every-channel-disk-boot.service",
        *(f"every-channel-update-{each}.service" for each in ("look", "good", "prove", "watch")),
    }
    good = units["every-channel-update-good.service"].splitlines()
    assert "Before=boot-complete.target" in good
    assert "After=multi-user.target" in good
    for name, text in units.items():
        # In front of boot-complete.target, or without which multi-user.target would wait for it.
        is_late = any(each in name for each in ("good", "prove"))
        assert ("DefaultDependencies=false" in text) is (is_late or "watch" in name), name
    prove = units["every-channel-update-prove.service"]
    assert 'Environment="SETTLE_GENERATIONS=5"' in prove
    assert "Requires=boot-complete.target" in prove
    booted = units["every-channel-disk-boot.service"].splitlines()
    assert "ConditionKernelCommandLine=!every_channel.report" in booted
    assert "Group=every-channel-report" in booted
    arguments = systems.evaluate("config.boot.kernelParams", config)
    assert {"panic=10", "boot.panic_on_fail"} <= set(arguments)


@pytest.mark.nix
def test_no_directory_belongs_to_services_of_two_users(systems: Systems) -> None:
    # systemd gives a directory, with all that is in it, to the user of whichever service it starts.
    publisher = {"node": {"enable": True, "package": {"package": "hello"}}, "install": {"enable": True}}
    config = merge(configure_disk(), configure(kexec=True), {"services": {"every-channel": publisher}})
    owners: dict[str, set[str]] = {}
    for found in systems.evaluate("ownDirectories", config).values():
        for directory in found["directories"]:
            owners.setdefault(directory, set()).add(found["user"])
    assert len(owners) > 4
    assert {directory: users for directory, users in owners.items() if len(users) > 1} == {}


@pytest.mark.nix
def test_without_systemd_boot_or_the_option_nothing_of_a_disk_is_there(systems: Systems) -> None:
    for config in (configure(), configure_disk(enable=False)):
        assert systems.evaluate("diskUnits", config) == {}
        assert "panic=10" not in systems.evaluate("config.boot.kernelParams", config)


@pytest.mark.nix
def test_on_a_disk_without_systemd_boot_it_is_refused(systems: Systems) -> None:
    failed = systems.evaluate("failed", configure(disk={"enable": True}))
    assert failed == [
        (
            f"{OPTION}.disk.enable needs boot.loader.systemd-boot.enable: "
            "that boot loader counts how often a system was tried"
        )
    ]


@pytest.mark.nix
def test_who_counts_by_nixos_too_is_refused(systems: Systems) -> None:
    """systemd-bless-boot would take the counter off before the system has proven itself."""
    loader = {"systemd-boot": {"enable": True, "bootCounting": {"enable": True}}}
    config = {**configure(), "boot": {"loader": loader}}
    done = systems.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode"], "failed", config
    )
    if done.returncode != 0:
        # Most releases of nixpkgs have no such option.
        assert "bootCounting" in done.stderr
        return
    assert "leave boot.loader.systemd-boot.bootCounting.enable off" in done.stdout


@pytest.mark.nix
@pytest.mark.parametrize("name", ["followUnit", "diskBootUnit"])
def test_exposure_on_a_disk_is_at_most_1_6(
    systems: Systems, require_tool: Callable[[str, str], str], name: str
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = next(systems.build(name, configure_disk()).glob("*.service"))
    argv = [analyze, "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= 1.6
