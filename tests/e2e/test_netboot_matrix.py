"""The matrix: real firmware boots in every mode, and refuses what it should; several networks at a time."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.boot_binaries import copy_ovmf, find_ipxe
from support.boot_host import BOOT_FILE, TOKEN, BootHost, build_tarball
from support.guests import require_qemu
from support.needs import require_root, require_tool
from support.netboot_clients import Firmware
from support.netboot_lab import BOOT_IP
from support.netboot_matrix import (
    ATTEMPTS,
    MARK,
    OUT_OF_REACH,
    PADDING,
    UP,
    Case,
    Mode,
    Outcome,
    describe,
    run_network,
)

from ectools.demo.payload import build_payload
from ectools.ipxe.urls import FAILURE_MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.timeout(1500)]

NETWORKS_AT_ONCE = 3
REACHED = [
    (firmware, mode, case)
    for case in (Case.RESTART, Case.TOKEN, Case.GOOD, Case.TAMPERED)
    for mode in (Mode.BOTH, Mode.UNIFI, Mode.PROXY)
    for firmware in Firmware
    if (firmware, mode) not in OUT_OF_REACH
]

Matrix = dict[tuple[Mode, Case], "Future[dict[Firmware, Outcome]]"]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """All networks, under way in the order in which they are asked for."""
    require_root("makes network namespaces")
    require_qemu()
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    require_tool("tc", "install iproute2")
    directory = tmp_path_factory.mktemp("matrix")
    find_ipxe("forky")
    copy_ovmf(directory)
    templates = {case: _stage(directory, case) for case in Case}
    with ThreadPoolExecutor(NETWORKS_AT_ONCE) as pool:
        networks = dict.fromkeys((mode, case) for _, mode, case in REACHED)
        yield {
            (mode, case): pool.submit(
                run_network, directory / f"{mode.name}-{case.name}", templates[case], mode, case
            )
            for mode, case in networks
        }
        pool.shutdown(cancel_futures=True)


def _stage(directory: Path, case: Case) -> BootHost:
    host = BootHost(directory / f"template-{case.name}")
    host.directory.mkdir()
    host.write_settings(proxy=False)
    tarball = host.directory / "ec-runner-x86_64-netboot-test.tar.gz"
    padding = PADDING if case is Case.RESTART else 0
    host.stage(build_tarball(tarball, build_payload(), mark=MARK, padding=padding))
    return host


@pytest.mark.parametrize(("firmware", "mode", "case"), REACHED)
def test_cell(matrix: Matrix, firmware: Firmware, mode: Mode, case: Case) -> None:
    outcome = matrix[mode, case].result()[firmware]
    match case:
        case Case.GOOD:
            expect_boot(outcome, firmware)
        case Case.TAMPERED:
            expect_tampering_seen(outcome, firmware)
        case Case.TOKEN:
            expect_refusal(outcome, firmware)
        case Case.RESTART:
            expect_second_try(outcome, firmware)
    assert TOKEN not in outcome.host.log_text


def expect_one_first_stage(outcome: Outcome, firmware: Firmware) -> None:
    """The boot binary came and began once. SeaBIOS's ROM is an iPXE itself, and is given the script."""
    assert outcome.address is not None
    assert outcome.console.count("iPXE initialising devices") == 1
    loads = 0 if firmware is Firmware.SEABIOS else 1
    assert outcome.host.count_loads(outcome.address) == loads
    scripts = len(outcome.requests("/autoexec.ipxe")) + len(
        outcome.host.events("TFTP has sent a file", client=outcome.address, file="autoexec.ipxe")
    )
    assert scripts == 1


def expect_boot(outcome: Outcome, firmware: Firmware) -> None:
    assert outcome.shows(f"{UP} eth0={outcome.address}"), outcome.console
    expect_one_first_stage(outcome, firmware)
    assert outcome.requests("/netboot.ipxe", "/kernel", "/initrd") == [
        ("netboot.ipxe", 200, True),
        ("kernel", 200, True),
        ("initrd", 200, True),
    ]
    assert len(outcome.host.events("a node has everything it boots from", client=outcome.address)) == 1
    assert not outcome.shows(FAILURE_MARK)
    assert outcome.shows("what it boots is not verified") == (firmware is Firmware.SEABIOS)


def expect_tampering_seen(outcome: Outcome, firmware: Firmware) -> None:
    if firmware is Firmware.SEABIOS:
        # This iPXE is of 2019: it says that it cannot look, and boots.
        expect_boot(outcome, firmware)
        return
    assert not outcome.shows(UP), outcome.console
    expect_one_first_stage(outcome, firmware)
    assert outcome.shows(f"{FAILURE_MARK} kernel: not loaded in {ATTEMPTS} rounds"), outcome.console
    assert outcome.shows(f"every.channel: http://{BOOT_IP}:8080: wrong SHA-256: not what was staged")
    assert outcome.requests("/kernel", "/initrd") == [("kernel", 200, True)] * ATTEMPTS


def expect_refusal(outcome: Outcome, firmware: Firmware) -> None:
    assert not outcome.shows(UP), outcome.console
    expect_one_first_stage(outcome, firmware)
    assert outcome.shows(f"{FAILURE_MARK} netboot.ipxe: not loaded in {ATTEMPTS} rounds"), outcome.console
    assert outcome.shows(
        f"every.channel: http://{BOOT_IP}:8080: refused: not allowed from here, or another token is needed"
    )
    assert outcome.requests("/netboot.ipxe", "/kernel", "/initrd") == [("netboot.ipxe", 403, True)] * ATTEMPTS


def expect_second_try(outcome: Outcome, firmware: Firmware) -> None:
    assert outcome.shows(f"{UP} eth0={outcome.address}"), outcome.console
    assert outcome.shows("initrd: no source gave it; trying again in 2 s"), outcome.console
    expect_one_first_stage(outcome, firmware)
    # The server that was killed told nothing of the initrd that it had begun.
    assert ("initrd", 200, True) in outcome.requests("/initrd")
    assert outcome.requests("/netboot.ipxe") == [("netboot.ipxe", 200, True)]
    assert not outcome.shows(FAILURE_MARK)


@pytest.mark.parametrize(("firmware", "mode"), OUT_OF_REACH)
def test_what_a_firmware_cannot_do_is_so(matrix: Matrix, firmware: Firmware, mode: Mode) -> None:
    """Otherwise its cells have to be moved to what it can."""
    outcome = matrix[mode, Case.GOOD].result()[firmware]
    if firmware is Firmware.SEABIOS:
        assert outcome.shows(f"tftp://{BOOT_IP}/{BOOT_FILE}"), outcome.console
        assert outcome.shows("Could not boot image: Exec format error")
        assert outcome.shows("No bootable device")
        return
    # It asks as an HTTP client, is offered an address without a URL, and asks again for a better offer.
    assert "vendor class: HTTPClient:Arch:00016" in outcome.router_log
    assert re.search(rf"DHCPOFFER\(\S+\) \S+ {outcome.mac}", outcome.router_log)
    assert not re.search(rf"DHCPREQUEST\(\S+\) \S+ {outcome.mac}", outcome.router_log)


def test_the_table(record_property: Callable[[str, object], None]) -> None:
    """What is reached and what is not, and why: in the run's last lines."""
    cells = [(firmware, mode, case) for firmware in Firmware for mode in Mode for case in Case]
    assert {cell for cell in cells if cell[:2] not in OUT_OF_REACH} == set(REACHED)
    lines = [
        f"  {firmware} | {mode} | {case} | {describe(firmware, mode, case)}" for firmware, mode, case in cells
    ]
    record_property("summary", "\n".join(["The netboot matrix:", *lines]))
