"""Whether dnsmasq is there, asked of a real one: alive, stopped, and with all its transfers taken."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from support.boot_http import wait_until
from support.boot_service import Service, boot_service, require_boot_services, write_settings
from support.hanging_mount import hanging_mount

from ectools.netboot.dnsmasq.liveness import NO_FILE, WatchedProcess, ask_dnsmasq, watch_liveness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRANSFERS = 40


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    require_boot_services()
    directory = tmp_path / "state" / "tftp"
    directory.mkdir(parents=True)
    (directory / "ec-ipxe.efi").write_bytes(b"a boot binary" * 1000)
    (directory / "autoexec.ipxe").write_bytes(b"#!ipxe\n")
    settings = write_settings(tmp_path, tftp={"maxTransfers": TRANSFERS})
    with boot_service(settings) as running:
        yield running


def ask_for(service: Service, name: str) -> bool:
    return asyncio.run(ask_dnsmasq(ipaddress.IPv4Address(service.address), name, seconds=60))


async def watch_for(service: Service, seconds: float) -> tuple[str | None, int]:
    """How it hangs, None where it does not within so many seconds; and how often it gave a sign of life."""
    signs: list[bool] = []
    watched = WatchedProcess(
        pid=service.find_dnsmasq(),
        address=ipaddress.IPv4Address(service.address),
        directory=service.state_dir / "tftp",
        files=("gone.efi", "autoexec.ipxe"),
        max_transfers=TRANSFERS,
    )
    watching = watch_liveness(
        watched, answered=lambda: signs.append(True), pause_seconds=0.01, answer_seconds=1.0
    )
    try:
        return await asyncio.wait_for(watching, seconds), len(signs)
    except TimeoutError:
        return None, len(signs)


@pytest.mark.parametrize("name", ["autoexec.ipxe", "ec-ipxe.efi", NO_FILE])
def test_a_question_is_answered_and_is_nobodys_boot(service: Service, name: str) -> None:
    assert all(ask_for(service, name) for _ in range(10))
    # What follows it in dnsmasq's log shows that all of the questions are in it.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"\0\1none.efi\0octet\0", (service.address, 69))
        service.wait_for_event("TFTP was asked for a file that is not there")
    lines = [line["event"] for line in service.log() if "TFTP" in line["event"]]
    assert lines == ["TFTP was asked for a file that is not there"]
    assert service.health()["boots"] == 0


def test_one_that_answers_is_left_alone(service: Service) -> None:
    how, signs = asyncio.run(watch_for(service, 3))
    assert how is None
    assert signs > 3


def test_one_that_is_stopped_hangs(service: Service) -> None:
    pid = service.find_dnsmasq()
    os.kill(pid, signal.SIGSTOP)
    try:
        how, signs = asyncio.run(watch_for(service, 60))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (how, signs) == ("it did not answer over TFTP, 2 times in a row", 0)


def test_one_without_a_free_transfer_is_silent_and_alive(service: Service) -> None:
    """To start it again would drop everybody's transfers."""
    with contextlib.ExitStack() as stack:
        for _ in range(TRANSFERS + 20):
            client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            client.sendto(b"\0\1ec-ipxe.efi\0octet\0", (service.address, 69))
        descriptors = f"/proc/{service.find_dnsmasq()}/fd"
        wait_until(lambda: len(os.listdir(descriptors)) > TRANSFERS, "all transfers are taken")
        how, signs = asyncio.run(watch_for(service, 4))
    assert how is None
    assert signs >= 1


def test_a_directory_that_hangs_holds_up_no_loop(tmp_path: Path) -> None:
    watched = WatchedProcess(
        pid=os.getpid(),
        address=ipaddress.IPv4Address("127.0.0.1"),
        directory=tmp_path,
        files=("autoexec.ipxe",),
        max_transfers=TRANSFERS,
    )
    went_on = threading.Event()

    async def scenario() -> None:
        watching = asyncio.create_task(watch_liveness(watched, answered=lambda: None, pause_seconds=0.01))
        await asyncio.sleep(0.2)
        went_on.set()
        watching.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(scenario()))
    with hanging_mount(tmp_path):
        thread.start()
        assert went_on.wait(10)
    thread.join()
