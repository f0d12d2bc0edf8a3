"""The overlay root of the runner, from either stage 1: a reboot leaves what persists, and nothing else."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.hosts import merge
from support.machine import Machine
from support.machine_image import find_image
from support.machine_nspawn import boot_nspawn
from support.machine_store import build_store
from support.stage1 import boot_scripted, make_image
from support.systems import Systems

pytestmark = pytest.mark.nix

OPTION = "services.every-channel.runner.overlayRoot"
SERVICE = "every-channel-overlay-root.service"
STAGE_1 = Path(__file__).with_name("systemd_stage1.nix")
RUN_SERVICE = "every-channel-overlay-root-run.service"
STATE = ["/var/lib/every-channel", "/var/lib/nixos", "/var/lib/systemd"]
# Mounted by stage 1, and by stage 2.
LOG = {"/var/log": {"device": "/dev/disk/by-label/log", "fsType": "ext4"}}
HOME = {"/home": {"device": "/dev/disk/by-label/home", "fsType": "ext4"}}

both_stages = pytest.mark.parametrize("systemd", [False, True], ids=["scripted", "systemd"])


def overlay(*, systemd: bool = False, disks: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A runner with the overlay root, these options of it, and these file systems beside the root."""
    return {
        "services": {
            "every-channel": {"runner": {"enable": True, "overlayRoot": {"enable": True, **options}}}
        },
        "boot": {"initrd": {"systemd": {"enable": systemd}}},
        "fileSystems": disks or {},
    }


@pytest.mark.parametrize(("size", "is_taken"), [("0", False), ("0%", False), ("2G", True), ("10%", True)])
def test_a_size_without_an_end_is_refused(size: str, is_taken: bool, systems: Systems) -> None:
    """To tmpfs, 0 is no limit: writes would take all memory there is."""
    done = systems.run(["nix-instantiate", "--eval", "--strict"], "overlayRoot.script", overlay(size=size))
    assert (done.returncode == 0) is is_taken
    if not is_taken:
        assert f"{OPTION}.size" in done.stderr


def test_what_others_keep_in_memory_is_said(systems: Systems) -> None:
    guest = {"enable": True, "stateDir": "/srv/guest", "boot": {"http": {"root": "/srv/root"}}}
    host: dict[str, Any] = {
        "services": {
            "every-channel": {"ipxe-qemu": guest, "netboot": {"enable": True, "listenIP": "192.0.2.1"}}
        }
    }

    def warned(**options: Any) -> list[str]:
        warnings = systems.evaluate("config.warnings", merge(overlay(**options), host))
        return [text.partition(" (")[0] for text in warnings if "is in memory" in text]

    prefix = "services.every-channel.ipxe-qemu"
    assert warned() == [f"{prefix}.disk.path", f"{prefix}.stateDir"]
    assert warned(disks={"/srv": {"device": "/dev/vdb", "fsType": "ext4"}}) == []
    assert warned(persist=["/srv/guest"]) == []
    assert not any("is in memory" in text for text in systems.evaluate("config.warnings", host))


@pytest.mark.parametrize(
    ("option", "values", "forgets"),
    [
        ("systemd.sysusers", {"enable": True}, True),
        ("services.userborn", {"enable": True, "passwordFilesLocation": "/etc"}, True),
        ("services.userborn", {"enable": True, "passwordFilesLocation": "/var/lib/nixos"}, False),
    ],
)
def test_user_numbers_that_would_be_given_out_anew_are_warned_of(
    systems: Systems, option: str, values: dict[str, Any], forgets: bool
) -> None:
    """Files that persist have owners by number. Older trees have no userborn: it stands here for itself."""
    declared = (
        "[ ({ lib, modulesPath, ... }:"
        ' lib.optionalAttrs (!builtins.pathExists "${modulesPath}/services/system/userborn.nix") {'
        " options.services.userborn ="
        " lib.mkOption { type = with lib.types; attrsOf anything; default = { }; }; }) ]"
    )
    section, name = option.split(".")
    program = ["nix-instantiate", "--eval", "--strict", "--json", "--arg", "modules", declared]
    done = systems.run(program, "config.warnings", merge(overlay(systemd=True), {section: {name: values}}))
    assert done.returncode == 0, done.stderr
    found = [text for text in json.loads(done.stdout) if "user numbers" in text]
    assert [text.partition(" ")[0] for text in found] == ([option] if forgets else [])


@both_stages
@pytest.mark.parametrize(
    ("disks", "options", "expected"),
    [
        ({}, {}, ["/boot", "/nix", *STATE]),
        (
            HOME | LOG,
            {"persist": ["/srv/a $b", "/var/log/x", "/homes"]},
            ["/boot", "/nix", *STATE, "/srv/a $b", "/homes"],
        ),
        # Of whatever priority it is, and without what is to be in memory.
        (
            {"/var/lib/systemd": {"device": "none", "fsType": "tmpfs"}},
            {"persist": {"_type": "override", "priority": 1500, "content": ["/home"]}},
            ["/boot", "/nix", *STATE[:2], "/home"],
        ),
        # What lies below comes along, and would be mounted out of sight.
        ({}, {"persist": ["/var", "/home/a", "/home"]}, ["/boot", "/nix", "/var", "/home"]),
        ({name: {"device": "/dev/vdb"} for name in ("/boot", "/nix", "/nixos", "/var")}, {}, []),
    ],
    ids=["one file system", "some besides", "one in memory", "one below another", "nothing on the root"],
)
def test_what_persists_is_bound_unless_it_has_a_file_system_of_its_own(
    systems: Systems, systemd: bool, disks: dict[str, Any], options: dict[str, Any], expected: list[str]
) -> None:
    script = systems.evaluate("overlayRoot.script", overlay(systemd=systemd, disks=disks, **options))
    root = "/sysroot" if systemd else "/mnt-root"
    binds = [
        shlex.split(line)
        for line in script.splitlines()
        if "mount --bind /run" in line or "--bind '/run" in line
    ]
    assert [command[1:] for command in binds] == [
        ["mount", "--bind", f"/run/every-channel/root{path}", f"{root}{path}"] for path in expected
    ]


def test_the_service_stands_between_the_root_and_all_that_stage_1_mounts_besides(systems: Systems) -> None:
    etc = {"boot": {"initrd": {"systemd": {"mounts": [{"where": "/sysroot/etc", "what": "overlay"}]}}}}
    text = systems.evaluate("overlayRoot.text", merge(overlay(systemd=True, disks=LOG | HOME), etc))
    lines = text.splitlines()
    assert "Requires=sysroot.mount" in lines
    assert "After=sysroot.mount systemd-growfs-root.service" in lines
    assert (
        "Before=initrd-root-fs.target initrd-fs.target rw-etc.service sysroot-var-log.mount sysroot-etc.mount"
        in lines
    )
    assert "DefaultDependencies=false" in lines


def test_its_own_mounts_are_below_the_next_run_when_systemd_goes_there(systems: Systems) -> None:
    lines = systems.evaluate("overlayRoot.run.text", overlay(systemd=True)).splitlines()
    assert f"After={SERVICE} initrd-nixos-activation.service sysroot-run.mount" in lines
    assert "Before=initrd-switch-root.service" in lines
    required = systems.evaluate("overlayRoot.run.requiredBy", overlay(systemd=True))
    assert required == ["initrd-switch-root.service"]


@pytest.mark.parametrize("form", ["gone", "removed"])
def test_where_systemd_is_the_only_stage_1_its_units_are_there(
    nixpkgs: Path, nix_env: Mapping[str, str], form: str
) -> None:
    given = ["--argstr", "nixpkgs", str(nixpkgs), "--argstr", "form", form]
    argv = ["nix-instantiate", "--eval", "--strict", "--json", str(STAGE_1), *given]
    done = subprocess.run(argv, env=dict(nix_env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [f"{name}.service" for name in json.loads(done.stdout)] == [SERVICE, RUN_SERVICE]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"fileSystems": {"/": {"device": "none", "fsType": "tmpfs"}}},
            'enable needs a root file system on a disk, and fileSystems."/" is a tmpfs: switch it off',
        ),
        (
            {"boot": {"loader": {"grub": {"enable": True, "device": "/dev/vda"}}}},
            'enable with GRUB needs a file system of its own for /boot: set fileSystems."/boot"',
        ),
    ],
)
def test_each_assertion_fires_alone(systems: Systems, config: dict[str, Any], message: str) -> None:
    assert systems.evaluate("failed", merge(overlay(), config)) == [f"{OPTION}.{message}"]


def test_a_root_that_systemd_finds_by_itself_is_fine(systems: Systems) -> None:
    """Then there is no entry for it in ``fileSystems``; system.nix has one, which goes with its condition."""
    none = {"_type": "override", "priority": 50, "content": {}}
    host = merge(overlay(systemd=True), {"boot": {"initrd": {"systemd": {"root": "gpt-auto"}}}})
    assert systems.evaluate("failed", {**host, "fileSystems": none}) == []


def test_grub_with_a_boot_file_system_is_fine(systems: Systems) -> None:
    boot = {"/boot": {"device": "/dev/vda1", "fsType": "vfat"}}
    grub = {"boot": {"loader": {"grub": {"enable": True, "device": "/dev/vda"}}}}
    assert systems.evaluate("failed", merge(overlay(disks=boot), grub)) == []


def test_off_there_is_none_of_it(systems: Systems) -> None:
    runner = {"services": {"every-channel": {"runner": {"enable": True}}}}
    assert "every-channel" not in systems.evaluate("config.boot.initrd.postMountCommands", runner)
    only_option = {"services": {"every-channel": {"runner": {"overlayRoot": {"enable": True}}}}}
    assert "every-channel" not in systems.evaluate("config.boot.initrd.postMountCommands", only_option)


def read_features(image: Path) -> str:
    """The features of an ext4, of which needs_recovery says that it is in use, or was not left clean."""
    found = subprocess.run(["dumpe2fs", "-h", str(image)], capture_output=True, text=True, check=True).stdout
    return next(line for line in found.splitlines() if line.startswith("Filesystem features:"))


def test_the_scripted_stage_1_over_three_boots(systems: Systems, tmp_path: Path) -> None:
    script = systems.evaluate("overlayRoot.script", overlay(disks=LOG))
    images = {"": make_image(tmp_path / "root.img"), "/var/log": make_image(tmp_path / "log.img")}

    with boot_scripted(tmp_path, post_mount_commands=script, images=images) as first:
        root = first.root
        machine = first.read("cat", root / "etc/machine-id")
        assert re.fullmatch(r"[0-9a-f]{32}\n", machine)
        assert first.read("stat", "-c", "%a %u", root) == "755 0\n"
        assert first.read("findmnt", "-no", "FSTYPE", root) == "overlay\n"
        # Moved, not mounted again.
        assert first.run("mountpoint", first.real / "var/log").returncode != 0
        assert "needs_recovery" in read_features(images[""])
        for file in ("gone", "etc/gone", "nix/kept", "boot/kept", "var/lib/nixos/kept", "var/log/kept"):
            first.read("sh", "-c", f"echo 1 > {root / file}")
        refusal = first.run("touch", first.real / "gone")
        assert "Read-only file system" in refusal.stderr
        # Stage 2 does this to a root that it finds.
        first.read("mount", "-n", "-o", "remount,rw", "none", root)
        # systemd-shutdown does this to what it cannot unmount. It must reach the disk below the overlay.
        first.read("mount", "-o", "remount,ro", root / "nix")
        assert "needs_recovery" not in read_features(images[""])

    for _ in range(2):
        with boot_scripted(tmp_path, post_mount_commands=script, images=images) as later:
            found = later.read(
                "find", root, "-name", "gone", "-o", "-name", "kept", "-type", "f"
            ).splitlines()
            assert sorted(Path(each).relative_to(root).as_posix() for each in found) == [
                "boot/kept",
                "nix/kept",
                "var/lib/nixos/kept",
                "var/log/kept",
            ]
            assert later.read("cat", root / "etc/machine-id") == machine


def test_a_machine_id_of_which_power_was_cut_is_made_again(systems: Systems, tmp_path: Path) -> None:
    script = systems.evaluate("overlayRoot.script", overlay())
    images = {"": make_image(tmp_path / "root.img")}
    with boot_scripted(tmp_path, post_mount_commands="mkdir /mnt-root/etc", images=images) as boot:
        boot.read("sh", "-c", f"printf 0123abc > {boot.root}/etc/machine-id")
    with boot_scripted(tmp_path, post_mount_commands=script, images=images) as boot:
        assert re.fullmatch(r"[0-9a-f]{32}\n", boot.read("cat", boot.root / "etc/machine-id"))


def test_a_root_that_cannot_be_overlaid_ends_stage_1(systems: Systems, tmp_path: Path) -> None:
    script = systems.evaluate("overlayRoot.script", overlay(persist=["/file/below"]))
    images = {"": make_image(tmp_path / "root.img")}
    with boot_scripted(tmp_path, post_mount_commands="touch /mnt-root/file", images=images):
        pass
    with pytest.raises(AssertionError, match=r"overlay root: failed: mkdir -p .*/file/below"):
        with boot_scripted(tmp_path, post_mount_commands=script, images=images):
            pass


@pytest.fixture(scope="module")
def built(systems: Systems) -> list[Path]:
    """The built units."""
    config = overlay(systemd=True, disks=LOG)
    return [
        systems.build("overlayRoot.unit", config) / SERVICE,
        systems.build("overlayRoot.run.unit", config) / RUN_SERVICE,
    ]


@pytest.fixture(scope="module")
def machine(
    built: list[Path], nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A systemd that takes itself for one of an initrd as soon as /etc/initrd-release is there."""
    directory = tmp_path_factory.mktemp("initrd")
    store = build_store(directory, [unit.parent for unit in built], nix_env)
    with boot_nspawn(directory, find_image(), store) as booted:
        yield booted


MOUNTS = {
    "sysroot.mount": """
        [Unit]
        DefaultDependencies=false
        Before=initrd-root-fs.target
        [Mount]
        What=/srv/disk
        Where=/sysroot
        Type=none
        Options=bind
    """,
    "sysroot-var-log.mount": """
        [Unit]
        DefaultDependencies=false
        Before=initrd-fs.target
        [Mount]
        What=/srv/log
        Where=/sysroot/var/log
        Type=none
        Options=bind
    """,
}


def test_systemd_in_stage_1_over_two_boots(built: list[Path], machine: Machine) -> None:
    """The built units, ordered by a real systemd, whose mounts share; the scripted stage 1's do not."""
    machine.run("mount", "-t", "tmpfs", "none", "/srv")
    # As a disk has it, of which nothing else is mounted.
    machine.run("mount", "--make-private", "/srv")
    machine.run("mkdir", "-p", "/srv/disk", "/srv/log", "/sysroot", "/run/systemd/system")
    machine.run("touch", "/etc/initrd-release")
    for name, text in {**MOUNTS, **{unit.name: unit.read_text() for unit in built}}.items():
        # The script's own PATH is that of an initrd, which has all its programs in /bin.
        machine.run("tee", f"/run/systemd/system/{name}", stdin="\n".join(map(str.strip, text.splitlines())))
    for target, name in (
        ("initrd-root-fs.target", "sysroot.mount"),
        ("initrd-root-fs.target", SERVICE),
        ("initrd-fs.target", "sysroot-var-log.mount"),
    ):
        directory = f"/run/systemd/system/{target}.requires"
        machine.run("mkdir", "-p", directory)
        machine.run("ln", "-s", f"../{name}", f"{directory}/{name}")
    machine.run("systemctl", "daemon-reload")

    def boot() -> None:
        machine.run("systemctl", "start", "initrd-root-fs.target", "initrd-fs.target")
        assert machine.show(SERVICE, "ActiveState", "Result") == {
            "ActiveState": "active",
            "Result": "success",
        }

        # As NixOS does it.
        machine.run("mkdir", "-p", "/sysroot/run")
        machine.run("mount", "--bind", "/run", "/sysroot/run")
        machine.run("systemctl", "start", RUN_SERVICE)

    def shut_down() -> None:
        machine.run("systemctl", "stop", RUN_SERVICE, SERVICE)
        machine.run("umount", "--recursive", "/sysroot/run")
        machine.run("umount", "--recursive", "/run/every-channel/root", "/run/every-channel/overlay")
        while machine.run("sh", "-c", "mountpoint -q /sysroot && echo yes", check=False):
            machine.run("umount", "--recursive", "/sysroot")
        deadline = time.monotonic() + 60
        while machine.show("sysroot.mount", "ActiveState")["ActiveState"] != "inactive":
            assert time.monotonic() < deadline, "systemd still sees a mount at /sysroot"
            time.sleep(0.1)

    boot()
    assert machine.run("stat", "-f", "-c", "%T", "/sysroot").strip() == "overlayfs"
    # Were the two mounts of the root one group, the overlay would lie on both.
    assert machine.run("stat", "-f", "-c", "%T", "/run/every-channel/root").strip() == "tmpfs"
    for file in ("gone", "etc/gone", "nix/kept", "var/log/kept"):
        machine.run("sh", "-c", f"echo 1 > /sysroot/{file}")
    upper = "/sysroot/run/every-channel/overlay/upper"
    assert sorted(machine.run("find", upper, "-name", "gone").split()) == [
        f"{upper}/{file}" for file in ("etc/gone", "gone")
    ]
    for where in ("/run/every-channel/root", "/run/every-channel/overlay"):
        for run in ("", "/sysroot"):
            mounts = machine.run("findmnt", "--noheadings", "--output", "TARGET", "--list").split()
            assert mounts.count(run + where) == 1, mounts
    for path in (
        "/run/every-channel/root/gone",
        "/run/every-channel/root/nix/gone",
        "/sysroot/run/every-channel/root/gone",
    ):
        assert "Read-only" in machine.run("sh", "-c", f"touch {path} 2>&1 || true")
    assert machine.run("sh", "-c", "cd /srv && find -name gone -o -name kept -type f | sort").split() == [
        "./disk/nix/kept",
        "./log/kept",
    ]

    shut_down()
    boot()
    for file in ("gone", "etc/gone"):
        machine.run("test", "!", "-e", f"/sysroot/{file}")
    for file in ("nix/kept", "var/log/kept", "etc/machine-id"):
        machine.run("test", "-s", f"/sysroot/{file}")
