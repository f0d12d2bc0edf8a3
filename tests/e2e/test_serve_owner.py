"""The boot server and the HTTP server, started by root in another user's directory: they become that user."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_binaries import build_ipxe
from support.boot_http import DEADLINE_SECONDS, boot_server, wait_until
from support.boot_http import build_argv as build_http_argv
from support.boot_service import (
    NEXT_TOKEN,
    TOKEN,
    Service,
    boot_service,
    require_boot_services,
    stage,
    write_settings,
    write_tokens,
)
from support.guests import open_way, process_status
from support.needs import require_tool
from support.probe_lab import BOOT, ProbeLab, build_probe_lab, list_transfer_table

from ectools.capabilities import Capability

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("root")

NETBOOT = [sys.executable, "-m", "ectools.cli.main", "netboot"]
ALICE = 64001
SECRET = b"root's alone\n"
READ, BIND, NET = Capability.DAC_READ_SEARCH, Capability.NET_BIND_SERVICE, Capability.NET_ADMIN


def mask(*capabilities: Capability) -> int:
    return sum(1 << capability for capability in capabilities)


def rights(pid: int) -> tuple[list[int], int, int]:
    """The process's users; its capabilities in force, and those that it may use."""
    status = process_status(pid)
    return [int(uid) for uid in status["Uid"].split()], int(status["CapEff"], 16), int(status["CapPrm"], 16)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Alice's state directory with a release and boot files, beside a file of root's."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    state = tmp_path / "state"
    (tmp_path / "state/tftp").mkdir(parents=True)
    stage(state, {"bzImage": b"a kernel", "initrd": b"an initrd"})
    (state / "tftp/ec-ipxe.efi").write_bytes(b"a boot binary")
    (state / "tftp/autoexec.ipxe").write_bytes(b"#!ipxe\n")
    for path in (state, *state.rglob("*")):
        os.chown(path, ALICE, ALICE, follow_symlinks=False)
    open_way(tmp_path)
    return tmp_path


def link_to_secret(home: Path, path: Path) -> None:
    """A hard link, as Alice can make one where the kernel does not keep her from it."""
    path.unlink(missing_ok=True)
    os.link(home / "secret", path)


def fetch_over_tftp(service: Service, name: str) -> bytes:
    """The first packet's content."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE_SECONDS)
        client.sendto(b"\0\1" + name.encode() + b"\0octet\0", (service.address, 69))
        data, address = client.recvfrom(2000)
        client.sendto(b"\0\5\0\0\0", address)
        return data


def test_roots_file_behind_a_hard_link_is_not_served(home: Path) -> None:
    require_boot_services()
    with boot_service(write_settings(home)) as service:
        assert service.get("/initrd").body == b"an initrd"
        (release,) = (home / "state/releases").iterdir()
        link_to_secret(home, release / "bzImage")
        link_to_secret(home, home / "state/tftp/autoexec.ipxe")
        for path in ("/bzImage", f"/releases/{release.name}/bzImage", "/autoexec.ipxe"):
            response = service.get(path)
            assert (response.status, SECRET in response.body) == (403, False), path
        assert SECRET not in fetch_over_tftp(service, "autoexec.ipxe")
        assert b"a boot binary" in fetch_over_tftp(service, "ec-ipxe.efi")


def test_it_has_its_users_rights_and_three_of_roots_of_which_one_is_in_force(home: Path) -> None:
    require_boot_services()
    with boot_service(write_settings(home)) as service:
        for _ in range(2):
            threads = [int(path.name) for path in Path(f"/proc/{service.process.pid}/task").iterdir()]
            for thread in threads:
                assert rights(thread) == ([ALICE] * 4, mask(BIND), mask(READ, BIND, NET))
                assert process_status(thread)["NoNewPrivs"] == "1"
                assert process_status(thread)["Groups"] == ""
            assert rights(service.find_dnsmasq()) == ([ALICE] * 4, mask(BIND), mask(BIND))
            service.get("/initrd")
            service.reload()
        assert len(threads) > 1
    assert {path.lstat().st_uid for path in (home / "state").rglob("*")} == {ALICE}


def test_dnsmasq_comes_back(home: Path) -> None:
    require_boot_services()
    with boot_service(write_settings(home)) as service:
        os.kill(service.find_dnsmasq(), signal.SIGKILL)
        service.wait_for_dnsmasq(2)
        assert rights(service.find_dnsmasq()) == ([ALICE] * 4, mask(BIND), mask(BIND))
        assert b"a boot binary" in fetch_over_tftp(service, "ec-ipxe.efi")


def test_settings_and_tokens_of_roots_are_read_again(home: Path) -> None:
    require_boot_services()
    (home / "roots").mkdir(mode=0o700)
    settings = write_settings(home / "roots", chainTokenFile=str(write_tokens(home / "roots", TOKEN)))
    settings.write_text(settings.read_text().replace(f"{home}/roots/state", f"{home}/state"))
    settings.chmod(0o600)
    with boot_service(settings) as service:

        def statuses() -> list[int]:
            return [service.get(f"/netboot.ipxe?token={token}").status for token in (TOKEN, NEXT_TOKEN)]

        assert statuses() == [200, 403]
        write_tokens(home / "roots", NEXT_TOKEN)
        service.reload()
        assert statuses() == [403, 200]
        service.change(protectedFiles=["initrd"])
        service.reload()
        assert (service.get("/initrd").status, service.get("/bzImage").status) == (403, 200)
        assert service.events("the old ones stay in force") == []


def test_dnsmasq_by_itself_becomes_that_user_too(home: Path) -> None:
    require_boot_services()
    settings = write_settings(home)
    argv = [*NETBOOT, "dnsmasq", "--config", str(settings), "--log-format", "json"]
    with (home / "log").open("w") as log, subprocess.Popen(argv, stderr=log) as process:
        try:
            service = Service(process, 0, home / "log", address="", settings_file=settings, state_dir=home)
            service.wait_for_dnsmasq(1)
            assert rights(process.pid) == ([ALICE] * 4, mask(BIND), mask(READ, BIND, NET))
            assert rights(service.find_dnsmasq()) == ([ALICE] * 4, mask(BIND), mask(BIND))
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("plant", ["symbolic", "hard"])
@pytest.mark.parametrize("command", ["serve", "ipxe"])
def test_a_token_is_not_read_with_roots_right_where_alice_chooses_the_file(
    home: Path, plant: str, command: str
) -> None:
    """What it holds would be in the boot scripts."""
    require_boot_services()
    token = home / "state/token"
    secret = write_tokens(home, TOKEN)
    if plant == "symbolic":
        token.symlink_to(secret)
    else:
        os.link(secret, token)
    (home / "ipxe.efi").write_bytes(build_ipxe())
    ipxe = {"strategy": "local", "localFile": str(home / "ipxe.efi")}
    settings = write_settings(home, chainTokenFile=str(token), ipxe=ipxe)
    argv = [*NETBOOT, command, "--config", str(settings)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{token}: cannot be read: Permission denied" in done.stderr
    assert "a directory that root alone may write" in done.stderr


def test_a_directory_that_becomes_anothers_under_root_is_told_at_a_reload(home: Path) -> None:
    require_boot_services()
    state = home / "state"
    for path in (state, *state.rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
    with boot_service(write_settings(home)) as service:
        assert rights(service.process.pid)[0] == [0] * 4
        os.chown(state, ALICE, ALICE)
        os.chown(state / "tftp", ALICE, ALICE)
        service.reload()
        (told,) = service.events("the old ones stay in force")
        assert f"{state}: is {ALICE}'s by now" in told["reason"]


@pytest.fixture
def lab(home: Path) -> Iterator[ProbeLab]:
    require_boot_services()
    require_tool("nft", "install nftables")
    (home / "lab").mkdir()
    with build_probe_lab(home / "lab") as built:
        yield built


@contextlib.contextmanager
def serve_network(lab: ProbeLab, home: Path, *, transfers: int) -> Iterator[Service]:
    settings = write_settings(
        home,
        listenIP=BOOT,
        hostname=BOOT,
        httpPort=8080,
        proxyDhcp={"enable": True, "subnet": "192.168.77.0/24"},
        tftp={"maxTransfers": transfers},
    )
    with boot_service(settings, wrapper=lab.inside("boot")) as service:
        yield service


@pytest.mark.netns
def test_proxy_dhcp_and_the_share_of_an_address(lab: ProbeLab, home: Path) -> None:
    lab.start_router()
    with serve_network(lab, home, transfers=4096) as service:
        for count in (1, 2):
            service.wait_for_dnsmasq(count)
            assert rights(service.find_dnsmasq()) == ([ALICE] * 4, mask(BIND, NET), mask(BIND, NET))
            assert f"meta skuid {ALICE} jump answer" in list_transfer_table(lab)
            lab.probe("--arch", "7")
            service.wait_for_event("ProxyDHCP has named a boot file", count=count)
            os.kill(service.find_dnsmasq(), signal.SIGKILL)
        assert service.events("TFTP has no limit per address") == []
    assert list_transfer_table(lab) == ""


SILENT = """
import socket, sys, time
clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(60)]
for client in clients:
    client.sendto(b"\\0\\1ec-ipxe.efi\\0octet\\0", (sys.argv[1], 69))
print("sent", flush=True)
time.sleep(600)
"""


@pytest.mark.netns
def test_a_full_dnsmasq_that_has_rights_which_are_out_of_force_here_is_not_taken_for_hung(
    lab: ProbeLab, home: Path
) -> None:
    with serve_network(lab, home, transfers=32) as service:
        for name in ("other", "client"):  # each of them gets the least share: a whole dnsmasq's
            lab.start_program(name, SILENT, BOOT)
        wait_until(
            lambda: (
                service.events("all TFTP transfers are taken") or len(service.events("dnsmasq serves")) > 1
            ),
            "it is looked at",
        )
        assert len(service.events("dnsmasq serves")) == 1


def test_the_http_server_becomes_the_directories_user(home: Path) -> None:
    root = home / "state/tftp"
    link_to_secret(home, root / "linked")
    with boot_server(root, home / "log") as server:
        assert rights(server.process.pid)[:2] == ([ALICE] * 4, 0)
        assert server.get("/ec-ipxe.efi").body == b"a boot binary"
        assert server.get("/linked").status == 403
    root.chmod(0o775)
    argv = build_http_argv(root, "--port", "0")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert done.returncode == 1
    assert f"{root}: may be written by the group {ALICE}" in done.stderr
