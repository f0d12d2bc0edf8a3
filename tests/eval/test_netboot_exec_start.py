"""The built units' own ExecStarts, started on this machine: real firmware boots from what they do."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.boot_binaries import copy_ovmf, find_ipxe
from support.boot_host import build_tarball
from support.guests import require_qemu, wait_until
from support.netboot_clients import Firmware, start_client
from support.netboot_lab import BOOT_IP, NETWORK, Lab, build_netboot_lab
from support.unit_files import read_unit
from support.variants import Variants

from ectools.demo.payload import UP_MARK, build_payload

pytestmark = [pytest.mark.nix, pytest.mark.qemu, pytest.mark.netns]

UNIT = "every-channel-netboot"
# Where a host has what is built.
SETTINGS = "/etc/every-channel/netboot.json"
REPORTS = f"/run/{UNIT}/dnsmasq"


def build_command(
    variants: Variants, config: Any, name: str, settings: Path, reports: Path
) -> tuple[list[str], Mapping[str, str]]:
    """A unit's ExecStart and its environment; the socket of dnsmasq's reports is ``reports``."""
    unit = read_unit(variants.build(f'units."{name}.service"', config) / f"{name}.service")
    (exec_start,) = unit["ExecStart"]
    elsewhere = {SETTINGS: str(settings), REPORTS: str(reports)}
    argv = [elsewhere.get(word, word) for word in shlex.split(exec_start)]
    assert str(settings) in argv
    environment = dict(shlex.split(line)[0].split("=", 1) for line in unit["Environment"])
    # Placeholder packages have the machine's programs, but for those of /usr/sbin. EC_PYTHON: what runs ours.
    path = f"{environment['PATH']}:{os.defpath}:/usr/sbin:/sbin"
    return argv, {**environment, "PATH": path, "EC_PYTHON": sys.executable}


def test_firmware_boots_from_the_built_units(variants: Variants, tmp_path: Path) -> None:
    require_qemu()
    tree = find_ipxe("forky") / "usr/lib/ipxe"
    copy_ovmf(tmp_path)
    tarball = build_tarball(
        tmp_path / "ec-runner-x86_64-netboot-test.tar.gz", build_payload(), mark="built-units"
    )
    state = tmp_path / "state"
    state.mkdir()  # tmpfiles' work
    options = {
        "enable": True,
        "listenIP": BOOT_IP,
        "hostname": BOOT_IP,
        "stateDir": str(state),
        "proxyDhcp": {"enable": True, "subnet": NETWORK},
        "release": {"tarball": str(tarball)},
        # The placeholder packages of a nixpkgs for evaluation have no iPXE.
        "ipxe": {"strategy": "local", "localFile": str(tree / "ipxe-amd64.efi"), "biosFile": None},
    }
    config = {"services": {"every-channel": {"netboot": options}}}
    settings = variants.build('settings."every-channel/netboot.json"', config)
    commands = [
        build_command(variants, config, name, settings, tmp_path / "reports")
        for name in (f"{UNIT}-ipxe", UNIT, f"{UNIT}-dnsmasq", f"{UNIT}-stage")
    ]
    (tmp_path / "client").mkdir()
    with build_netboot_lab(tmp_path) as lab:
        ipxe, serve, dnsmasq, stage = (
            ([*lab.inside(lab.boot), *argv], environment) for argv, environment in commands
        )
        run(*ipxe)
        log = tmp_path / "serve.log"
        with log.open("w") as sink:
            servers = [
                subprocess.Popen(argv, env=environment, stderr=sink, cwd=state)
                for argv, environment in (serve, dnsmasq)
            ]
        try:
            for words in ("the boot server is ready", "dnsmasq serves"):
                wait_until(lambda words=words: words in log.read_text(), f"of the built units: {words}")
            assert fetch(lab, "/netboot.ipxe") == 503
            run(*stage)
            with start_client(lab.add_plug(), Firmware.OVMF_PXE, tmp_path / "client") as client:
                client.wait_for(f"{UP_MARK} built-units")
            for server in servers:
                server.send_signal(signal.SIGTERM)
                assert server.wait(60) == 0, log.read_text()[-3000:]
        finally:
            for server in servers:
                server.kill()
                server.wait()


def run(argv: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def fetch(lab: Lab, path: str) -> int:
    """The status of a GET from the network."""
    script = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=60).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
    argv = [*lab.inside(lab.router), sys.executable, "-c", script, f"http://{BOOT_IP}:8080{path}"]
    return int(json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout))
