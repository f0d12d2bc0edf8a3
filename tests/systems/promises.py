"""What docs/RUNNER_IMAGES.md and the modules promise of a running system, asked of the system itself."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from .journal import Form, judge_power_off, judge_warnings

if TYPE_CHECKING:
    from pathlib import Path

    from support.machine import Machine
    from support.netboot_lab import Lab
    from support.nixos_machine import NixosMachine

FLAKE = "/etc/every-channel/flake"
SSH_SECONDS = 300


def check_up(machine: Machine, state: str, form: Form) -> None:
    """All units have started, and the journal has nothing that is not explained."""
    failed = machine.run("systemctl", "--failed", "--no-legend", "--plain")
    assert (state, failed) == ("running", ""), machine.report(None)
    warnings = machine.shell("journalctl --boot --priority=warning --output=cat --no-pager | sort --unique")
    scripted = machine.execute(["test", "-e", "/run/booted-system/prepare-root"]).status != 0
    faults = judge_warnings(warnings.splitlines(), form, scripted=scripted)
    assert faults == [], "\n".join(faults)


def check_system(machine: Machine, toplevel: Path, closure: list[str]) -> None:
    """What runs is what was built, to the last store path."""
    for link in ("/run/booted-system", "/run/current-system"):
        runs = machine.run("readlink", "--canonicalize", link).strip()
        assert runs == str(toplevel), f"{link} is {runs}, and {toplevel} was built"
    paths = machine.run("nix-store", "--query", "--requisites", "/run/current-system").split()
    other = sorted(set(paths) ^ set(closure))
    assert other == [], f"in one of what runs and what was built: {other}"


def check_profile(machine: Machine, source: Path, name: str) -> None:
    """The runner profile: the toolkit and the flake's source, the journal in memory, the store collected."""
    assert machine.run("ectools", "--version").startswith("ectools")
    assert machine.run("cat", "/etc/every-channel/configuration") == f"{name}\n"
    assert machine.run("readlink", "--canonicalize", FLAKE).strip() == str(source)
    assert machine.execute(["touch", f"{FLAKE}/new"]).status != 0
    features = machine.run("nix", "config", "show", "experimental-features").split()
    assert {"nix-command", "flakes"} <= set(features)
    machine.shell("test -d /run/log/journal && ! test -e /var/log/journal")
    assert machine.run("systemctl", "is-active", "nix-gc.timer").strip() == "active"
    assert "OnCalendar=weekly" in machine.run("systemctl", "cat", "nix-gc.timer")
    collect = machine.shell(
        "cat $(systemctl show --property=ExecStart nix-gc.service | grep -o '/nix/store/[^ ;]*' | head -n1)"
    )
    assert "--delete-older-than 14d" in collect


def check_network(machine: Machine, lab: Lab, mac: str) -> str:
    """The address that the router leased to it is its own; returns it."""
    address = lab.find_address(mac)
    assert address is not None, lab.router_log[-2000:]
    links = json.loads(machine.run("ip", "-json", "address", "show"))
    own = [each["local"] for link in links if link.get("address") == mac for each in link["addr_info"]]
    assert address in own, f"leased {address}, and the card has {own}"
    return address


def check_sshd(machine: Machine, lab: Lab, address: str) -> None:
    """It answers on the network, and lets nobody in: keys alone, and there are none."""
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    words = [word for option in options for word in ("-o", option)]
    done = subprocess.run(
        [*lab.inside(lab.client), "ssh", "-F", "none", *words, f"root@{address}", "true"],
        capture_output=True,
        text=True,
        timeout=SSH_SECONDS,
        check=False,
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)." in done.stderr
    effective = machine.shell("$(command -v sshd || echo /run/current-system/sw/bin/sshd) -T").splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no"} <= set(effective)


def check_memory_system(machine: Machine) -> None:
    """All that is written goes to memory, and the SSH host key is of the one kind that takes no time."""
    assert machine.run("findmnt", "--noheadings", "--output=FSTYPE", "/").strip() == "tmpfs"
    keys = machine.shell("ls /etc/ssh/ssh_host_*_key").split()
    assert keys == ["/etc/ssh/ssh_host_ed25519_key"]


def check_power_off(machine: NixosMachine) -> None:
    """It goes off by itself, and says nothing at the end that is not explained."""
    machine.power_off()
    faults = judge_power_off(machine.read_console())
    assert faults == [], "\n".join(faults)
