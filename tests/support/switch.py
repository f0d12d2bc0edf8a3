"""Runs inside a machine: goes over to a host's units, settings, users and directories, as a rebuild does.

Stands for NixOS' switch-to-configuration, which works on no other distribution, in what concerns the services
here: stop with the old unit what is to go or has changed, then users, files in /etc, the manager's reload,
kernel modules and tmpfiles rules, then start what a target wants. Of the X- settings of a unit it obeys those
that say whether it is restarted, stopped first, or reloaded. Users that are no longer declared stay; NixOS
locks them.

Reads the host from standard input, in the form of tests/eval/machine.nix, and remembers it for the next time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REMEMBERED = Path("/var/lib/machine/host.json")
UNITS = Path("/etc/systemd/system")
NOTHING: dict[str, Any] = {
    "units": {},
    "etc": {},
    "tmpfiles": [],
    "groups": [],
    "users": {},
    "kernelModules": [],
}


def call(*argv: str, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, check=True)


def is_active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0


def says(file: str, setting: str) -> bool:
    return setting in Path(file).read_text().splitlines()


def link_units(units: dict[str, Any]) -> None:
    for name, unit in units.items():
        (UNITS / name).symlink_to(unit["file"])
        for kind in ("wantedBy", "requiredBy"):
            for target in unit[kind]:
                directory = UNITS / f"{target}.{'wants' if kind == 'wantedBy' else 'requires'}"
                directory.mkdir(exist_ok=True)
                (directory / name).symlink_to(f"../{name}")


def unlink_units(units: dict[str, Any]) -> None:
    for name in units:
        for link in [UNITS / name, *UNITS.glob(f"*.wants/{name}"), *UNITS.glob(f"*.requires/{name}")]:
            link.unlink(missing_ok=True)


def link_files(old: dict[str, str], new: dict[str, str]) -> None:
    for name in old:
        Path("/etc", name).unlink(missing_ok=True)
    for name, source in new.items():
        path = Path("/etc", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(source)


def add_users(host: dict[str, Any]) -> None:
    # NixOS has a group kvm on every host.
    lines = [f"g {name} -" for name in [*host["groups"], "kvm"]]
    for name, user in host["users"].items():
        lines.append(f"u {name} -:{user['group']}")
        lines += [f"m {name} {group}" for group in user["extraGroups"]]
    call("systemd-sysusers", "-", stdin="\n".join(lines))


def switch(old: dict[str, Any], new: dict[str, Any]) -> None:
    gone = [name for name in old["units"] if name not in new["units"]]
    changed = {
        name: unit["file"]
        for name, unit in new["units"].items()
        if name in old["units"] and old["units"][name]["file"] != unit["file"] and is_active(name)
    }
    reloaded = [name for name, file in changed.items() if says(file, "X-ReloadIfChanged=true")]
    kept = [name for name, file in changed.items() if says(file, "X-RestartIfChanged=false")]
    restarted = [name for name in changed if name not in (*reloaded, *kept)]
    stopped = [name for name in restarted if not says(changed[name], "X-StopIfChanged=false")]
    if gone or stopped:
        call("systemctl", "stop", *gone, *stopped)
    unlink_units(old["units"])
    link_units(new["units"])
    link_files(old["etc"], new["etc"])
    add_users(new)
    call("systemctl", "daemon-reload")
    Path("/etc/modules-load.d/host.conf").write_text("".join(f"{name}\n" for name in new["kernelModules"]))
    if new["kernelModules"] != old["kernelModules"]:
        call("systemctl", "restart", "systemd-modules-load.service")
    links = Path("/etc/tmpfiles.d")
    for link in links.iterdir():
        link.unlink()
    for file in new["tmpfiles"]:
        (links / Path(file).name).symlink_to(file)
    if new["tmpfiles"]:
        call("systemd-tmpfiles", "--create", *new["tmpfiles"])
    for verb, units in (
        ("reload", reloaded),
        ("restart", [name for name in restarted if name not in stopped]),
    ):
        if units:
            call("systemctl", verb, *units)
    wanting = {target for unit in new["units"].values() for target in unit["wantedBy"]}
    # A target that is active already starts what it newly wants.
    if active := [target for target in sorted(wanting) if is_active(target)]:
        call("systemctl", "start", "--no-block", *active)


def main() -> None:
    new = json.load(sys.stdin)
    old = json.loads(REMEMBERED.read_text()) if REMEMBERED.exists() else NOTHING
    switch(old, new)
    REMEMBERED.parent.mkdir(parents=True, exist_ok=True)
    REMEMBERED.write_text(json.dumps(new))
    os.sync()


if __name__ == "__main__":
    main()
