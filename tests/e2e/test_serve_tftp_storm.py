"""A storm of reads on a real dnsmasq: what does not fit is told and counted, and its log holds nobody up."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from support.boot_http import wait_until
from support.boot_service import boot_service, require_boot_services, write_settings

READ = b"\0\1a.efi\0octet\0"


def serve(directory: Path) -> Path:
    require_boot_services()
    tftp = directory / "state" / "tftp"
    tftp.mkdir(parents=True)
    for name in ("a.efi", "ec-ipxe.efi", "autoexec.ipxe"):
        (tftp / name).write_bytes(b"#!ipxe\n")
    return write_settings(directory)


def read_once(address: str) -> bool:
    """Whether a file of one block is had."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(READ, (address, 69))
        try:
            data, peer = client.recvfrom(600)
        except TimeoutError:
            return False
        client.sendto(b"\0\4\0\1", peer)
        return data[:4] == b"\0\3\0\1"


def test_a_server_that_stands_still_holds_no_transfer_up(tmp_path: Path) -> None:
    """It reads dnsmasq's log, which has a line for each request: 8,000 of these do not fit into a pipe."""
    with boot_service(serve(tmp_path)) as service:
        os.kill(service.process.pid, signal.SIGSTOP)
        try:
            # A file that is not there takes no transfer.
            request = b"\0\1" + b"n" * 200 + b"\0octet\0"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                for _ in range(8000):
                    client.sendto(request, (service.address, 69))
                    assert client.recv(600)[:2] == b"\0\5"
            assert read_once(service.address)
        finally:
            os.kill(service.process.pid, signal.SIGCONT)
        wait_until(
            lambda: read_once(service.address) and service.health()["tftp"]["lines_lost"] > 0,
            "it has lost some",
        )
        assert service.events("dnsmasq died") == []
        assert service.events("dnsmasq has left lines out of its log") != []


def test_requests_that_do_not_fit_are_told_and_counted(tmp_path: Path) -> None:
    with boot_service(serve(tmp_path)) as service:
        dnsmasq = service.find_dnsmasq()
        os.kill(dnsmasq, signal.SIGSTOP)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                # Each takes 512 bytes of the buffer at the least.
                for _ in range(int(Path("/proc/sys/net/core/rmem_default").read_text()) // 256):
                    client.sendto(READ, (service.address, 69))
        finally:
            os.kill(dnsmasq, signal.SIGCONT)
        wait_until(lambda: service.health()["tftp"]["dropped"] > 0, "they are counted")
        service.wait_for_event("TFTP requests were dropped")
        (line,) = (
            each
            for each in service.watch("/metrics").body.decode().splitlines()
            if 'tftp_unanswered_total{reason="buffer"}' in each
        )
        assert int(line.split()[1]) > 0
