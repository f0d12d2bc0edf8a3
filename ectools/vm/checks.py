"""What a schema cannot say of one value: the forms that QEMU, iPXE and Linux take.

A rule raises BadValueError (ectools/parsing.py). None looks at the machine.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from ectools.parsing import BadValueError, is_text
from ectools.vm.boot_script import HOST_IN_GUEST
from ectools.vm.optstring import split_options_string

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.addresses import Address

# The forms of QEMU's option strings (optstring.py). What the words mean, only QEMU knows; where it refuses
# them at the start, that is attributed to the option (qemu_errors.py).
_VALUE = r"(?:[^,]|,,)*"
_DEVICE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]*(?:,[A-Za-z0-9._-]+(?:={_VALUE})?)*")
# Split at every comma: x86_cpu_parse_featurestr knows no doubled one.
_CPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:,[+-]?[A-Za-z0-9._-]+(?:=[^,]*)?)*")
_MACHINE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.+_-]*|[A-Za-z0-9._-]+={_VALUE})(?:,[A-Za-z0-9._-]+(?:={_VALUE})?)*"
)
_BOOT = re.compile(rf"(?:[a-p]+|[a-z-]+={_VALUE})(?:,[a-z-]+={_VALUE})*")
# Of bytes there is no half.
_SIZE = re.compile(r"([1-9][0-9]*(?:\.[0-9]+(?=[KMGTkmgt]))?)([KMGTkmgt]?)", re.ASCII)
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,30}[A-Za-z0-9])?", re.ASCII)
_LINK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,14}", re.ASCII)
# iPXE reads the name as a relative URI and expands ${…} in it; QEMU's TFTP server serves one directory.
_BOOT_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@=,~-]{0,126}", re.ASCII)

# qcow2 with 64 KiB clusters: qemu-img refuses a larger one.
_MAX_DISK = 2 * 1024**5
# What no x86 machine of QEMU exceeds: its largest max-cpus, and 52 bits of physical address.
_MAX_CPUS = 4096
_MAX_MEMORY_MIB = 2**32
_MAX_SECONDS = 7 * 24 * 3600
# What QEMU's user-mode network gives to a guest by default (net=, dhcpstart=).
_GUEST = "10.0.2.15"
_BROADCAST = ipaddress.ip_address("255.255.255.255")

LINK_NAME = "a link's name: letters, digits and . _ -, at most 15 bytes"

# Arguments that would take the guest out of the runner's hands.
_REFUSED_ARGS = {
    "-accel": "the accelerator is chosen by enableKvm",
    "-enable-kvm": "the accelerator is chosen by enableKvm",
    "-daemonize": "QEMU stays a child of the runner",
    "-S": "the runner waits for the guest to run",
    "-preconfig": "the runner waits for the guest to run",
}
_MACHINE_ARGS = {"-machine", "-M"}


def check_name(name: str) -> None:
    """The guest's name, which is not empty."""
    _expect_form(name, bool, "a name of one line")


def check_machine(machine: str) -> None:
    """QEMU's ``-machine``: a type, properties, or both."""
    _expect_form(machine, _MACHINE.fullmatch, "a machine type and its properties: q35,accel=kvm")


def check_cpu(cpu: str) -> None:
    """QEMU's ``-cpu``: a model and its features."""
    _expect_form(cpu, _CPU.fullmatch, "a CPU model and its features: host, or max,-avx2")


def check_serial(serial: str) -> None:
    """QEMU's ``-serial``: a character device, whose form only QEMU knows."""
    expected = "a character device: mon:stdio, or unix:/var/lib/guest/serial.sock,server=on,wait=off"
    _expect_form(serial, bool, expected)


def check_device(model: str) -> None:
    """QEMU's ``-device``: a model and its properties."""
    _expect_form(model, _DEVICE.fullmatch, "a device model and its properties: virtio-net-pci")


def check_boot_order(order: str) -> None:
    """QEMU's ``-boot``, with devices that the PC machine types have."""

    def is_order(text: str) -> bool:
        return _BOOT.fullmatch(text) is not None and _names_boot_devices(text)

    _expect_form(
        order,
        is_order,
        "letters of the devices a, b, c, d and n, at most three: order=n, or order=cn,menu=on",
    )


def _expect_form(value: str, accepts: Callable[[str], object], expected: str) -> None:
    if not (accepts(value) and is_text(value)):
        raise BadValueError(expected)


def _names_boot_devices(order: str) -> bool:
    """Whether the letters of ``order`` and ``once`` are what the PC machine types take (``pc_boot_set``)."""
    for part in split_options_string(order):
        key, equals, value = part.partition("=")
        letters = value if equals else key
        known = len(letters) <= 3 and len(set(letters)) == len(letters) and set(letters) <= set("abcdn")
        if not known and (not equals or key in {"order", "once"}):
            return False
    return True


def check_vcpus(count: int) -> None:
    """How many virtual CPUs."""
    if count > _MAX_CPUS:
        raise BadValueError(f"1 to {_MAX_CPUS}", message="too many")


def check_memory(mebibytes: int) -> None:
    """The guest's memory in MiB."""
    if mebibytes > _MAX_MEMORY_MIB:
        raise BadValueError(f"MiB, 1 to {_MAX_MEMORY_MIB}", message="too much")


def check_disk_size(size: str) -> None:
    """The size of a disk as qemu-img takes it: bytes, or with a suffix of a power of 1024."""
    form = _SIZE.fullmatch(size)
    if form is None or not 512 <= float(form[1]) * 1024 ** " KMGT".index(form[2].upper() or " ") <= _MAX_DISK:
        raise BadValueError("bytes, or a number with K, M, G or T: 16G; at most 2048T")


def check_seconds(seconds: int) -> None:
    """A time that the runner waits."""
    if seconds > _MAX_SECONDS:
        raise BadValueError(f"seconds, at most {_MAX_SECONDS}", message="too long")


def parse_bind_ip(text: str) -> Address:
    """An address that a server can be bound to, and that can stand in a URL."""
    address = _parse_ip(text)
    if address is None or address.is_multicast or "%" in text or address == _BROADCAST:
        raise BadValueError("an IPv4 or IPv6 address: 127.0.0.1")
    if isinstance(address, ipaddress.IPv6Address) and (address.is_link_local or address.ipv4_mapped):
        # A scope is this host's own, and has no place in a URL; what is mapped the guest asks by IPv6.
        raise BadValueError(
            "an IPv4 address, or an IPv6 address of a wider scope", message="no guest's to reach"
        )
    return address


def parse_dns(text: str) -> ipaddress.IPv4Address:
    """A DNS server that QEMU's user-mode network can tell a guest of."""
    address = _parse_ip(text)
    if not isinstance(address, ipaddress.IPv4Address):
        raise BadValueError("an IPv4 address: 1.1.1.1")
    if str(address) in {HOST_IN_GUEST, _GUEST}:
        # QEMU: "DNS must be different from host", "DHCP must be different from host and DNS".
        raise BadValueError(
            "an address other than this host's and the guest's on the user-mode network",
            message="refused by QEMU",
        )
    return address


def _parse_ip(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def check_guest_hostname(name: str) -> None:
    """The guest's host name in QEMU's DHCP answers."""
    if _HOSTNAME.fullmatch(name) is None:
        raise BadValueError("letters, digits, - and ., at most 32 bytes")


def check_guest_boot_filename(name: str) -> None:
    """The boot file's name in QEMU's DHCP answers and in its TFTP directory."""
    if _BOOT_FILENAME.fullmatch(name) is None:
        raise BadValueError("a file name of at most 127 bytes, of letters, digits and . _ + @ = , ~ -")


def check_link(name: str) -> None:
    """The name of a network interface."""
    if _LINK.fullmatch(name) is None:
        raise BadValueError(LINK_NAME)


def check_mac(address: str) -> None:
    """The address of one station (six bytes in hexadecimal, which the schema has seen)."""
    if int(address[:2], 16) & 1 or not int(address.replace(":", ""), 16):
        raise BadValueError("a unicast address: 02:ec:00:00:00:01", message="not an address of one station")


def find_argument_name(argument: str) -> str:
    """The name of one of QEMU's arguments, which may be written with one dash or with two; else empty."""
    return "-" + argument.lstrip("-") if argument.startswith("-") else ""


def check_argument(argument: str) -> None:
    """One of the user's own arguments to QEMU."""
    if (reason := _REFUSED_ARGS.get(find_argument_name(argument))) is not None:
        raise BadValueError(f"another argument: {reason}", message="refused")


def check_argument_value(name: str, value: str) -> None:
    """What follows the argument ``name``: QEMU takes a second ``-machine`` for more of the first."""
    if name in _MACHINE_ARGS and any(part.startswith("accel=") for part in split_options_string(value)):
        raise BadValueError(f"no accel=: {_REFUSED_ARGS['-accel']}", message="refused")
