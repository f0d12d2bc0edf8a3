"""What a schema cannot say of the settings: values that QEMU, iPXE or Linux would refuse, and contradictions.

Nothing here looks at the machine: the same checks run when a system is built.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

from ectools.errors import Problem
from ectools.ipxe.urls import expect_url
from ectools.redact import redact_user
from ectools.vm.boot_script import HOST_IN_GUEST
from ectools.vm.optstring import split_options_string
from ectools.vm.settings import OPTION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ectools.vm.settings import Boot, Lan, Settings, UserNet

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
_SIZE = re.compile(r"([1-9][0-9]*(?:\.[0-9]+)?)([KMGTkmgt]?)", re.ASCII)
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

# Arguments that would take the guest out of the runner's hands.
_REFUSED_ARGS = {
    "-accel": "the accelerator is chosen by enableKvm",
    "-enable-kvm": "the accelerator is chosen by enableKvm",
    "-daemonize": "QEMU stays a child of the runner",
    "-S": "the runner waits for the guest to run",
}


def find_problems(settings: Settings) -> list[Problem]:
    """Every bad field, in the order of the options; empty when the settings can be used."""
    return [
        *_find_machine_problems(settings),
        *_find_path_problems(settings),
        *find_boot_script_problems(settings.boot),
        *_find_boot_problems(settings.boot),
        *_find_user_net_problems(settings.boot.user_net),
        *_find_lan_problems(settings.lan),
        *_find_shutdown_problems(settings),
        *_find_extra_args_problems(settings.extra_args),
    ]


def _bad(option: str, value: Any, message: str, expected: str) -> Problem:
    return Problem(
        option=f"{OPTION_PREFIX}.{option}",
        message=f"{message}: {json.dumps(value)}",
        value=value,
        expected=expected,
    )


def _is_text(value: str) -> bool:
    """Whether ``value`` has no control character (``read_settings`` refuses what is no Unicode text)."""
    return not any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in value)


def _find_machine_problems(settings: Settings) -> Iterator[Problem]:
    forms: list[tuple[str, str, Callable[[str], object], str]] = [
        ("name", settings.name, bool, "a name of one line"),
        ("machine", settings.machine, _MACHINE.fullmatch, "a machine type and its properties: q35,accel=kvm"),
        ("cpu", settings.cpu, _CPU.fullmatch, "a CPU model and its features: host, or max,-avx2"),
        (
            "serial",
            settings.serial,
            bool,
            "a character device: mon:stdio, or unix:/var/lib/guest/serial.sock,server=on,wait=off",
        ),
    ]
    for option, value, accepts, expected in forms:
        if not (accepts(value) and _is_text(value)):
            yield _bad(option, value, "not usable", expected)
    if settings.require_kvm and not settings.enable_kvm:
        yield _bad(
            "requireKvm", True, "contradicts enableKvm = false", "enableKvm to be true, or this to be false"
        )
    if settings.vcpus > _MAX_CPUS:
        yield _bad("vcpus", settings.vcpus, "too many", f"1 to {_MAX_CPUS}")
    if settings.memory_mib > _MAX_MEMORY_MIB:
        yield _bad("memoryMiB", settings.memory_mib, "too much", f"MiB, 1 to {_MAX_MEMORY_MIB}")
    size = _SIZE.fullmatch(settings.disk.size)
    if size is None or not 512 <= float(size[1]) * 1024 ** " KMGT".index(size[2].upper() or " ") <= _MAX_DISK:
        yield _bad(
            "disk.size",
            settings.disk.size,
            "not usable",
            "bytes, or a number with K, M, G or T: 16G; at most 2048T",
        )


def _find_path_problems(settings: Settings) -> Iterator[Problem]:
    paths: list[tuple[str, Path | None]] = [
        ("stateDir", settings.state_dir),
        ("disk.path", settings.disk.path),
        ("boot.chainTokenFile", settings.boot.chain_token_file),
        ("boot.http.root", settings.boot.http.root),
        ("boot.userNet.tftpDir", settings.boot.user_net.tftp_dir),
        ("boot.userNet.bootFile", settings.boot.user_net.boot_file),
    ]
    refused: set[Path] = set()
    for option, path in paths:
        # A path that is made of a refused one is not the user's mistake.
        if path is None or refused & set(path.parents):
            continue
        # systemd ignores a path with ".." in it, and the service could not write there.
        if not (path.is_absolute() and ".." not in path.parts and _is_text(str(path))):
            refused.add(path)
            yield _bad(option, str(path), "not usable", "an absolute path, without .. or control characters")


def find_boot_script_problems(boot: Boot) -> Iterator[Problem]:
    """What would keep the boot script from being rendered; it has settings of its own when Nix embeds it."""
    if boot.chain_url is not None and (expected := expect_url(boot.chain_url, instead="boot.chainTokenFile")):
        # What stands before the @ may be a password.
        shown = redact_user(boot.chain_url)
        yield _bad("boot.chainUrl", shown, "not usable", expected)
    address = _parse_ip(boot.http.bind_ip)
    if address is None or address.is_multicast or "%" in boot.http.bind_ip:
        yield _bad("boot.http.bindIp", boot.http.bind_ip, "not usable", "an IPv4 or IPv6 address: 127.0.0.1")
    elif boot.chain_url is None and address.is_loopback and str(address) != "127.0.0.1":
        yield _bad(
            "boot.http.bindIp",
            boot.http.bind_ip,
            "out of the guest's reach",
            f"127.0.0.1, which the guest reaches as {HOST_IN_GUEST}, or an address of this host",
        )
    dns = boot.user_net.dns_servers
    if not dns:
        yield _bad("boot.userNet.dnsServers", [], "must not be empty", "the IPv4 address of a DNS server")
    for index, server in enumerate(dns):
        parsed = _parse_ip(server)
        if parsed is None or parsed.version != 4:
            yield _bad(f"boot.userNet.dnsServers[{index}]", server, "not usable", "an IPv4 address: 1.1.1.1")
        elif str(parsed) in {HOST_IN_GUEST, "10.0.2.15"}:
            # QEMU: "DNS must be different from host", "DHCP must be different from host and DNS".
            expected = "an address other than this host's and the guest's on the user-mode network"
            yield _bad(f"boot.userNet.dnsServers[{index}]", server, "refused by QEMU", expected)


def _parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _find_boot_problems(boot: Boot) -> Iterator[Problem]:
    if _BOOT.fullmatch(boot.order) is None or not _is_text(boot.order) or not _names_boot_devices(boot.order):
        expected = "letters of the devices a, b, c, d and n, at most three: order=n, or order=cn,menu=on"
        yield _bad("boot.order", boot.order, "not usable", expected)
    if boot.chain_token_file is not None:
        yield from _find_token_problems(boot)
    if boot.progress_seconds > _MAX_SECONDS:
        yield _bad(
            "boot.progressSeconds", boot.progress_seconds, "too long", f"seconds, at most {_MAX_SECONDS}"
        )
    if boot.http.enable and boot.http.root is None:
        yield _bad("boot.http.root", None, "must be set when boot.http.enable is true", "a directory")
    if (
        boot.http.port == 0
        and boot.chain_url is None
        and not (boot.http.enable and boot.user_net.boot_file is None)
    ):
        expected = "1 to 65535; 0 takes a free port, which only a boot script written at run time can name"
        yield _bad("boot.http.port", 0, "not usable", expected)


def _names_boot_devices(order: str) -> bool:
    """Whether the letters of ``order`` and ``once`` are what the PC machine types take (``pc_boot_set``)."""
    for part in split_options_string(order):
        key, equals, value = part.partition("=")
        letters = value if equals else key
        known = len(letters) <= 3 and len(set(letters)) == len(letters) and set(letters) <= set("abcdn")
        if not known and (not equals or key in {"order", "once"}):
            return False
    return True


def _find_token_problems(boot: Boot) -> Iterator[Problem]:
    path = str(boot.chain_token_file)
    if path.startswith("/nix/store/"):
        yield _bad(
            "boot.chainTokenFile", path, "in the Nix store, which everyone can read", "a path outside of it"
        )
    if boot.chain_url is None:
        yield _bad(
            "boot.chainTokenFile",
            path,
            "has no use",
            "boot.chainUrl to be set, whose server asks for the token",
        )
    elif not boot.chain_url.startswith(("http:", "https:")):
        yield _bad(
            "boot.chainUrl",
            boot.chain_url,
            "cannot carry the token of boot.chainTokenFile",
            "an http or https URL",
        )
    if boot.user_net.boot_file is not None:
        expected = "null, because the boot file that carries boot.chainTokenFile is written at run time"
        yield _bad("boot.userNet.bootFile", str(boot.user_net.boot_file), "cannot carry a token", expected)


def _find_user_net_problems(net: UserNet) -> Iterator[Problem]:
    if _HOSTNAME.fullmatch(net.hostname) is None:
        expected = "letters, digits, - and ., at most 32 bytes"
        yield _bad("boot.userNet.hostname", net.hostname, "not usable", expected)
    if _BOOT_FILENAME.fullmatch(net.boot_filename) is None:
        expected = "a file name of at most 127 bytes, of letters, digits and . _ + @ = , ~ -"
        yield _bad("boot.userNet.bootFilename", net.boot_filename, "not usable", expected)
    yield from _find_model_problems("boot.userNet.model", net.model)


def _find_model_problems(option: str, model: str) -> Iterator[Problem]:
    if _DEVICE.fullmatch(model) is None or not _is_text(model):
        yield _bad(option, model, "not usable", "a device model and its properties: virtio-net-pci")


def _find_lan_problems(lan: Lan) -> Iterator[Problem]:
    macvtap = lan.macvtap
    yield from _find_model_problems("lan.model", lan.model)
    link = "a link's name: letters, digits and . _ -, at most 15 bytes"
    if lan.enable and macvtap.interface is None:
        yield _bad("lan.macvtap.interface", None, "must be set when lan.enable is true", link)
    elif macvtap.interface is not None and _LINK.fullmatch(macvtap.interface) is None:
        yield _bad("lan.macvtap.interface", macvtap.interface, "not usable", link)
    if _LINK.fullmatch(macvtap.name) is None:
        yield _bad("lan.macvtap.name", macvtap.name, "not usable", link)
    elif macvtap.name == macvtap.interface:
        yield _bad("lan.macvtap.name", macvtap.name, "is lan.macvtap.interface as well", "a name of its own")
    mac = macvtap.mac_address
    if mac is not None and (int(mac[:2], 16) & 1 or not int(mac.replace(":", ""), 16)):
        yield _bad(
            "lan.macvtap.macAddress",
            mac,
            "not an address of one station",
            "a unicast address: 02:ec:00:00:00:01",
        )


def _find_shutdown_problems(settings: Settings) -> Iterator[Problem]:
    for option, seconds in [
        ("powerdownSeconds", settings.shutdown.powerdown_seconds),
        ("quitSeconds", settings.shutdown.quit_seconds),
        ("terminateSeconds", settings.shutdown.terminate_seconds),
    ]:
        if seconds > _MAX_SECONDS:
            yield _bad(f"shutdown.{option}", seconds, "too long", f"seconds, at most {_MAX_SECONDS}")


def _find_extra_args_problems(arguments: tuple[str, ...]) -> Iterator[Problem]:
    for index, argument in enumerate(arguments):
        name = "-" + argument.lstrip("-") if argument.startswith("-") else argument
        if name in _REFUSED_ARGS:
            expected = f"another argument: {_REFUSED_ARGS[name]}"
            yield _bad(f"extraArgs[{index}]", argument, "refused", expected)
