"""The script of the VM test netboot, run: each of its steps does what it says.

Its boot host is a container with the node's units; its router is a network namespace with the node's own
dnsmasq configuration; its client is the same firmware in the same QEMU. Nothing here has a firewall.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.activation import Hosts
from support.boot_binaries import find_ipxe
from support.guests import require_qemu, stage, wait_until
from support.machine_image import LAN_ADDRESS, find_image
from support.machine_nspawn import boot_nspawn
from support.machine_store import build_store
from support.needs import require_tool
from support.netboot_clients import Client, Firmware, start_client
from support.netboot_lab import ROUTER_IP, Lab, build_netboot_lab
from support.vm_driver import DriverMachine, SystemdMachine, run_test_script

from pynix_eval_shim import Nix, build, evaluate

pytestmark = [pytest.mark.nix, pytest.mark.qemu, pytest.mark.netns]

ROOT = Path(__file__).parents[2]
UNIT = "every-channel-netboot"

NODES = """
{ root, nixpkgs, payload, boot, router }:
let
  pkgs = import nixpkgs { system = "x86_64-linux"; };
  inherit (pkgs) lib;
  toolsPackage = pkgs.callPackage (root + "/nix/package.nix") { };
  test = pkgs.testers.runNixOSTest {
    imports = [
      (import (root + "/nix/tests/netboot.nix") {
        module = root + "/nix/modules/ec-netboot.nix";
        demoPayload = payload;
      })
      {
        # The network that is here in the place of the driver's.
        nodes.boot.networking.primaryIPAddress = lib.mkForce boot;
        nodes.boot.services.every-channel = {
          netboot.interface = lib.mkForce "lan0";
          # One for all systems, whatever becomes of the sources meanwhile.
          inherit toolsPackage;
        };
        nodes.router.networking.primaryIPAddress = lib.mkForce router;
        nodes.router.services.dnsmasq.settings.interface = lib.mkForce "lan0";
      }
      # A tree of placeholders hands its platform on to no node, and has no iPXE.
      (lib.optionalAttrs (builtins.pathExists (nixpkgs + "/nixos-module.nix")) {
        defaults.nixpkgs.hostPlatform = "x86_64-linux";
        nodes.boot.services.every-channel.netboot.ipxe = {
          strategy = "local";
          localFile = "/nix/files/ipxe-amd64.efi";
          biosFile = null;
        };
      })
    ];
  };
  systems = node: { "" = node; } // builtins.mapAttrs (_: each: each.configuration) node.specialisation;
  describe = config: import (root + "/tests/eval/described.nix") { inherit config lib; };
in
{
  script = builtins.unsafeDiscardStringContext test.config.testScriptString;
  hosts = pkgs.writeText "hosts.json" (
    builtins.toJSON (
      builtins.mapAttrs (_: describe) (systems test.nodes.boot)
      // {
        tools = "${toolsPackage}";
      }
    )
  );
  routers = builtins.mapAttrs (_: config: config.services.dnsmasq.settings) (systems test.nodes.router);
}
"""


class Router(DriverMachine):
    """The router in its namespace: dnsmasq with the configuration of one of its systems."""

    def __init__(self, lab: Lab, settings: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(self.switch)
        self._lab, self._settings = lab, settings
        self._process: subprocess.Popen[bytes] | None = None
        self._log = lab.directory / "router.log"

    def call(self, script: str) -> tuple[int, str]:
        done = subprocess.run(
            [*self._lab.inside(self._lab.router), "bash", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def report(self) -> str:
        return self._log.read_text()[-4000:]

    def switch(self, specialisation: str) -> None:
        self.stop()
        configuration = self._lab.directory / "router.conf"
        leases = {"dhcp-leasefile": str(self._lab.directory / "leases")}
        configuration.write_text(render_dnsmasq({**self._settings[specialisation], **leases}))
        pid_file = self._lab.directory / "router.pid"
        pid_file.unlink(missing_ok=True)
        dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
        argv = [dnsmasq, "--keep-in-foreground", f"--conf-file={configuration}", "--user=root", "--no-ping"]
        argv += [f"--pid-file={pid_file}", "--log-facility=-"]
        with self._log.open("ab") as log:
            self._process = process = subprocess.Popen(
                [*self._lab.inside(self._lab.router), *argv], stderr=log
            )
        wait_until(lambda: pid_file.exists() or process.poll() is not None, "the router's dnsmasq runs")
        assert process.poll() is None, self.report()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def render_dnsmasq(settings: Mapping[str, Any]) -> str:
    """What the module of NixOS writes; a tree of placeholders has no generator for it."""
    lines = []
    for key, value in settings.items():
        for each in value if isinstance(value, list) else [value]:
            if each is True:
                lines.append(key)
            elif each is not False and each is not None and each != "":
                lines.append(f"{key}={each}")
    return "".join(f"{line}\n" for line in lines)


class FirmwareClient:
    """The machine without a disk; each start is a new one, with what its console has shown since."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab, self._directory = lab, directory
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None
        self._starts = 0

    def start(self) -> None:
        self._starts += 1
        directory = self._directory / str(self._starts)
        directory.mkdir()
        self._client = self._stack.enter_context(
            start_client(self._lab.add_plug(), Firmware.OVMF_PXE, directory)
        )

    @contextlib.contextmanager
    def nested(self, _message: str) -> Iterator[None]:
        yield

    @property
    def last_lines(self) -> FirmwareClient:
        """The queue of the driver's machine, of which the script takes the next line."""
        return self

    def get(self, *, timeout: float) -> str:
        """All that the console has shown, as often as it is asked for."""
        assert self._client is not None
        assert self._client.process.poll() is None, self._client.console
        assert timeout > 0, self._client.console
        time.sleep(0.1)
        return self._client.console

    def crash(self) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Nodes:
    """The test's script; its router's settings and its boot host, each by specialisation."""

    script: str
    routers: Mapping[str, Mapping[str, Any]]
    hosts: Path


@pytest.fixture(scope="module")
def nodes(nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    require_qemu()
    payload = stage(tmp_path_factory.mktemp("payload") / "root")
    data = {
        "root": str(ROOT),
        "nixpkgs": str(nixpkgs),
        "payload": str(payload),
        "boot": LAN_ADDRESS,
        "router": ROUTER_IP,
    }
    nix = Nix(env=nix_env, offline=True)
    found = evaluate(NODES, data=data, apply="t: { inherit (t) script routers; }", impure=True, nix=nix)
    (built,) = build(f"args: (({NODES}) args).hosts", data=data, impure=True, nix=nix)
    return Nodes(found["script"], found["routers"], Path(built.outputs["out"]))


@pytest.fixture
def machines(nodes: Nodes, nix_env: Mapping[str, str], tmp_path: Path) -> Iterator[dict[str, Any]]:
    named = json.loads(nodes.hosts.read_text())
    hosts = Hosts(nodes.hosts, named)
    binary = find_ipxe("forky") / "usr/lib/ipxe/ipxe-amd64.efi"
    store = build_store(tmp_path, [nodes.hosts], nix_env, files={binary.name: binary})
    for name in ("lab", "machine", "client"):
        (tmp_path / name).mkdir()
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(build_netboot_lab(tmp_path / "lab", leases=False))
        machine = stack.enter_context(
            boot_nspawn(tmp_path / "machine", find_image(), store, namespace=lab.boot)
        )
        # A tmpfiles rule of the whole host, of which only the modules' are here.
        machine.write("/run/chain-token", "vm-test-token", mode="0600")
        machine.run("ln", "-s", f"{named['tools']}/bin/ectools", "/usr/bin/ectools")
        boot, router = SystemdMachine(machine, hosts), Router(lab, nodes.routers)
        client = FirmwareClient(lab, tmp_path / "client")
        stack.callback(client.crash)
        stack.callback(router.stop)
        router.switch("")
        hosts.activate(machine, "")
        yield {"boot": boot, "router": router, "client": client}


def test_the_script_holds_for_real_firmware(nodes: Nodes, machines: dict[str, Any]) -> None:
    run_test_script(nodes.script, machines, machines["boot"].report)
