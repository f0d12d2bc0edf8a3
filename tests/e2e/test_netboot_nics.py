"""Machines with two NICs on real firmware: the boot scripts leave the one over which nothing comes."""

from __future__ import annotations

import contextlib
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import pytest
from support.boot_binaries import copy_ovmf, find_ipxe
from support.boot_host import BootHost, build_tarball, run_netboot, serve_in
from support.guests import require_qemu
from support.needs import require_root
from support.netboot_clients import BOOT_SECONDS, Client, Firmware, SecondNic, start_client
from support.netboot_lab import BOOT_IP, LAB_BRIDGE, build_netboot_lab
from support.stray_network import PORTAL, SILENT_BRIDGE, STRAY, build_stray_network

from ectools.demo.payload import UP_MARK, build_payload
from ectools.ipxe.urls import FAILURE_MARK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.mark.structures import ParameterSet
    from support.netboot_lab import Lab

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.timeout(1500)]

MARK = "nics"
UP = f"{UP_MARK} {MARK}"
END = "every.channel: rebooting in"
MACHINES_AT_ONCE = 4


class Network(StrEnum):
    """What a NIC is plugged into: its bridge."""

    BOOT = LAB_BRIDGE
    STRAY = STRAY.name
    PORTAL = PORTAL.name
    SILENT = SILENT_BRIDGE


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The networks of the NIC that the firmware boots from, and of the other; whether that is the first."""

    boots_from: Network
    other: Network
    other_is_first: bool

    def __str__(self) -> str:
        place = "before" if self.other_is_first else "behind"
        return f"{self.boots_from}, {self.other} {place}"

    @property
    def names(self) -> tuple[str, str]:
        """iPXE's names of the two."""
        return ("net1", "net0") if self.other_is_first else ("net0", "net1")


Machine = tuple[Firmware, Layout]
FIRMWARE = (Firmware.SEABIOS, Firmware.OVMF_PXE)
HALFWAY = Layout(boots_from=Network.PORTAL, other=Network.BOOT, other_is_first=False)
NOWHERE = Layout(boots_from=Network.STRAY, other=Network.SILENT, other_is_first=True)


@dataclass(frozen=True)
class Outcome:
    """What a machine's console showed, and its address in the boot host's network."""

    client: Client
    address: str | None


@pytest.fixture(scope="module")
def machines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Machine, Future[Outcome]]]:
    """Those that the selected tests are about, under way in the tests' order, all in one lab.

    The one that gives up comes first: most of its time it waits.
    """
    require_root("makes network namespaces")
    require_qemu()
    directory = tmp_path_factory.mktemp("nics")
    # One that does not open the NIC that it came over itself, as iPXE 2.0 does.
    suite = "trixie"
    find_ipxe(suite)
    copy_ovmf(directory)
    wanted = [
        (item.callspec.params["firmware"], item.callspec.params["layout"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    ]
    host = BootHost(directory / "host")
    host.directory.mkdir()
    host.write_settings(proxy=True, attempts=2, suite=suite)
    tarball = host.directory / "ec-runner-x86_64-netboot-test.tar.gz"
    host.stage(build_tarball(tarball, build_payload(), mark=MARK))
    host.write_boot_files()
    tftp, web = copy_boot_files(host, directory / "tftp"), directory / "web"
    web.mkdir()
    config = str(host.directory / "netboot.json")
    (web / "netboot.ipxe").write_text(run_netboot("ipxe", "--print", "netboot", "--config", config))
    with build_netboot_lab(directory) as lab, serve_in(lab, host), contextlib.ExitStack() as stack:
        lab.add_bridge(SILENT_BRIDGE)
        stack.enter_context(build_stray_network(lab, STRAY, directory, tftp=tftp))
        stack.enter_context(build_stray_network(lab, PORTAL, directory, tftp=tftp, web=web))
        pool = stack.enter_context(ThreadPoolExecutor(MACHINES_AT_ONCE))
        yield {
            machine: pool.submit(boot, lab, directory / f"machine-{number}", *machine, number)
            for number, machine in enumerate(wanted, start=1)
        }
        pool.shutdown(cancel_futures=True)


def copy_boot_files(host: BootHost, directory: Path) -> Path:
    """Readable by all: a dnsmasq that runs as root hands out no other files."""
    shutil.copytree(host.state_dir / "tftp", directory)
    for file in directory.iterdir():
        file.chmod(0o644)
    return directory


def boot(lab: Lab, directory: Path, firmware: Firmware, layout: Layout, number: int) -> Outcome:
    """The machine, until its guest is up or its boot script has given up."""
    directory.mkdir()
    macs = [f"52:54:00:00:{which:02x}:{number:02x}" for which in (1, 2)]
    other = SecondNic(netdev=lab.add_plug(layout.other).netdev, is_first=layout.other_is_first, mac=macs[1])
    plug = lab.add_plug(layout.boots_from)
    with start_client(plug, firmware, directory, mac=macs[0], other=other) as client:
        # What waits for DHCP twice has seen 400 s on a machine with ten times its load.
        client.wait_for(UP, END, "No bootable device", seconds=2 * BOOT_SECONDS)
    return Outcome(client, lab.find_address(macs[0 if layout.boots_from is Network.BOOT else 1]))


def each(layout: Layout, *, is_full: bool = False) -> list[ParameterSet]:
    """A machine of each firmware."""
    marks = [pytest.mark.full] if is_full else []
    return [pytest.param(firmware, layout, marks=marks) for firmware in FIRMWARE]


@pytest.mark.parametrize(
    ("firmware", "layout"),
    [(Firmware.SEABIOS, NOWHERE), pytest.param(Firmware.OVMF_PXE, NOWHERE, marks=pytest.mark.full)],
    ids=str,
)
def test_the_last_screen_tells_what_failed_over_each_nic(
    machines: dict[Machine, Future[Outcome]], firmware: Firmware, layout: Layout
) -> None:
    outcome = machines[firmware, layout].result()
    own, other = layout.names
    client = outcome.client
    assert client.shows(UP, FAILURE_MARK) == FAILURE_MARK, client.console
    last = client.console.replace("\n", "").partition(FAILURE_MARK)[2]
    assert last.startswith(" netboot.ipxe: not loaded in 2 rounds")
    assert f"every.channel: over {own} {client.mac}: leased {STRAY.subnet}." in last
    assert f"every.channel: http://{BOOT_IP}:8080: unreachable" in last
    assert f"every.channel: over {other} 52:54:00:00:02:" in last
    assert ": no DHCP lease (http" in last


@pytest.mark.parametrize(
    ("firmware", "layout"),
    [
        *each(Layout(boots_from=Network.BOOT, other=Network.STRAY, other_is_first=True)),
        *each(Layout(boots_from=Network.BOOT, other=Network.SILENT, other_is_first=True), is_full=True),
        *each(Layout(boots_from=Network.BOOT, other=Network.STRAY, other_is_first=False), is_full=True),
        *each(Layout(boots_from=Network.BOOT, other=Network.SILENT, other_is_first=False), is_full=True),
    ],
    ids=str,
)
def test_it_boots_over_the_nic_that_the_firmware_booted_from(
    machines: dict[Machine, Future[Outcome]], firmware: Firmware, layout: Layout
) -> None:
    """Without a second for the other one."""
    outcome = machines[firmware, layout].result()
    own, other = layout.names
    console = outcome.client.console
    assert outcome.address is not None
    assert outcome.client.shows(UP, FAILURE_MARK) == UP, console
    assert f"={outcome.address}" in console[console.index(UP) :]
    assert f"Configuring ({own} " in console
    assert f"({other} " not in console
    assert not outcome.client.shows("no source gave it", "trying again")


@pytest.mark.parametrize(
    ("firmware", "layout"),
    [
        *each(Layout(boots_from=Network.STRAY, other=Network.BOOT, other_is_first=False)),
        *each(Layout(boots_from=Network.STRAY, other=Network.BOOT, other_is_first=True), is_full=True),
    ],
    ids=str,
)
def test_a_nic_over_which_the_boot_host_does_not_answer_is_left(
    machines: dict[Machine, Future[Outcome]], firmware: Firmware, layout: Layout
) -> None:
    """The boot files came over it, by TFTP; what is sent on to the boot host is lost."""
    outcome = machines[firmware, layout].result()
    own, other = layout.names
    assert outcome.client.shows(UP, FAILURE_MARK) == UP, outcome.client.console
    assert f"={outcome.address}" in outcome.client.console
    assert outcome.client.shows(f"every.channel: netboot.ipxe: no source gave it over {own}")
    assert outcome.client.console.count(f"Configuring ({other} ") == 1
    assert not outcome.client.shows("trying again")


@pytest.mark.parametrize(
    ("firmware", "layout"),
    [
        (Firmware.SEABIOS, HALFWAY),
        pytest.param(Firmware.OVMF_PXE, HALFWAY, marks=pytest.mark.full),
    ],
    ids=str,
)
def test_the_second_stage_leaves_the_nic_that_it_came_over(
    machines: dict[Machine, Future[Outcome]], firmware: Firmware, layout: Layout
) -> None:
    """The first round is that NIC's alone: what refuses a file may be a server that is being restarted."""
    outcome = machines[firmware, layout].result()
    own, other = layout.names
    client = outcome.client
    assert client.shows(UP, FAILURE_MARK) == UP, client.console
    assert f"={outcome.address}" in client.console
    shown = client.console.replace("\n", "")
    stays = shown.index("every.channel: kernel: no source gave it; trying again in 2 s")
    leaves = shown.index(f"every.channel: kernel: no source gave it over {own}")
    assert stays < leaves < shown.index(f"Configuring ({other} ")
    # The initrd comes over the NIC that the kernel came over.
    assert shown.count("trying again") == 1
    assert shown.count(f"Configuring ({own} ") <= 2
