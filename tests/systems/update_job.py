"""A machine that was installed, led by rollouts: on to a release, back from bad ones; then installed anew."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.boot_host import BootHost, serve_in
from support.kept_boots import read_boots
from support.needs import require_tool
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_machine import MAC, start_nixos

from ectools.netboot.boots.model import BootState
from ectools.netboot.release.pins import pin
from ectools.netboot.release.store import ReleaseStore

from .disk import Root
from .install_job import DISK_GIB, DISK_SERIAL, INSTALLED, build_install_machine
from .release import RUNNER, pack_release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.netboot_lab import Lab
    from support.nixos_build import Flake

    from ectools.netboot.boots.model import NodeBoot

_KEY = "every-channel-test-1"
_STAGE_SECONDS = 3600
_POLL_SECONDS = 1.0
# Emulated, a boot takes minutes.
_WITHIN = 2400
_FOLLOWS = """\
{ pkgs, ... }:
{
  nix.settings.trusted-public-keys = [ @KEY@ ];
  services.every-channel.runner.follow = {
    enable = true;
    everySeconds = 5;
    disk.tries = 1;
    disk.trialSeconds = @TRIAL@;
  };
  # Debian's Nix has its socket's directory made for a group that NixOS has not; nixpkgs' own names root's.
  systemd.tmpfiles.rules = [ "d /nix/var/nix/daemon-socket 0755 root root" ];
  environment.etc."every-channel/of-the-test".text = "@VERSION@";
  @MORE@
}
"""
_NEVER_COMPLETE = """\
systemd.services.never-good = {
    requiredBy = [ "boot-complete.target" ];
    before = [ "boot-complete.target" ];
    serviceConfig.Type = "oneshot";
    script = "exit 1";
  };
"""
# Before anything but systemd runs: no network, no D-Bus, and nothing that could tell the boot server.
_HANGS = """\
systemd.services.never-ends = {
    requiredBy = [ "sysinit.target" ];
    before = [ "sysinit.target" ];
    unitConfig.DefaultDependencies = false;
    serviceConfig.Type = "oneshot";
    serviceConfig.TimeoutStartSec = "infinity";
    script = "sleep infinity";
  };
"""
# Each version's fault, if any, and how many seconds it has on trial.
_VERSIONS = (("", 1800), ("", 1800), (_NEVER_COMPLETE, 120), (_HANGS, 60))


@dataclass(frozen=True)
class Updated:
    """The store paths of the four versions, and what was seen of the machine's boots.

    ``stopped``: why the rollout of the third one was; ``told``: how the boot is after which it went back;
    ``hung``: why that of the fourth one was stopped.
    """

    systems: tuple[str, ...]
    seconds: dict[str, float]
    stopped: str
    told: str
    hung: str


def run_update_job(flake: Flake, lab: Lab, directory: Path, tell: Callable[[str], None]) -> Updated:
    """From an empty disk to the second release, and back from two others; then anew. ``tell``: how far it is.

    Raises AssertionError where something is not as it should be.
    """
    releases, systems = _build(flake, directory, tell)
    host = BootHost(directory / "host")
    host.directory.mkdir()
    host.write_settings(proxy=False, release={"requireSums": False})
    ids = []
    for archive in releases:
        host.stage(archive)
        ids.append((host.state_dir / "current").resolve().name)
        pin(ReleaseStore(host.state_dir), ids[-1])
    host.write_settings(proxy=False, release={"requireSums": False}, fleet=_build_fleet(ids[0]))
    host.write_boot_files()
    image, sock = directory / "disk.img", directory / "control.sock"
    with image.open("wb") as file:
        file.truncate(DISK_GIB << 30)
    with (
        serve_in(lab, host, "--control-socket", str(sock)),
        start_nixos(lab.add_plug(), build_install_machine(image), directory / "machine") as machine,
    ):
        watch = _Watch(host, machine.read_console, tell)
        watch.until("installed", lambda boot: boot.state is BootState.HEALTHY and boot.release == ids[0])
        _rollout(sock, "start", ids[1], "--group", "runners", "--waves", "100%", "--within", str(_WITHIN))
        watch.until("updated", lambda boot: boot.state is BootState.HEALTHY and boot.release == ids[1])
        boot = watch.boot
        assert boot is not None
        assert boot.report is not None
        assert (boot.from_disk, boot.report.system) == (True, systems[1])
        watch.until_true("the rollout is done", lambda: _find_state(sock) == "done")
        _rollout(sock, "start", ids[2], "--group", "runners", "--waves", "100%", "--within", str(_WITHIN))
        # It comes as far as to say itself that it is not well, and to be led back: no boot loader has to.
        watch.until("failed", lambda boot: boot.state is BootState.UNHEALTHY and boot.release == ids[2])
        watch.until_true("the rollout is stopped", lambda: _find_state(sock) == "stopped")
        stopped = str(_rollout(sock, "status", "--json")[0]["why"])
        watch.until("went back", lambda last: last.id != boot.id and _runs(last, systems[1]))
        assert watch.boot is not None
        told = f"{watch.boot.state}: {watch.boot.why}"
        watch.until("is well again", lambda last: last.state is BootState.HEALTHY and _runs(last, systems[1]))
        back = watch.boot
        _rollout(sock, "start", ids[3], "--group", "runners", "--waves", "100%", "--within", str(_WITHIN))
        # Nobody hears of it until the boot loader has gone back by itself.
        watch.until_true("the rollout is stopped again", lambda: _find_state(sock) == "stopped")
        hung = str(_rollout(sock, "status", "--json")[0]["why"])
        watch.until("fell back", lambda last: last.id != back.id and _runs(last, systems[1]))
        before = watch.boot
        _tell_fleet(sock, "boot-once", "runner", "install")
        machine.begin_reboot()
        watch.until("installed anew", lambda last: last.id != before.id and _is_up(last, systems[1], ids[1]))
        assert watch.boot.install is not None
    root = Root(image)
    # Nothing of what was there before, but the machine's own keys.
    assert root.read("/var/lib/every-channel/disk/systems") == f"{systems[1]} {ids[1]}\n"
    assert not root.has("/var/lib/every-channel/disk/bad")
    assert not root.has("/var/lib/every-channel/disk/pending")
    assert "order first\n" not in root.read("/var/lib/every-channel/installed")
    return Updated(tuple(systems), watch.seconds, stopped, told, hung)


def _build(flake: Flake, directory: Path, tell: Callable[[str], None]) -> tuple[list[Path], list[str]]:
    key = directory / "nix-key"
    nix_store = require_tool("nix-store", "install nix (Debian: nix-bin)")
    argv = [nix_store, "--generate-binary-cache-key", _KEY, str(key), f"{key}.pub"]
    subprocess.run(argv, check=True, env=dict(flake.env))
    public = json.dumps((directory / "nix-key.pub").read_text().strip())
    trusts = f"{{ nix.settings.trusted-public-keys = [ {public} ]; }}\n"
    trusting = flake.extend(directory / "flake", RUNNER, trusts)
    build = "nixosConfigurations.extended.config.system.build"
    built, netbooted = trusting.build(f"{build}.netboot"), trusting.build(f"{build}.toplevel")
    tell("the runner that comes over the network is built")
    archives, systems = [], []
    for version, (more, trial) in enumerate(_VERSIONS, start=1):
        text = _FOLLOWS.replace("@KEY@", public).replace("@VERSION@", str(version)).replace("@MORE@", more)
        text = text.replace("@TRIAL@", str(trial))
        own = flake.extend(directory / f"flake-{version}", INSTALLED, text)
        toplevel = own.build(f"{build}.toplevel")
        packed = directory / f"release-{version}"
        packed.mkdir()
        arguments = ("--with-system", toplevel, "--nix-key-file", key)
        archives.append(pack_release(flake, built, netbooted, packed, *arguments).archive)
        systems.append(str(toplevel))
        tell(f"release {version} is packed, with {toplevel}")
    return archives, systems


def _build_fleet(release: str) -> dict[str, object]:
    group = {
        "boot": "install",
        "release": release,
        "install": {"disk": {"serial": DISK_SERIAL}, "within": 7200},
        "healthyWithin": _WITHIN,
        "kernelArguments": [*PATIENT_ARGUMENTS],
    }
    return {"groups": {"runners": group}, "nodes": {"runner": {"group": "runners", "match": {"mac": [MAC]}}}}


def _rollout(sock: Path, *arguments: str) -> Any:
    argv = [sys.executable, "-m", "ectools.cli.main", "rollout", *arguments, "--socket", str(sock)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    # That of `status` says how the rollout stands.
    assert done.returncode == 0 or "--json" in arguments, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else None


def _tell_fleet(sock: Path, *arguments: str) -> None:
    argv = [sys.executable, "-m", "ectools.cli.main", "fleet", *arguments, "--socket", str(sock)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _is_up(boot: NodeBoot, system: str, release: str) -> bool:
    return boot.state is BootState.HEALTHY and boot.release == release and _runs(boot, system)


def _runs(boot: NodeBoot, system: str) -> bool:
    return boot.report is not None and boot.report.system == system


def _find_state(sock: Path) -> str:
    return str(_rollout(sock, "status", "--json")[0]["state"])


class _Watch:
    """The node's newest boot, as the boot server has it. ``seconds``: to each stage, from the one before."""

    def __init__(self, host: BootHost, read_console: Callable[[], str], tell: Callable[[str], None]) -> None:
        self._host = host
        self._read_console = read_console
        self._tell = tell
        self.boot: NodeBoot | None = None
        self.seconds: dict[str, float] = {}

    def until(self, what: str, is_so: Callable[[NodeBoot], bool]) -> None:
        def look() -> bool:
            self.boot = read_boots(self._host.state_dir).get("runner")
            return self.boot is not None and is_so(self.boot)

        self.until_true(what, look)

    def until_true(self, what: str, is_so: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not is_so():
            if time.monotonic() > began + _STAGE_SECONDS:
                raise AssertionError(
                    f"{what}: {self.boot}\n{self._read_console()[-6000:]}\n{self._host.log_text[-3000:]}"
                )
            time.sleep(_POLL_SECONDS)
        self.seconds[what] = round(time.monotonic() - began, 1)
        self._tell(f"{what} after {self.seconds[what]} s")
