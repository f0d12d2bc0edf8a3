"""Each rule for a guest's settings at its limit: what is taken, and what is said of what is not."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from ectools.parsing import BadValueError
from ectools.vm import checks

if TYPE_CHECKING:
    from collections.abc import Callable

WEEK = 7 * 24 * 3600
DISK = "bytes, or a number with K, M, G or T: 16G; at most 2048T"
ORDER = "letters of the devices a, b, c, d and n, at most three: order=n, or order=cn,menu=on"
MAC = "a unicast address: 02:ec:00:00:00:01"
BIND = "an IPv4 or IPv6 address: 127.0.0.1"


def show(part: object) -> str:
    return getattr(part, "__name__", repr(part))[:40]


TAKEN: list[tuple[Callable[[Any], object], list[Any]]] = [
    (checks.check_name, ["a", "a guest, é", "\xa0"]),
    (
        checks.check_machine,
        ["q35", "q35,accel=kvm", "accel=kvm", "pc-q35-9.2+x", "q35,a=b,,c", "q35,usb", "q35,a="],
    ),
    (checks.check_cpu, ["host", "max,-avx2", "Skylake-Server-v4,+avx2,model-id=a b", "host,x=", "a,b"]),
    (checks.check_serial, ["mon:stdio", "unix:/run/s.sock,server=on"]),
    (checks.check_device, ["e1000", "virtio-net-pci,romfile=", "a,b=c,,d", "a,b"]),
    (
        checks.check_boot_order,
        [
            *(
                "n",
                "abc",
                "order=n",
                "order=cdn",
                "once=d,order=nc,menu=on",
                "menu=on",
                "splash=a,,b",
                "order=",
            )
        ],
    ),
    (checks.check_vcpus, [1, 4096]),
    (checks.check_memory, [1, 2**32]),
    (
        checks.check_disk_size,
        [*("512", "1K", "1.5K", "16G", "1.5g", "2048T", "2048t", str(2 * 1024**5), "2097152G", "513")],
    ),
    (checks.check_seconds, [0, 1, WEEK]),
    (checks.check_guest_hostname, ["a", "a" * 32, "a-b.c", "0"]),
    (checks.check_guest_boot_filename, ["a", "a" * 127, "a,b._+@=~-.kpxe", "0"]),
    (checks.check_link, ["e", "a" * 15, "_x", "enp3s0.7", "br-lan"]),
    (checks.check_mac, ["02:EC:00:00:00:01", "00:00:00:00:00:01", "fe:ff:ff:ff:ff:ff", "10:00:00:00:00:00"]),
    (checks.check_argument, ["-s", "--device", "usb-mouse", "accel", "-", "", "-accelerate", "S", "a -S"]),
]


@pytest.mark.parametrize(
    ("rule", "value"), [(rule, value) for rule, values in TAKEN for value in values], ids=show
)
def test_what_is_taken(rule: Callable[[Any], object], value: Any) -> None:
    rule(value)


REJECTED: list[tuple[Callable[[Any], object], str, str, list[Any]]] = [
    (checks.check_name, "not usable", "a name of one line", ["", "a\nb", "\x7f", "a\x85"]),
    (
        checks.check_machine,
        "not usable",
        "a machine type and its properties: q35,accel=kvm",
        ["", "q35,", "q35 ,accel=kvm", ",a", "q35,a=b,", "q35,a=b,,,", "q35,a=\n", "-q35", "q35,=b"],
    ),
    (
        checks.check_cpu,
        "not usable",
        "a CPU model and its features: host, or max,-avx2",
        ["", "host,+", "max,model-id=a,,b", "host,", "+host", "host,x=\n"],
    ),
    (
        checks.check_serial,
        "not usable",
        "a character device: mon:stdio, or unix:/var/lib/guest/serial.sock,server=on,wait=off",
        ["", "unix:/a\nb"],
    ),
    (
        checks.check_device,
        "not usable",
        "a device model and its properties: virtio-net-pci",
        ["", "e1000,", '{"driver":"e1000"}', "virtio net", "a,b=c,", "a,b=\n"],
    ),
    (
        checks.check_boot_order,
        "not usable",
        ORDER,
        [
            *("", "N", "order=x", "order=nn", "order=abcd", "order=n,", "abcd", "nn", "e", "once=e"),
            *("menu=on,order=x", "order=n,x", "once=nn,menu=on", "splash=\n", "n,once=abcd"),
        ],
    ),
    (checks.check_vcpus, "too many", "1 to 4096", [4097]),
    (checks.check_memory, "too much", "MiB, 1 to 4294967296", [2**32 + 1]),
    (
        checks.check_disk_size,
        "not usable",
        DISK,
        [
            *("", "0", "511", "0.4K", "16 GB", "016G", "1.G", "16P", "-1", "1e9", "٣G"),
            *("2049T", "2048.1T", "1000.5", str(2 * 1024**5 + 2), "9" * 400, "16GB"),
        ],
    ),
    (checks.check_seconds, "too long", "seconds, at most 604800", [WEEK + 1]),
    (
        checks.check_guest_hostname,
        "not usable",
        "letters, digits, - and ., at most 32 bytes",
        ["", "a" * 33, "-a", "a-", ".a", "a,b", "a_b", "é", "a\n"],
    ),
    (
        checks.check_guest_boot_filename,
        "not usable",
        "a file name of at most 127 bytes, of letters, digits and . _ + @ = , ~ -",
        ["", "a" * 128, "../a", "a/b", "${net0/mac}", "http:evil", ".a", "a b", "é", "a\n"],
    ),
    (
        checks.check_link,
        "not usable",
        "a link's name: letters, digits and . _ -, at most 15 bytes",
        ["", "a" * 16, "..", "-a", "eth0/1", "eth0:1", "é", "a\n"],
    ),
    (checks.check_mac, "not an address of one station", MAC, ["01:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"]),
    (checks.check_mac, "not an address of one station", MAC, ["00:00:00:00:00:00", "03:00:00:00:00:01"]),
    (
        checks.parse_bind_ip,
        "not usable",
        BIND,
        ["", "localhost", "127.1", "fe80::1%eth0", "239.0.0.1", "ff02::1", "255.255.255.255"],
    ),
    (
        checks.parse_bind_ip,
        "no guest's to reach",
        "an IPv4 address, or an IPv6 address of a wider scope",
        ["fe80::1", "::ffff:127.0.0.1", "::ffff:192.0.2.1"],
    ),
    (checks.parse_dns, "not usable", "an IPv4 address: 1.1.1.1", ["", "one.one.one.one", "::1", "1.1.1.1\n"]),
    (
        checks.parse_dns,
        "refused by QEMU",
        "an address other than this host's and the guest's on the user-mode network",
        ["10.0.2.2", "10.0.2.15"],
    ),
    (
        checks.check_argument,
        "refused",
        "another argument: the accelerator is chosen by enableKvm",
        ["-accel", "--accel", "-enable-kvm", "--enable-kvm"],
    ),
    (
        checks.check_argument,
        "refused",
        "another argument: QEMU stays a child of the runner",
        ["-daemonize", "--daemonize"],
    ),
    (
        checks.check_argument,
        "refused",
        "another argument: the runner waits for the guest to run",
        ["-S", "--S"],
    ),
]


@pytest.mark.parametrize(
    ("rule", "message", "expected", "value"),
    [(rule, message, expected, value) for rule, message, expected, values in REJECTED for value in values],
    ids=show,
)
def test_what_is_said_of_what_is_rejected(
    rule: Callable[[Any], object], message: str, expected: str, value: Any
) -> None:
    with pytest.raises(BadValueError) as caught:
        rule(value)
    assert (caught.value.message, caught.value.expected) == (message, expected)


def test_addresses_are_parsed() -> None:
    assert checks.parse_dns("10.0.2.3") == ipaddress.IPv4Address("10.0.2.3")
    for text in ("127.0.0.1", "0.0.0.0", "::", "2001:db8::1", "192.0.2.1"):
        assert checks.parse_bind_ip(text) == ipaddress.ip_address(text)
