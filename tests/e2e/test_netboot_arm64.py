"""ARM64 machines beside x86-64 ones in one network, each with the kernel of its own kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.arm64_client import ARM64_ARGUMENTS, start_arm64_client
from support.boot_binaries import copy_aavmf, find_arm64_kernel, find_ipxe
from support.boot_host import BootHost, build_tarball, serve_in
from support.guests import require_qemu
from support.needs import require_root, require_tool
from support.netboot_clients import Firmware, start_client
from support.netboot_lab import build_netboot_lab

from ectools.demo.payload import UP_MARK, Payload, build_payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.netboot_lab import Lab

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.timeout(900)]

MARK = "kinds"
FIRST_LINE = "Booting Linux on physical CPU"
"""Of a kernel for ARM64."""
END = "every.channel: rebooting in"
BOARD, OTHER_BOARD, LOST_BOARD = (f"52:54:00:00:64:0{number}" for number in range(3))
FLEET = {
    "groups": {
        "boards": {"system": "ec-runner-aarch64-netboot", "kernelArguments": ["ec.group=boards"]},
        "pcs": {"system": "ec-runner-x86_64-netboot"},
    },
    "nodes": {
        "board": {"group": "boards", "match": {"mac": [BOARD]}},
        "lost": {"group": "pcs", "match": {"mac": [LOST_BOARD]}},
    },
}
"""Any machine but these gets what is for its architecture."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, BootHost]]:
    """A boot host in ProxyDHCP mode with a release of two systems."""
    require_root("makes network namespaces")
    require_qemu()
    require_tool("qemu-system-aarch64", "install QEMU (Debian: qemu-system-arm)")
    directory = tmp_path_factory.mktemp("arm64")
    copy_aavmf(directory)
    find_ipxe("forky")
    payload = build_payload()
    host = BootHost(directory / "host")
    host.directory.mkdir()
    host.write_settings(proxy=True, arm64=True, fleet=FLEET)
    host.stage(
        build_tarball(host.directory / "ec-runner-x86_64-netboot-test.tar.gz", payload, mark=MARK),
        # Its first line comes before anybody looks at the initrd.
        build_tarball(
            host.directory / "ec-runner-aarch64-netboot-test.tar.gz",
            Payload(find_arm64_kernel(), payload.initrd),
            mark=MARK,
            arguments=ARM64_ARGUMENTS,
        ),
    )
    host.write_boot_files()
    with build_netboot_lab(directory) as lab, serve_in(lab, host):
        yield lab, host


@pytest.mark.parametrize(
    "over_http", [False, pytest.param(True, marks=pytest.mark.full)], ids=["PXE", "HTTP boot"]
)
def test_an_arm64_machine_starts_the_kernel_for_arm64(
    served: tuple[Lab, BootHost], tmp_path: Path, over_http: bool
) -> None:
    lab, host = served
    mac = OTHER_BOARD if over_http else BOARD
    with start_arm64_client(lab.add_plug(), tmp_path, mac=mac, over_http=over_http) as client:
        assert client.wait_for(FIRST_LINE, END) == FIRST_LINE, client.console
        # The last of its arguments.
        client.wait_for("every_channel.healthy_within=", END)
    (command_line,) = re.findall(r"Kernel command line: \S+ (.*)", client.console)
    assert command_line.startswith(f"{ARM64_ARGUMENTS} ec.mark={MARK} "), command_line
    assert ("ec.group=boards" in command_line.split()) is not over_http
    assert "ec-runner-aarch64-netboot/kernel" in client.console
    assert "WARNING" not in client.console
    gets = host.events("request", peer=lab.find_address(mac), method="GET")
    assert ("/ec-ipxe-arm64.efi" in [entry["path"] for entry in gets]) is over_http
    paths = [entry["path"] for entry in gets if "/releases/" in entry["path"]]
    assert [path.rpartition("-netboot/")[2] for path in paths] == ["kernel", "initrd"]
    assert all("/ec-runner-aarch64-netboot/" in path for path in paths)


@pytest.mark.full
def test_a_board_whose_group_boots_something_else_is_told_so_and_waits(
    served: tuple[Lab, BootHost], tmp_path: Path
) -> None:
    lab, host = served
    with start_arm64_client(lab.add_plug(), tmp_path, mac=LOST_BOARD, over_http=False) as client:
        told = "whose iPXE is for arm64: ec-runner-x86_64-netboot is for x86_64"
        assert client.wait_for(told, FIRST_LINE, END) == told, client.console
    assert host.events("a node cannot boot what it should", node="lost")


@pytest.mark.full
def test_an_x86_64_machine_beside_it_gets_its_own(served: tuple[Lab, BootHost], tmp_path: Path) -> None:
    lab, _ = served
    with start_client(lab.add_plug(), Firmware.OVMF_PXE, tmp_path) as client:
        up = f"{UP_MARK} {MARK}"
        assert client.wait_for(up, END) == up, client.console
    assert "ec-runner-x86_64-netboot/kernel" in client.console
