"""A shell in a NixOS system that was built without one: systemd takes the unit from the machine's firmware.

Credentials in SMBIOS strings of type 11 (systemd.system-credentials(7), QEMU's ``-smbios type=11``) add
units and drop-ins (systemd-debug-generator(8), since version 256). So the system that boots is the one that a
user builds, down to its store path and its kernel's command line, whatever loads it.

Over the second serial port, a line each: ``NUMBER SCRIPT`` in, ``ec-agent done NUMBER STATUS =STDOUT
=STDERR`` out, with base64 for script and streams; ``ec-agent hello BOOT`` when it starts.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HELLO = re.compile(rb"^ec-agent hello ([0-9a-f-]{36})$")
DONE = re.compile(rb"^ec-agent done (\d+) (\d+) =(\S*) =(\S*)$")
PORT = "/dev/ttyS1"

# Each answer begins on a line of its own: firmware may have left half a line.
SCRIPT = rf"""
exec < {PORT} > {PORT} 2> /dev/null
stty raw -echo
printf '\nec-agent hello %s\n' "$(cat /proc/sys/kernel/random/boot_id)"
while read -r number script; do
  bash -c "$(base64 -d <<< "$script")" > /run/ec-agent.out 2> /run/ec-agent.err < /dev/null
  printf '\nec-agent done %s %s =%s =%s\n' "$number" "$?" \
    "$(base64 -w0 /run/ec-agent.out)" "$(base64 -w0 /run/ec-agent.err)"
done
"""


PATIENT_ARGUMENTS = (
    "console=ttyS0",
    # An emulated timer fails the kernel's test of it where the host is loaded.
    "no_timer_check",
    # Where the host does not let the machine run, the kernel takes itself for stuck.
    "nowatchdog",
    "rcupdate.rcu_cpu_stall_suppress=1",
    "systemd.default_timeout_start_sec=1200",
    "systemd.default_device_timeout_sec=1200",
)
"""The kernel's, where a boot loader takes further ones: time for a machine on a loaded host."""


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_UNIT = f"""\
[Unit]
Description=The tests' shell
DefaultDependencies=no
After=basic.target
Conflicts=shutdown.target
Before=shutdown.target
[Service]
Environment=PATH=/run/wrappers/bin:/run/current-system/sw/bin HOME=/root LANG=C.UTF-8
ExecStart=/run/current-system/sw/bin/bash -c 'eval "$(echo {_encode(SCRIPT)} | base64 -d)"'
"""

# Where systemd is stage 1, NixOS binds /run below the next root without what is mounted in it; stage 2 then
# looks for the credentials where stage 1 has put them, and they are gone
# (https://github.com/NixOS/nixpkgs/issues/421388).
_CARRY = """\
[Unit]
Description=The tests' credentials, below the next root
ConditionPathExists=/etc/initrd-release
ConditionPathIsMountPoint=/sysroot/run
DefaultDependencies=no
After=initrd-nixos-activation.service sysroot-run.mount
Before=initrd-switch-root.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --bind /run/credentials/@system /sysroot/run/credentials/@system
"""

# A dhcpcd without its udev plug-in takes a card before that has its name, and then fights with the name.
_DHCPCD = """\
[Service]
ExecStartPre=/run/current-system/sw/bin/udevadm settle
TimeoutStartSec=1200
"""

# On a loaded host an emulated machine takes minutes for what takes seconds. Of all units of this prefix.
_PATIENT = """\
[Service]
TimeoutSec=1200
WatchdogSec=0
"""

# As PATIENT_ARGUMENTS, for what is loaded by its own menu (sysctl.extra of systemd-sysctl.service(8)).
_SYSCTLS = """\
-kernel.soft_watchdog=0
-kernel.hung_task_timeout_secs=0
"""

_CREDENTIALS = {
    "sysctl.extra": _SYSCTLS,
    "systemd.extra-unit.ec-agent.service": _UNIT,
    "systemd.unit-dropin.multi-user.target": "[Unit]\nWants=ec-agent.service\n",
    "systemd.extra-unit.ec-credentials.service": _CARRY,
    "systemd.unit-dropin.initrd-switch-root.service": "[Unit]\nWants=ec-credentials.service\n",
    "systemd.unit-dropin.dhcpcd.service": _DHCPCD,
    "systemd.unit-dropin.systemd-.service": _PATIENT,
}


def build_agent_arguments(socket: Path, strings: Sequence[str] = ()) -> list[str]:
    """QEMU's arguments after those of the first serial port. QEMU listens on ``socket``, the agent's end.

    ``strings``: further ones of type 11, without a comma.
    """
    credentials = [
        f"value=io.systemd.credential.binary:{name}={_encode(text)}" for name, text in _CREDENTIALS.items()
    ]
    return [
        *("-chardev", f"socket,id=agent,path={socket},server=on,wait=off", "-serial", "chardev:agent"),
        *("-smbios", ",".join(["type=11", *credentials, *(f"value={each}" for each in strings)])),
    ]
