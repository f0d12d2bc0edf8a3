"""QEMU's argument list, from the settings. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.vm.checks import find_argument_name
from ectools.vm.optstring import escape_option, split_options_string
from ectools.vm.settings import KvmPolicy

if TYPE_CHECKING:
    from ectools.vm.settings import GuestSettings, Lan, UserNet

QEMU = "qemu-system-x86_64"
QEMU_IMG = "qemu-img"

# QEMU gives up what a guest that breaks out of it would need: new processes, other users, old system calls.
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


class Accelerator(StrEnum):
    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, kw_only=True)
class Tap:
    """An open ``/dev/tapN`` for QEMU, and the link's address: macvtap passes no frame for another."""

    fd: int
    mac: str | None


def first_accelerator(settings: GuestSettings) -> Accelerator:
    """The accelerator that a start tries first, before the machine has been looked at."""
    return Accelerator.TCG if settings.kvm is KvmPolicy.NEVER else Accelerator.KVM


def build_qemu_argv(
    settings: GuestSettings,
    *,
    accelerator: Accelerator,
    qmp_fd: int,
    tap: Tap | None = None,
    program: str = QEMU,
) -> list[str]:
    """QEMU's argument list, the program first.

    ``qmp_fd`` is one end of a connected socket, on which QEMU speaks QMP. ``tap`` goes with a LAN.
    """
    return [
        program,
        "-name", f"guest={escape_option(settings.name)}",
        "-machine", _machine(settings.machine, accelerator),
        "-cpu", _cpu(settings.cpu, accelerator),
        "-smp", str(settings.vcpus),
        "-m", f"{settings.memory_mib}M",
        "-nographic",
        "-boot", settings.boot.order,
        "-serial", settings.serial,
        "-chardev", f"socket,id=qmp,fd={qmp_fd}",
        "-mon", "chardev=qmp,mode=control",
        "-object", "rng-builtin,id=rng0",
        "-device", "virtio-rng-pci,rng=rng0",
        "-netdev", _user_netdev(settings.boot.user_net),
        "-device", f"{settings.boot.user_net.model},netdev=boot0",
        *([] if settings.lan is None or tap is None else _lan(settings.lan, tap)),
        "-blockdev", _blockdev(settings),
        "-device", "virtio-blk-pci,drive=disk0",
        # QEMU refuses two of them; one in extraArgs is a person's decision.
        *([] if "-sandbox" in map(find_argument_name, settings.extra_args) else ["-sandbox", SANDBOX]),
        *settings.extra_args,
    ]  # fmt: skip


def _machine(machine: str, accelerator: Accelerator) -> str:
    kept = [part for part in split_options_string(machine) if not part.startswith("accel=")]
    return ",".join([*kept, f"accel={accelerator}"])


def _cpu(cpu: str, accelerator: Accelerator) -> str:
    model, *features = split_options_string(cpu)
    if accelerator is Accelerator.TCG and model == "host":
        model = "max"  # "CPU model 'host' requires KVM or HVF"
    return ",".join([model, *features])


def _user_netdev(net: UserNet) -> str:
    fields = {
        "id": "boot0",
        "hostname": net.hostname,
        "dns": str(net.dns),
        "tftp": str(net.tftp_dir),
        "bootfile": net.boot_filename,
    }
    return ",".join(["user", *(f"{key}={escape_option(value)}" for key, value in fields.items())])


def _lan(lan: Lan, tap: Tap) -> list[str]:
    device = f"{lan.model},netdev=lan0"
    if tap.mac is not None:
        device += f",mac={tap.mac}"
    # vhost needs /dev/vhost-net, which the unit does not open.
    return ["-netdev", f"tap,id=lan0,fd={tap.fd},vhost=off", "-device", device]


def _blockdev(settings: GuestSettings) -> str:
    """JSON, which QEMU takes whole: a path may hold any character."""
    return json.dumps(
        {
            "driver": "qcow2",
            "node-name": "disk0",
            "discard": "unmap",
            "file": {"driver": "file", "filename": str(settings.disk.path), "discard": "unmap"},
        }
    )
