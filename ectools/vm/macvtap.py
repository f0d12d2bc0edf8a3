"""The macvtap link of the LAN NIC: made, marked as this guest's, opened for QEMU, and removed at the end.

A runner that may make links does all of that. One that may not, as in the module's unit, opens the link that
``make_link`` made for it, in a process of its own; so what serves the guest has no right over the network.

The mark is the link's alias (``ip link show`` prints it). A link with this guest's mark is what a runner
left that was killed: the disk's lock says that no other one runs. Any other link of the name is somebody
else's. Settings may change while the link is there: whoever makes it for another notes its name and mark.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import hmac
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ectools import log
from ectools.capabilities import Capability, forget_capability, has_capability, raised
from ectools.errors import EcError, InputError
from ectools.vm.argv import Tap
from ectools.vm.link_record import LinkRecord, read_record, write_record
from ectools.vm.settings import GUEST_OPTIONS, MacvtapMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ectools.vm.settings import GuestSettings, Macvtap

_T = TypeVar("_T")

_log = log.Log(__name__)

_MARK = "every-channel-ipxe-qemu"
_ALIAS_BYTES = 255  # IFALIASZ, with its NUL
_IFF_UP = 1  # <linux/if.h>
_NO_ADDRESS = {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", 1]]}]]}  # <linux/if_link.h>
_TUNGETIFF, _IFREQ_BYTES = 0x800454D2, 40  # <linux/if_tun.h>
_NODE_SECONDS = 10.0
# Device nodes are named by the link's index, which another network namespace may use too; a new link has a
# new one.
_TRIES = 8
_OPTION = f"{GUEST_OPTIONS}.lan.macvtap"
_MAKE = "making it needs CAP_NET_ADMIN: run as root, or have root run ectools vm lan-link for this user"


class MacvtapError(EcError):
    """The link cannot be made, opened or removed; the message holds its name and the reason."""


def build_mark(disk: Path) -> str:
    """The alias of the link of the guest with this disk."""
    mark = f"{_MARK}:{os.path.abspath(disk)}"  # noqa: PTH100 - not resolve(): the machine is not looked at
    if len(mark.encode()) < _ALIAS_BYTES:
        return mark
    return f"{_MARK}:{hashlib.sha256(mark.encode()).hexdigest()}"


def derive_mac(*, machine_id: str, name: str, state_dir: Path) -> str:
    """A locally administered unicast address, the same for the same guest on the same machine.

    machine-id(5) asks for a keyed hash, so that the address does not give the identity away.
    """
    digest = hmac.digest(machine_id.encode(), f"{_MARK}\0{name}\0{state_dir}".encode(), "sha256")
    first = (digest[0] & 0xFC) | 0x02
    return ":".join(f"{byte:02x}" for byte in (first, *digest[1:6]))


def find_mac(
    macvtap: Macvtap, settings: GuestSettings, *, machine_id_file: Path = Path("/etc/machine-id")
) -> str | None:
    """The address that the link is given; None in the mode passthru, where it has its interface's."""
    if macvtap.mode is MacvtapMode.PASSTHRU:
        return None
    if macvtap.mac_address is not None:
        return macvtap.mac_address.lower()
    try:
        machine_id = machine_id_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MacvtapError(
            f"{machine_id_file}: cannot be read, so that no address can be derived: {error}",
            hint=f"run systemd-machine-id-setup, or set {_OPTION}.macAddress",
        ) from error
    return derive_mac(machine_id=machine_id, name=settings.name, state_dir=settings.state_dir)


@contextlib.contextmanager
def hold_macvtap(macvtap: Macvtap, settings: GuestSettings) -> Iterator[Tap]:
    """The link's open device for the length of the block; the disk's lock is held around it.

    The link is made for it, where this process may do that. Raises InputError (no such interface),
    MacvtapError.
    """
    made_here = has_capability(Capability.NET_ADMIN)
    if made_here:
        descriptor, address = _make(macvtap, settings, take=_open_node)
        # The node is open: the right to pass over permissions is not needed any more.
        forget_capability(Capability.DAC_OVERRIDE)
    else:
        index, address = _find_made(macvtap, settings)
        descriptor = _open_node(macvtap.name, index)
    try:
        yield Tap(fd=descriptor, mac=address)
    finally:
        os.close(descriptor)
        if made_here:
            remove_link(macvtap, settings)


def is_link_there(descriptor: int) -> bool:
    """Whether the link still is whose ``/dev/tapN`` was opened: it goes with its interface."""
    try:
        fcntl.ioctl(descriptor, _TUNGETIFF, bytes(_IFREQ_BYTES))
    except OSError as error:
        return error.errno != errno.ENOLINK
    return True


def make_link(
    macvtap: Macvtap, settings: GuestSettings, *, uid: int, record_file: Path | None = None
) -> None:
    """The link, for a runner of the user ``uid`` that may not make one: its device becomes that user's.

    One with this guest's mark is made anew, as is the one that ``record_file`` tells of, which is then of
    the new one. Raises InputError (no such interface), MacvtapError, FileError.
    """

    def give(name: str, index: int) -> None:
        node = _find_node(name, index)
        try:
            os.chown(node, uid, -1, follow_symlinks=False)
        except OSError as error:
            hint = "giving it to a user needs CAP_CHOWN"
            raise MacvtapError(f"{node}: cannot be given away: {error.strerror}", hint=hint) from error

    if record_file is not None:
        remove_recorded(record_file)
        write_record(record_file, LinkRecord(name=macvtap.name, mark=build_mark(settings.disk.path)))
    _make(macvtap, settings, take=give)


def remove_link(macvtap: Macvtap, settings: GuestSettings) -> None:
    """Remove the link, where it is there. Raises MacvtapError, also where it is not this guest's."""
    with raised(Capability.NET_ADMIN), _netlink(macvtap.name, macvtap.interface) as netlink:
        _remove_own(netlink, macvtap.name, build_mark(settings.disk.path))


def remove_recorded(record_file: Path) -> bool:
    """Remove the link that was noted, where it still is that one, and the note; False: nothing was noted.

    Raises MacvtapError.
    """
    record = read_record(record_file)
    if record is None:
        return False
    with raised(Capability.NET_ADMIN), _netlink(record.name) as netlink:
        _remove_marked(netlink, record.mark)
    record_file.unlink(missing_ok=True)
    return True


def _make(macvtap: Macvtap, settings: GuestSettings, *, take: Callable[[str, int], _T]) -> tuple[_T, str]:
    """A new link: what ``take`` makes of its name and its index, and its address."""
    mark = build_mark(settings.disk.path)
    mac = find_mac(macvtap, settings)
    with raised(Capability.NET_ADMIN), _netlink(macvtap.name, macvtap.interface) as netlink:
        lower = _find_lower(netlink, macvtap)
        for tries_left in reversed(range(_TRIES)):
            _remove_own(netlink, macvtap.name, mark)
            try:
                index, address = _add(netlink, macvtap, lower=lower, mac=mac, mark=mark)
                taken = take(macvtap.name, index)
                break
            except BaseException as error:
                _remove_own(netlink, macvtap.name, mark)
                if not (isinstance(error, _NodeTakenError) and tries_left):
                    raise
    _log.info(
        "macvtap link made", name=macvtap.name, interface=macvtap.interface, mac=address, mode=macvtap.mode
    )
    return taken, address


def _find_made(macvtap: Macvtap, settings: GuestSettings) -> tuple[int, str]:
    """The index and the address of the link that was made for this guest; netlink is not asked for it."""
    name = macvtap.name
    link = Path("/sys/class/net") / name
    try:
        index, address = int((link / "ifindex").read_text()), (link / "address").read_text().strip()
        alias = (link / "ifalias").read_text().removesuffix("\n")
    except FileNotFoundError:
        raise MacvtapError(
            f"{name}: there is no such link, and this user may not make it", hint=_MAKE
        ) from None
    except (OSError, ValueError) as error:
        raise MacvtapError(f"{link}: cannot be read: {error}", hint=_MAKE) from error
    if alias != build_mark(settings.disk.path):
        raise _foreign_link(name, alias)
    return index, address


@contextlib.contextmanager
def _netlink(name: str, interface: str | None = None) -> Iterator[Any]:
    """A netlink socket; pyroute2's errors inside the block become this module's."""
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        reason = os.strerror(error.code)
        hints = {
            errno.EPERM: "making a link needs CAP_NET_ADMIN: run as root",
            errno.EBUSY: f"{interface} is used by a bridge, a bond or a macvtap in the mode passthru",
            errno.EOPNOTSUPP: "this kernel has no macvtap: modprobe macvtap",
        }
        where = "" if interface is None else f" on {interface}"
        raise MacvtapError(
            f"{name}: macvtap{where}: {reason}", hint=hints.get(error.code, _OPTION)
        ) from error


def _find_lower(netlink: Any, macvtap: Macvtap) -> int:
    found = netlink.link_lookup(ifname=macvtap.interface)
    if not found:
        raise InputError(
            f"{_OPTION}.interface: there is no interface {macvtap.interface}",
            hint="ip -brief link lists them",
        )
    (link,) = netlink.get_links(found[0])
    if not link["flags"] & _IFF_UP:
        _log.warning(
            "the LAN's interface is down: until it is up, the guest has no LAN", name=macvtap.interface
        )
    return int(found[0])


def _remove_own(netlink: Any, name: str, mark: str) -> None:
    """Remove what has our mark; a link of that name that has not is left alone, and is an error."""
    found = netlink.link_lookup(ifname=name)
    if found:
        (link,) = netlink.get_links(found[0])
        alias = link.get_attr("IFLA_IFALIAS")
        if alias != mark:
            raise _foreign_link(name, alias)
    _remove_marked(netlink, mark)


def _remove_marked(netlink: Any, mark: str) -> None:
    """Remove the link with the mark, under whatever name: that it was made by may have become another."""
    for link in list(netlink.get_links()):
        if link.get_attr("IFLA_IFALIAS") == mark:
            netlink.link("del", index=link["index"])


def _foreign_link(name: str, alias: str | None) -> MacvtapError:
    return MacvtapError(
        f"{name}: there is a link of that name which this guest did not make"
        + (f" (its alias is {alias})" if alias else ""),
        hint=f"set {_OPTION}.name to another name, or remove it: ip link delete {name}",
    )


def _add(netlink: Any, macvtap: Macvtap, *, lower: int, mac: str | None, mark: str) -> tuple[int, str]:
    """Make the link, mark it and bring it up; returns its index and its address."""
    address = {} if mac is None else {"address": mac}
    netlink.link(
        "add", ifname=macvtap.name, kind="macvtap", link=lower, macvtap_mode=macvtap.mode.value, **address
    )
    index = int(netlink.link_lookup(ifname=macvtap.name)[0])
    try:
        # The kernel takes no alias for a link that is being made.
        netlink.link("set", index=index, ifalias=mark)
        _leave_addresses_to_guest(netlink, index)
        netlink.link("set", index=index, state="up")
    except BaseException:
        netlink.link("del", index=index)
        raise
    (link,) = netlink.get_links(index)
    return index, str(link.get_attr("IFLA_ADDRESS"))


def _leave_addresses_to_guest(netlink: Any, index: int) -> None:
    """Have the host take no IPv6 address on the link: by the MAC, it would be the guest's."""
    from pyroute2 import NetlinkError

    try:
        netlink.link("set", index=index, IFLA_AF_SPEC=_NO_ADDRESS)
    except NetlinkError as error:
        if error.code != errno.EAFNOSUPPORT:  # a host without IPv6
            raise


class _NodeTakenError(MacvtapError):
    """Another network namespace has a device node of that number."""


def _open_node(name: str, index: int) -> int:
    """The link's ``/dev/tapN``, open for reading and writing."""
    node = _find_node(name, index)
    try:
        with raised(Capability.DAC_OVERRIDE):
            return os.open(node, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MacvtapError(f"{node}: cannot be opened: {error.strerror}", hint=_MAKE) from error


def _find_node(name: str, index: int) -> Path:
    """The link's ``/dev/tapN``, once udev or devtmpfs has made it."""
    node, number = Path(f"/dev/tap{index}"), Path(f"/sys/class/net/{name}/tap{index}/dev")
    deadline = time.monotonic() + _NODE_SECONDS
    while not number.exists():
        hint = "/sys must show this network namespace, as it does under ip netns exec"
        _pause(deadline, f"{number}: is not there", hint)
    major, minor = (int(part) for part in number.read_text(encoding="ascii").split(":"))
    while not node.exists():
        hint = "/dev must be a devtmpfs, or kept by udev"
        _pause(deadline, f"{node}: the device node of {name} did not appear", hint)
    if node.stat().st_rdev != os.makedev(major, minor):
        raise _NodeTakenError(f"{node}: is not the device of {name}, but another network namespace's")
    return node


def _pause(deadline: float, message: str, hint: str) -> None:
    if time.monotonic() > deadline:
        raise MacvtapError(f"{message} within {_NODE_SECONDS:g} s", hint=hint)
    time.sleep(0.02)
