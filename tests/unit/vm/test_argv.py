from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ectools.vm.argv import Accelerator, Tap, build_qemu_argv, first_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings

SettingsOf = "Callable[..., GuestSettings]"


def options(argv: list[str], name: str) -> list[str]:
    """The values of every ``-name``."""
    return [argv[index + 1] for index, word in enumerate(argv) if word == f"-{name}"]


def build(settings: GuestSettings, accelerator: Accelerator | None = None, **more: Any) -> list[str]:
    return build_qemu_argv(settings, accelerator=accelerator or first_accelerator(settings), qmp_fd=3, **more)


def test_the_defaults(settings_of: Callable[..., GuestSettings]) -> None:
    state = "/var/lib/every-channel/ipxe-qemu"
    file = f'{{"driver": "file", "filename": "{state}/disk.qcow2", "discard": "unmap"}}'
    assert build(settings_of()) == [
        "qemu-system-x86_64",
        *["-name", "guest=every-channel-ipxe"],
        *["-machine", "q35,accel=kvm", "-cpu", "host", "-smp", "2", "-m", "4096M"],
        *["-nographic", "-boot", "order=n", "-serial", "mon:stdio"],
        *["-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control"],
        *["-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0"],
        "-netdev",
        f"user,id=boot0,hostname=every-channel-ipxe,dns=1.1.1.1,tftp={state}/tftp,bootfile=undionly.kpxe",
        *["-device", "e1000,netdev=boot0"],
        "-blockdev",
        f'{{"driver": "qcow2", "node-name": "disk0", "discard": "unmap", "file": {file}}}',
        *["-device", "virtio-blk-pci,drive=disk0"],
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    ]


@pytest.mark.parametrize(
    "machine", ["q35,accel=kvm", "accel=kvm,type=q35", "pc,accel=kvm:tcg,usb=off", "q35"]
)
def test_enable_kvm_false_is_tcg_whatever_machine_says(
    machine: str, settings_of: Callable[..., GuestSettings]
) -> None:
    argv = build(settings_of({"enableKvm": False, "machine": machine, "cpu": "host,-avx2"}))
    (found,) = options(argv, "machine")
    assert [part for part in found.split(",") if part.startswith("accel=")] == ["accel=tcg"]
    assert options(argv, "cpu") == ["max,-avx2"]


def test_the_accelerator_that_was_decided_replaces_the_one_of_machine(
    settings_of: Callable[..., GuestSettings],
) -> None:
    settings_kvm = settings_of({"machine": "pc,accel=kvm,usb=off"})
    assert options(build(settings_kvm, Accelerator.TCG), "machine") == ["pc,usb=off,accel=tcg"]
    assert options(build(settings_kvm, Accelerator.TCG), "cpu") == ["max"]
    assert options(build(settings_of({"machine": "pc,accel=tcg"})), "machine") == ["pc,accel=kvm"]


def test_a_computed_default_follows_the_option_it_is_made_of(
    settings_of: Callable[..., GuestSettings],
) -> None:
    argv = build(settings_of({"enableKvm": False, "stateDir": "/s"}))
    assert options(argv, "machine") == ["q35,accel=tcg"]
    assert options(argv, "cpu") == ["max"]
    assert "tftp=/s/tftp" in options(argv, "netdev")[0]
    assert json.loads(options(argv, "blockdev")[0])["file"]["filename"] == "/s/disk.qcow2"


def test_the_lan_nic_has_the_links_descriptor_and_address(settings_of: Callable[..., GuestSettings]) -> None:
    lan = settings_of({"lan": {"enable": True, "macvtap": {"interface": "eth0"}}})
    argv = build(lan, tap=Tap(fd=7, mac="02:ec:00:00:00:01"))
    assert options(argv, "netdev")[1] == "tap,id=lan0,fd=7,vhost=off"
    assert "virtio-net-pci,netdev=lan0,mac=02:ec:00:00:00:01" in options(argv, "device")
    # The boot NIC stays the first one, from which the firmware boots.
    assert options(argv, "device").index("e1000,netdev=boot0") < options(argv, "device").index(
        "virtio-net-pci,netdev=lan0,mac=02:ec:00:00:00:01"
    )


def test_extra_args_come_last_and_in_order(settings_of: Callable[..., GuestSettings]) -> None:
    argv = build(settings_of({"extraArgs": ["-device", "virtio-balloon-pci", "-no-reboot"]}))
    assert argv[-3:] == ["-device", "virtio-balloon-pci", "-no-reboot"]


def test_a_sandbox_of_extra_args_replaces_the_default_one(settings_of: Callable[..., GuestSettings]) -> None:
    assert options(build(settings_of({"extraArgs": ["-sandbox", "off"]})), "sandbox") == ["off"]
    argv = build(settings_of({"extraArgs": ["--sandbox", "off"]}))
    assert "-sandbox" not in argv


# Text that a schema and checks.py let through, with what option strings, JSON and shells trip over.
HOSTILE = st.text(
    alphabet=st.one_of(
        st.sampled_from(list(",,,==  \"'\\%${};|&#[]:/")), st.characters(exclude_categories=["Cc", "Cs"])
    ),
    max_size=20,
)
PATHS = HOSTILE.map(lambda text: f"/tmp/ec{text}")
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+@=,~-]{0,126}", fullmatch=True)


@st.composite
def accepted_settings(draw: st.DrawFn) -> dict[str, Any]:
    """Settings with values that are accepted in every field that is not QEMU's own vocabulary."""
    return {
        "name": draw(HOSTILE.filter(bool)),
        "vcpus": draw(st.integers(1, 8)),
        "memoryMiB": draw(st.integers(1, 4096)),
        "enableKvm": False,
        "machine": draw(st.sampled_from(["q35", "pc", "q35,accel=kvm,usb=off", "accel=kvm"])),
        "cpu": draw(st.sampled_from(["host", "max", "qemu64,-sse3", "max,model-id=a b"])),
        "boot": {
            "order": draw(st.sampled_from(["n", "order=n", "order=cn,menu=on", "once=d,order=nc"])),
            "userNet": {
                "hostname": draw(
                    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,30}[A-Za-z0-9])?", fullmatch=True)
                ),
                "dnsServers": [
                    str(
                        draw(st.ip_addresses(v=4).filter(lambda ip: str(ip) not in {"10.0.2.2", "10.0.2.15"}))
                    )
                ],
                "bootFilename": draw(NAMES),
                "model": draw(st.sampled_from(["e1000", "virtio-net-pci", "e1000e,bootindex=1", "rtl8139"])),
            },
        },
    }


@given(accepted_settings())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_argv_is_a_function_of_the_settings(
    settings_of: Callable[..., GuestSettings], change: dict[str, Any]
) -> None:
    argv = build(settings_of(change))
    assert argv == build(settings_of(change))
    assert not any("\0" in word for word in argv)
    assert options(argv, "netdev")[0].endswith(
        "bootfile=" + change["boot"]["userNet"]["bootFilename"].replace(",", ",,")
    )


@given(path=PATHS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_disk_path_arrives_whole(settings_of: Callable[..., GuestSettings], path: str) -> None:
    argv = build(settings_of({"disk": {"path": path}}))
    found = json.loads(options(argv, "blockdev")[0])["file"]["filename"]
    assert os.path.normpath(found) == os.path.normpath(path)


@pytest.mark.qemu
@given(
    change=accepted_settings(),
    directory=HOSTILE.filter(lambda text: "/" not in text and len(text.encode()) < 200),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15, database=None
)
def test_qemu_takes_whatever_is_accepted(
    settings_of: Callable[..., GuestSettings],
    require_tool: Callable[[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
    change: dict[str, Any],
    directory: str,
) -> None:
    """QEMU parses the arguments, makes the machine and greets on QMP; ``-S`` keeps the guest from running."""
    require_tool("qemu-img", "install QEMU (Debian: qemu-utils)")
    require_tool("qemu-system-x86_64", "install QEMU (Debian: qemu-system-x86)")
    state = tmp_path_factory.mktemp("state") / f"d{directory}"
    (state / "tftp").mkdir(parents=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", str(state / "disk.qcow2"), "1M"],
        check=True,
    )
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(120)
        with theirs:
            argv = build_qemu_argv(
                settings_of({**change, "memoryMiB": 64, "stateDir": str(state)}),
                accelerator=Accelerator.TCG,
                qmp_fd=theirs.fileno(),
            )
            child = subprocess.Popen(
                [*argv, "-S"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        try:
            greeting = ours.recv(4096)
            assert b'"QMP"' in greeting, (argv, child.communicate(timeout=60)[1])
        finally:
            child.kill()
            child.communicate()
