"""What serving needs of this host, with a kernel that answers as a test says."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import socket
import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import InputError
from ectools.files import FileError
from ectools.netboot.server import host as module
from ectools.netboot.server.host import (
    HostError,
    check_address,
    check_host,
    check_proxy_ports,
    check_reloaded,
    make_directories,
)
from ectools.netboot.settings.load import load_server_settings
from ectools.netboot.settings.model import ProxyDhcp
from ectools.privileges import Identity, UnsafeDirectoryError

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.settings.model import ServerSettings

PREFIX = "services.every-channel.netboot"
ADDRESS = IPv4Address("192.0.2.10")
PROXY = ProxyDhcp(subnet=IPv4Network("192.0.2.0/24"))


@dataclass
class Kernel:
    """The addresses of this host, and the UDP ports that cannot be had."""

    addresses: list[tuple[str, str]]
    taken: dict[tuple[str, int], int]
    bound: list[tuple[str, int, tuple[int, ...]]]

    def ioctl(self, _: socket.socket, request: int, argument: bytes) -> bytes:
        """SIOCGIFCONF of netdevice(7): fills the buffer, and gives the size of what it holds."""
        assert request == 0x8912
        size, where = struct.unpack("iP", argument)
        entry = 40 if struct.calcsize("P") == 8 else 32
        data = b"".join(
            struct.pack("=16sHH4s", name.encode(), socket.AF_INET, 0, IPv4Address(address).packed).ljust(
                entry, b"\xee"
            )
            for name, address in self.addresses
        )
        assert len(data) <= size == 4096 * entry
        ctypes.memmove(where, data, len(data))
        return struct.pack("iP", len(data), where)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(
        addresses=[
            ("lo", "127.0.0.1"),
            ("eth0", "192.0.2.10"),
            ("eth0:1", "192.0.2.11"),
            ("br0", "192.0.2.10"),
        ],
        taken={},
        bound=[],
    )

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            assert (self.family, self.type) == (socket.AF_INET, socket.SOCK_DGRAM)
            options = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
            flags = tuple(self.getsockopt(socket.SOL_SOCKET, option) for option in options)
            kernel.bound.append((*address, flags))
            if address in kernel.taken:
                number = kernel.taken[address]
                raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    monkeypatch.setattr(module.socket, "socket", Socket)
    monkeypatch.setattr(
        module.socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0"), (3, "br0"), (4, "eth1")]
    )
    return kernel


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    flags = {"listenIP": str(ADDRESS), "stateDir": str(tmp_path / "state"), "hostname": "boot"}
    return load_server_settings(None, flags=flags, environment={})


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("192.0.2.10", None),
        ("192.0.2.10", "eth0"),
        ("192.0.2.10", "br0"),
        ("192.0.2.11", "eth0"),  # by its label eth0:1
        ("127.0.0.1", "lo"),
        ("127.5.6.7", "lo"),
        ("127.5.6.7", None),
    ],
)
def test_an_address_of_this_host(address: str, interface: str | None) -> None:
    check_address(IPv4Address(address), interface)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("address", ["192.0.2.12", "0.0.0.0", "10.0.0.1"])
def test_an_address_of_another(address: str) -> None:
    with pytest.raises(HostError) as caught:
        check_address(IPv4Address(address), "eth0")
    assert caught.value.message == f"{PREFIX}.listenIP: {address} is no address of this host"
    assert caught.value.hint is not None


@pytest.mark.usefixtures("kernel")
def test_an_interface_that_is_not_there_or_has_another_address() -> None:
    with pytest.raises(InputError) as missing:
        check_address(ADDRESS, "eth9")
    assert missing.value.message == f"{PREFIX}.interface: there is no interface eth9"
    assert missing.value.hint == "there are: lo, eth0, br0, eth1"
    with pytest.raises(HostError) as other:
        check_address(ADDRESS, "eth1")
    expected = f"{PREFIX}.interface: eth1 does not have the address 192.0.2.10 of listenIP"
    assert other.value.message == expected
    assert other.value.hint == "eth0, br0 has it"


def test_the_addresses_of_this_very_machine() -> None:
    assert ("lo", IPv4Address("127.0.0.1")) in module.list_own_addresses()


def test_which_ports_are_tried(kernel: Kernel, settings: ServerSettings) -> None:
    check_host(settings)
    assert kernel.bound == [("192.0.2.10", 69, (0, 0))]
    kernel.bound.clear()
    check_host(replace(settings, proxy_dhcp=PROXY))
    # dnsmasq's sockets for broadcasts are for all addresses, which others may have beside it.
    assert kernel.bound == [("192.0.2.10", 69, (0, 0)), ("", 67, (1, 1)), ("", 4011, (1, 1))]


@pytest.mark.parametrize(
    ("address", "port", "number", "message", "hint"),
    [
        ("192.0.2.10", 69, errno.EADDRINUSE, "TFTP cannot have UDP 192.0.2.10:69", "(ss -lunp 'sport = :69'"),
        ("192.0.2.10", 69, errno.EACCES, "TFTP cannot have UDP 192.0.2.10:69", "CAP_NET_BIND_SERVICE"),
        ("192.0.2.10", 69, errno.EPERM, "TFTP cannot have UDP 192.0.2.10:69", "CAP_NET_BIND_SERVICE"),
        ("", 67, errno.EADDRINUSE, "ProxyDHCP cannot have UDP *:67", "(ss -lunp 'sport = :67'"),
        ("", 4011, errno.ENOMEM, "ProxyDHCP cannot have UDP *:4011", None),
    ],
)
def test_a_port_that_cannot_be_had(
    kernel: Kernel,
    settings: ServerSettings,
    address: str,
    port: int,
    number: int,
    message: str,
    hint: str | None,
) -> None:
    kernel.taken[address, port] = number
    with pytest.raises(HostError, match=re.escape(f"{message}: {os.strerror(number)}")) as caught:
        check_host(replace(settings, proxy_dhcp=PROXY))
    assert (caught.value.hint is None) is (hint is None)
    assert hint is None or hint in (caught.value.hint or "")


def test_the_address_is_looked_at_before_the_ports(kernel: Kernel, settings: ServerSettings) -> None:
    kernel.taken["192.0.2.12", 69] = errno.EADDRNOTAVAIL
    with pytest.raises(HostError, match="is no address of this host"):
        check_host(replace(settings, listen_ip=IPv4Address("192.0.2.12")))
    with pytest.raises(InputError, match="there is no interface eth9"):
        check_host(replace(settings, interface="eth9"))


def test_a_reload_looks_at_what_it_changes(kernel: Kernel, settings: ServerSettings) -> None:
    kernel.taken["", 67] = errno.EADDRINUSE
    with_proxy = replace(settings, proxy_dhcp=PROXY)
    with_interface = replace(settings, interface="eth1")
    check_reloaded(settings, settings)
    check_reloaded(with_proxy, with_proxy)  # dnsmasq has the ports itself
    check_reloaded(settings, with_proxy)
    check_reloaded(with_interface, with_interface)
    with pytest.raises(HostError, match="ProxyDHCP cannot have UDP"):
        check_reloaded(with_proxy, settings)
    with pytest.raises(HostError, match="eth1 does not have the address"):
        check_reloaded(with_interface, settings)
    assert len(kernel.bound) == 1
    with pytest.raises(HostError):
        check_proxy_ports()


def test_directories_are_made_with_their_modes(settings: ServerSettings) -> None:
    before = os.umask(0)
    try:
        for _ in range(2):
            make_directories(settings)
    finally:
        os.umask(before)
    assert settings.state_dir.stat().st_mode & 0o7777 == 0o750
    assert settings.tftp_dir.stat().st_mode & 0o7777 == 0o755


def test_a_directory_that_cannot_be_made(settings: ServerSettings) -> None:
    settings.state_dir.parent.joinpath("state").write_text("a file")
    with pytest.raises(FileError) as caught:
        make_directories(settings)
    assert caught.value.message == f"{settings.state_dir}: cannot be made: File exists"
    assert caught.value.hint == "--state-dir names the directory"


@pytest.mark.parametrize(("euid", "owner", "is_safe"), [(0, 0, True), (0, 1000, False), (1000, 1000, True)])
def test_root_does_not_serve_a_directory_that_became_anothers(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch, euid: int, owner: int, is_safe: bool
) -> None:
    asked: list[tuple[Path, ...]] = []

    def find(*directories: Path) -> Identity:
        asked.append(directories)
        return Identity(uid=owner, gid=owner)

    monkeypatch.setattr(module, "find_directory_user", find)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    if is_safe:
        make_directories(settings)
    else:
        with pytest.raises(UnsafeDirectoryError, match="'s by now, and root serves it"):
            make_directories(settings)
    assert asked == ([(settings.state_dir, settings.tftp_dir)] if euid == 0 else [])
