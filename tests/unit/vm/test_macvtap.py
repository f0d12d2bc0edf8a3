"""The macvtap link: made, marked, opened and removed, against a netlink and a /dev of the test's."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_netlink import NULL, Kernel, Link
from support.needs import give_up, require_root, require_tool

from ectools.capabilities import Capability
from ectools.errors import InputError
from ectools.vm.macvtap import MacvtapError, build_mark, hold_macvtap, make_link, remove_link

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings, Macvtap


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


@pytest.fixture
def settings(settings_of: Callable[..., GuestSettings]) -> GuestSettings:
    lan = {"interface": "eth0", "name": "ec0", "macAddress": "02:EC:00:00:00:01", "mode": "vepa"}
    return settings_of({"stateDir": "/guest", "lan": {"enable": True, "macvtap": lan}})


def of(settings: GuestSettings) -> Macvtap:
    assert settings.lan is not None
    return settings.lan.macvtap


MARK = "every-channel-ipxe-qemu:/guest/disk.qcow2"


def test_a_link_is_made_marked_opened_and_removed(kernel: Kernel, settings: GuestSettings, told: Any) -> None:
    with hold_macvtap(of(settings), settings) as tap:
        assert tap.mac == "02:ec:00:00:00:01"
        assert os.fstat(tap.fd).st_rdev == NULL
        assert os.get_inheritable(tap.fd) is False
        assert os.write(tap.fd, b"x") == 1  # open for both
        assert os.read(tap.fd, 1) == b""
        made = kernel.links["ec0"]
        assert made.alias == MARK
        assert made.made == {
            "kind": "macvtap",
            "link": 2,
            "macvtap_mode": "vepa",
            "address": "02:ec:00:00:00:01",
        }
        assert kernel.permitted == {Capability.NET_ADMIN}
        assert kernel.in_force == []
    does = ["add", "alias", "no addresses", "up", "del"]
    assert kernel.calls == [(each, "ec0") for each in does]
    assert "ec0" not in kernel.links
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tap.fd)
    assert told.take() == [
        (
            "info",
            "macvtap link made",
            {"name": "ec0", "interface": "eth0", "mac": "02:ec:00:00:00:01", "mode": "vepa"},
        )
    ]


def test_in_passthru_the_address_is_the_interfaces(
    kernel: Kernel, settings_of: Callable[..., GuestSettings]
) -> None:
    settings = settings_of(
        {"lan": {"enable": True, "macvtap": {"interface": "eth0", "name": "ec0", "mode": "passthru"}}}
    )
    with hold_macvtap(of(settings), settings) as tap:
        assert "address" not in kernel.links["ec0"].made
        assert tap.mac == "02:aa:00:00:00:02"


def test_a_host_without_ipv6_has_no_addresses_to_leave(kernel: Kernel, settings: GuestSettings) -> None:
    kernel.fails["addresses"] = errno.EAFNOSUPPORT
    with hold_macvtap(of(settings), settings):
        assert kernel.calls[-1] == ("up", "ec0")


def test_a_link_that_a_killed_runner_left_is_made_anew(kernel: Kernel, settings: GuestSettings) -> None:
    kernel.links["ec0"] = Link(5, alias=MARK)
    with hold_macvtap(of(settings), settings):
        assert kernel.links["ec0"].index == 7
    assert kernel.calls[0] == ("del", "ec0")


@pytest.mark.parametrize("alias", [None, "somebody's", MARK + "2"])
def test_a_foreign_link_is_never_removed(alias: str | None, kernel: Kernel, settings: GuestSettings) -> None:
    kernel.links["ec0"] = Link(5, alias=alias)
    for call in (
        lambda: make_link(of(settings), settings, uid=1),
        lambda: remove_link(of(settings), settings),
    ):
        with pytest.raises(MacvtapError, match="ec0: there is a link of that name which") as caught:
            call()
        assert (f"its alias is {alias}" in caught.value.message) is (alias is not None)
        assert "ip link delete ec0" in str(caught.value.hint)
    assert kernel.links["ec0"].index == 5


def test_a_link_that_is_not_there_needs_no_removal(kernel: Kernel, settings: GuestSettings) -> None:
    remove_link(of(settings), settings)
    assert kernel.calls == []


def test_an_interface_that_is_missing_or_down(kernel: Kernel, settings: GuestSettings, told: Any) -> None:
    kernel.links["eth0"].flags = 0xFFFE
    with hold_macvtap(of(settings), settings):
        pass
    assert told.take()[0] == (
        "warning",
        "the LAN's interface is down: until it is up, the guest has no LAN",
        {"name": "eth0"},
    )
    del kernel.links["eth0"]
    with pytest.raises(InputError, match=r"lan\.macvtap\.interface: there is no interface eth0"):
        make_link(of(settings), settings, uid=1)


@pytest.mark.parametrize(
    ("operation", "number", "hint"),
    [
        ("add", errno.EPERM, "making a link needs CAP_NET_ADMIN"),
        ("add", errno.EBUSY, "eth0 is used by a bridge"),
        ("add", errno.EOPNOTSUPP, "modprobe macvtap"),
        ("add", errno.EINVAL, "services.every-channel.ipxe-qemu.lan.macvtap"),
        ("alias", errno.EPERM, "CAP_NET_ADMIN"),
        ("up", errno.EADDRNOTAVAIL, "lan.macvtap"),
    ],
)
def test_what_netlink_denies_leaves_no_link(
    operation: str, number: int, hint: str, kernel: Kernel, settings: GuestSettings
) -> None:
    kernel.fails[operation] = number
    with pytest.raises(MacvtapError, match=f"ec0: macvtap on eth0: {os.strerror(number)}") as caught:
        make_link(of(settings), settings, uid=1)
    assert hint in str(caught.value.hint)
    assert set(kernel.links) == {"eth0"}


@pytest.mark.parametrize(
    ("what", "hint"), [("number", "/sys must show this"), ("node", "/dev must be a devtmpfs")]
)
def test_the_device_is_waited_for_ten_seconds(
    what: str, hint: str, kernel: Kernel, settings: GuestSettings
) -> None:
    kernel.slow[what] = 9.9
    with hold_macvtap(of(settings), settings):
        pass
    kernel.slow[what] = 11.0
    with pytest.raises(MacvtapError, match="within 10 s") as caught:
        make_link(of(settings), settings, uid=1)
    assert hint in str(caught.value.hint)
    assert "ec0" not in kernel.links


def test_a_number_that_another_namespace_has_is_tried_eight_times(
    kernel: Kernel, settings: GuestSettings
) -> None:
    kernel.device = os.makedev(1, 5)
    with pytest.raises(
        MacvtapError, match=r"tap14: is not the device of ec0, but another network namespace's"
    ):
        make_link(of(settings), settings, uid=1)
    assert kernel.calls.count(("add", "ec0")) == kernel.calls.count(("del", "ec0")) == 8
    link = kernel.link

    def then_another(command: str, **fields: Any) -> None:
        if kernel.next_index == 17:
            kernel.device = NULL
        link(command, **fields)

    kernel.link = then_another  # type: ignore[method-assign]
    with hold_macvtap(of(settings), settings):
        assert kernel.links["ec0"].index == 17


def test_a_device_is_given_to_a_user(
    kernel: Kernel, settings: GuestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "chown", lambda *arguments, **more: given.append((*arguments, more)))
    make_link(of(settings), settings, uid=64001)
    assert given == [(kernel.root / "dev/tap7", 64001, -1, {"follow_symlinks": False})]
    assert kernel.links["ec0"].alias == MARK  # it stays

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", deny)
    with pytest.raises(MacvtapError, match="tap8: cannot be given away: Operation not permitted"):
        make_link(of(settings), settings, uid=64001)
    assert "ec0" not in kernel.links


def show_link(kernel: Kernel, *, alias: str) -> Path:
    """A link that was made beforehand, as /sys shows it."""
    kernel.permitted.clear()
    kernel.show("ec0", 9)
    directory = kernel.root / "sys/class/net/ec0"
    for name, text in (("ifindex", "9\n"), ("address", "02:bb:00:00:00:03\n"), ("ifalias", alias)):
        (directory / name).write_text(text)
    return directory


def test_whoever_may_make_no_link_opens_the_one_that_was_made(
    kernel: Kernel, settings: GuestSettings
) -> None:
    show_link(kernel, alias=f"{MARK}\n")
    with hold_macvtap(of(settings), settings) as tap:
        assert tap.mac == "02:bb:00:00:00:03"
        assert os.fstat(tap.fd).st_rdev == NULL
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tap.fd)
    assert kernel.calls == []


@pytest.mark.parametrize("alias", ["", "\n", "somebody's\n", f"{MARK}\n\n"])
def test_a_link_that_was_made_for_another_is_not_opened(
    alias: str, kernel: Kernel, settings: GuestSettings
) -> None:
    show_link(kernel, alias=alias)
    with (
        pytest.raises(MacvtapError, match="which this guest did not make"),
        hold_macvtap(of(settings), settings),
    ):
        pass


def test_a_link_that_was_not_made_or_cannot_be_read_is_named(kernel: Kernel, settings: GuestSettings) -> None:
    directory = show_link(kernel, alias=f"{MARK}\n")
    (directory / "ifindex").write_text("none\n")
    with pytest.raises(MacvtapError, match="net/ec0: cannot be read"), hold_macvtap(of(settings), settings):
        pass
    (directory / "ifindex").unlink()
    with (
        pytest.raises(MacvtapError, match="ec0: there is no such link, and this user may not") as caught,
        hold_macvtap(of(settings), settings),
    ):
        pass
    assert "ectools vm lan-link" in str(caught.value.hint)


def test_a_device_that_cannot_be_opened_is_named(
    kernel: Kernel, settings: GuestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def deny(*_: object) -> int:
        opened.append(list(kernel.in_force))
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(MacvtapError, match="tap7: cannot be opened: Permission denied"):
        with hold_macvtap(of(settings), settings):
            pass
    assert opened == [[Capability.NET_ADMIN, Capability.DAC_OVERRIDE]]
    assert "ec0" not in kernel.links


def test_a_mark_of_255_bytes_is_too_long_for_an_alias() -> None:
    prefix = "every-channel-ipxe-qemu:/"
    fits, not_quite = (Path("/" + "x" * (length - len(prefix))) for length in (254, 255))
    assert build_mark(fits) == f"{prefix}{fits.name}"
    assert len(build_mark(fits).encode()) == 254
    assert len(build_mark(not_quite)) < 100


_ADDRESSES = """
import subprocess
from types import SimpleNamespace
from pyroute2 import IPRoute
from ectools.vm.macvtap import MacvtapMode, _add

def ip(arguments):
    return subprocess.run(["ip", *arguments.split()], check=True, stdout=subprocess.PIPE, text=True).stdout

ip("link add lower type veth peer other")
ip("link set lower up")
ip("link set other up")
ip("link add link lower name plain type macvtap mode bridge")
ip("link set plain up")
with IPRoute() as netlink:
    (lower,) = netlink.link_lookup(ifname="lower")
    settings = SimpleNamespace(name="ours", mode=MacvtapMode.BRIDGE)
    _add(netlink, settings, lower=lower, mac="02:ec:00:00:00:01", mark="mark")
for name in ("plain", "ours"):
    print(name, "fe80" in ip(f"-6 address show dev {name}"))
"""


@pytest.mark.netns
def test_the_kernel_gives_the_host_no_address_on_it() -> None:
    require_root("a link is made in a network namespace")
    require_tool("unshare", "install util-linux")
    argv = ["unshare", "--net", sys.executable, "-c", _ADDRESSES]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "Unknown device type" in done.stderr or "Operation not supported" in done.stderr:
        give_up("this kernel has no macvtap")
    assert done.returncode == 0, done.stderr
    # Where the kernel has IPv6, a link has an address of its own accord.
    assert done.stdout.split() == ["plain", str(Path("/proc/net/if_inet6").exists()), "ours", "False"]
