"""The hardware that a runner goes without: which modules and firmware stay, on a real kernel's modules."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.machine_image import find_image
from support.needs import require_tool

if TYPE_CHECKING:
    from support.systems import Systems

pytestmark = [pytest.mark.nix]

MODULES = Path(__file__).resolve().parents[2] / "nix/modules"
PATH = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def run(script: str, *arguments: str | Path, cwd: Path) -> None:
    require_tool("bash", "install bash")
    subprocess.run(
        ["bash", MODULES / script, *arguments], cwd=cwd, env=PATH, check=True, capture_output=True, text=True
    )


def read_classes() -> dict[str, dict[str, Any]]:
    argv = ["nix-instantiate", "--eval", "--strict", "--json", str(MODULES / "hardware-classes.nix")]
    found: dict[str, dict[str, Any]] = json.loads(subprocess.check_output(argv, text=True))
    return found


def read_needs(modules: Path) -> dict[str, list[str]]:
    lines = (line.split(":") for line in (modules / "modules.dep").read_text().splitlines())
    return {module: needed.split() for module, needed in lines}


def runner(*excluded: str, **hardware: bool) -> dict[str, Any]:
    profile = {"enable": True, "hardware": {"exclude": list(excluded)}}
    return {"services": {"every-channel": {"runner": profile}}, "hardware": hardware}


@pytest.fixture(scope="module")
def real() -> Path:
    """A Debian kernel's modules: a directory with lib/modules."""
    return find_image().tree / "usr"


@pytest.fixture(scope="module")
def kept(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without all that can be left out."""
    directory = tmp_path_factory.mktemp("kept")
    names = [name for each in read_classes().values() for name in each["modules"]]
    run("keep-kernel-modules.sh", real, directory / "result", *names, cwd=directory)
    (version,) = (directory / "result/lib/modules").iterdir()
    return version


def test_what_is_left_out_is_gone_and_what_stays_has_all_that_it_needs(real: Path, kept: Path) -> None:
    (before,) = (real / "lib/modules").iterdir()
    needs, left = read_needs(before), read_needs(kept)
    directories = tuple(f"kernel/{name}/" for each in read_classes().values() for name in each["modules"])
    wanted = {module for module in needs if not module.startswith(directories)}
    assert wanted < needs.keys()
    assert left.keys() == wanted | {each for module in wanted for each in needs[module]}
    assert {module: set(needed) for module, needed in left.items()} == {
        module: set(needs[module]) for module in left
    }
    for module in left:
        assert (kept / module).read_bytes() == (before / module).read_bytes()
    assert not [path for path in kept.rglob("*") if path.is_symlink()]


def test_modprobe_finds_what_stays(kept: Path) -> None:
    modprobe = ["modprobe", "--dirname", str(kept.parents[2]), "--set-version", kept.name]
    said = subprocess.check_output([*modprobe, "--show-depends", "virtio_net"], env=PATH, text=True)
    assert str(kept) in said


def test_firmware_is_left_out_by_its_name_with_the_links_to_it(tmp_path: Path) -> None:
    firmware = tmp_path / "package/lib/firmware"
    for file in (
        "amdgpu/a.bin.zst",
        "rtl_nic/b.fw",
        "i915/deep/c.bin",
        "with space/d e.bin",
        "iwlwifi-1.ucode",
    ):
        (firmware / file).parent.mkdir(parents=True, exist_ok=True)
        (firmware / file).write_text(file)
    (firmware / "to-amd").symlink_to("amdgpu/a.bin.zst")
    (firmware / "to-nic").symlink_to("rtl_nic/b.fw")
    run(
        "keep-firmware.sh",
        tmp_path / "package",
        tmp_path / "kept",
        "amdgpu/*.bin",
        "i915/*",
        "iwl*",
        cwd=tmp_path,
    )
    result = tmp_path / "kept/lib/firmware"
    assert sorted(str(path.relative_to(result)) for path in result.rglob("*")) == [
        *("rtl_nic", "rtl_nic/b.fw", "to-nic", "with space", "with space/d e.bin"),
    ]


def test_a_package_without_firmware_is_none(tmp_path: Path) -> None:
    run("keep-firmware.sh", tmp_path, tmp_path / "kept", "*", cwd=tmp_path)
    assert list((tmp_path / "kept/lib/firmware").iterdir()) == []


def test_a_runner_keeps_all_hardware_unless_it_is_told(systems: Systems) -> None:
    assert systems.evaluate("failed", runner(enableRedistributableFirmware=True)) == []
    priority = "options.system.modulesTree.highestPrio"
    assert systems.evaluate(priority, runner()) > systems.evaluate(priority, runner("audio"))


def test_all_firmware_beside_hardware_that_is_left_out_is_told(systems: Systems) -> None:
    def told(hardware: dict[str, Any]) -> list[str]:
        warnings: list[str] = systems.evaluate("config.warnings", hardware)
        return [line for line in warnings if "services.every-channel.runner.hardware.exclude" in line]

    assert len(told(runner("audio", enableRedistributableFirmware=True))) == 1
    assert told(runner("audio")) == told(runner(enableRedistributableFirmware=True)) == []


def test_a_file_system_that_is_mounted_is_not_left_out(systems: Systems) -> None:
    host = runner("clusters", "legacy")
    host["fileSystems"] = {
        "/data": {"device": "a:/", "fsType": "ceph"},
        "/": {"device": "b", "fsType": "ext4"},
    }
    (message,) = systems.evaluate("failed", host)
    assert message.startswith("services.every-channel.runner.hardware.exclude leaves ceph out")
    assert 'fileSystems."/data"' in message
