"""JSON that the schema accepts, with its literal defaults → settings that can be used, or all that is wrong.

The defaults that are computed from other options are here, and the contradictions between options; the rules
for one value are in ``checks.py``. Nothing here looks at the machine: the same runs when a system is built.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.ipxe.language import NETBOOT_NAME
from ectools.parsing import ListenAddress, check_boot_url, check_path, check_secret_path
from ectools.vm import checks
from ectools.vm.boot_script import HOST_IN_GUEST
from ectools.vm.settings import (
    Boot,
    BootScriptSettings,
    Chain,
    Disk,
    GuestSettings,
    HostLoopback,
    Http,
    KvmPolicy,
    Lan,
    Macvtap,
    MacvtapMode,
    Shutdown,
    UserNet,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ectools.parsing import Problems

# What a guest is given of the boot HTTP server's directory.
_SERVED = ("kernel", "initrd", NETBOOT_NAME)


def build_guest_settings(raw: Mapping[str, Any], problems: Problems) -> GuestSettings | None:
    """The settings; None where something is wrong, and then ``problems`` has all of it."""
    kvm: bool = raw["enableKvm"]
    take = problems.check
    name = take("name", raw["name"], checks.check_name)
    machine = take(
        "machine", raw.get("machine", f"q35,accel={'kvm' if kvm else 'tcg'}"), checks.check_machine
    )
    cpu = take("cpu", raw.get("cpu", "host" if kvm else "max"), checks.check_cpu)
    policy = _build_kvm_policy(raw, problems)
    vcpus = take("vcpus", int(raw["vcpus"]), checks.check_vcpus)
    memory = take("memoryMiB", int(raw["memoryMiB"]), checks.check_memory)
    serial = take("serial", raw["serial"], checks.check_serial)
    paths = _Paths(problems)
    state_dir = paths.take("stateDir", raw["stateDir"])
    disk = Disk(
        path=paths.take("disk.path", raw["disk"].get("path", str(state_dir / "disk.qcow2"))),
        size=take("disk.size", raw["disk"]["size"], checks.check_disk_size),
    )
    boot = _build_boot(raw["boot"], problems, paths=paths, state_dir=state_dir)
    lan = _build_lan(raw["lan"], problems)
    shutdown = _build_shutdown(raw["shutdown"], problems)
    extra_args = _build_extra_args(raw["extraArgs"], problems)
    if boot is not None:
        _check_apart(disk, boot, state_dir, paths=paths)
    if problems.found or boot is None:
        return None
    return GuestSettings(
        package=None if raw.get("package") is None else Path(raw["package"]),
        name=name,
        machine=machine,
        cpu=cpu,
        kvm=policy,
        vcpus=vcpus,
        memory_mib=memory,
        serial=serial,
        state_dir=state_dir,
        disk=disk,
        boot=boot,
        lan=lan,
        shutdown=shutdown,
        extra_args=extra_args,
    )


def build_boot_script_settings(raw: Mapping[str, Any], problems: Problems) -> BootScriptSettings | None:
    """The part of ``boot`` that the boot script is made of; None where something of it is wrong.

    It has settings of its own when Nix embeds it, and the rest may be missing then.
    """
    before = len(problems.found)
    chain = _build_chain(raw, problems)
    http, servers = raw["http"], raw["userNet"]["dnsServers"]
    ip = problems.parse("boot.http.bindIp", http["bindIp"], checks.parse_bind_ip)
    if ip is not None and raw["chainUrl"] is None and ip.is_loopback and str(ip) != "127.0.0.1":
        expected = f"127.0.0.1, which the guest reaches as {HOST_IN_GUEST}, or an address of this host"
        problems.add("boot.http.bindIp", http["bindIp"], "out of the guest's reach", expected)
    if not servers:
        expected = "the IPv4 address of a DNS server"
        problems.add("boot.userNet.dnsServers", [], "must not be empty", expected)
    dns = problems.parse_each("boot.userNet.dnsServers", servers, checks.parse_dns)
    if len(problems.found) > before or ip is None:
        return None
    return BootScriptSettings(chain=chain, listen=ListenAddress(ip=ip, port=int(http["port"])), dns=dns[0])


def _build_kvm_policy(raw: Mapping[str, Any], problems: Problems) -> KvmPolicy:
    if raw["requireKvm"]:
        if not raw["enableKvm"]:
            expected = "enableKvm to be true, or this to be false"
            problems.add("requireKvm", True, "contradicts enableKvm = false", expected)
        return KvmPolicy.REQUIRED
    return KvmPolicy.PREFERRED if raw["enableKvm"] else KvmPolicy.NEVER


class _Paths:
    """The paths of a document: one that is made of a rejected one is not the user's mistake."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._rejected: set[Path] = set()

    def take(self, option: str, text: str) -> Path:
        path = Path(text)
        if self._rejected.isdisjoint(path.parents) and not self._problems.accepts(option, text, check_path):
            self._rejected.add(path)
        return path

    def take_optional(self, option: str, text: str | None) -> Path | None:
        return None if text is None else self.take(option, text)

    def is_rejected(self, path: Path) -> bool:
        return not self._rejected.isdisjoint([path, *path.parents])

    def are_one(self, path: Path, other: Path) -> bool:
        """Whether both name one file, as far as their texts say it; one that is rejected is none."""
        if self.is_rejected(path) or self.is_rejected(other):
            return False
        return path.parts[1:] == other.parts[1:]  # two slashes at the beginning are one

    def refuse(self, option: str, path: Path, message: str, expected: str) -> None:
        self._problems.add(option, str(path), message, expected)


def _check_apart(disk: Disk, boot: Boot, state_dir: Path, *, paths: _Paths) -> None:
    """The disk, and the files that the guest boots from: none is written over, or is another's directory."""
    net, root = boot.user_net, boot.http.root
    written = (net.boot_path, net.boot_lock)
    own = "a file of its own"
    directories = (state_dir, net.tftp_dir, *([] if root is None else [root]))
    if any(paths.are_one(disk.path, each) for path in directories for each in (path, *path.parents)):
        paths.refuse("disk.path", disk.path, "is a directory of other options", own)
    elif not paths.is_rejected(disk.path) and any(
        paths.are_one(path, other) for path in (disk.path, disk.lock) for other in written
    ):
        message = "is the boot file in boot.userNet.tftpDir as well, which is written at every start"
        paths.refuse("disk.path", disk.path, message, own)
    if root is not None and any(paths.are_one(root / name, net.boot_path) for name in _SERVED):
        message = "is a file of boot.http.root, and would be written over"
        paths.refuse("boot.userNet.bootFilename", Path(net.boot_filename), message, "another name")


def _build_boot(raw: Mapping[str, Any], problems: Problems, *, paths: _Paths, state_dir: Path) -> Boot | None:
    order = problems.check("boot.order", raw["order"], checks.check_boot_order)
    progress = problems.check("boot.progressSeconds", int(raw["progressSeconds"]), checks.check_seconds)
    script = build_boot_script_settings(raw, problems)
    http, net = raw["http"], raw["userNet"]
    root = paths.take_optional("boot.http.root", http["root"])
    if http["enable"] and root is None:
        problems.add("boot.http.root", None, "must be set when boot.http.enable is true", "a directory")
    if http["port"] == 0 and raw["chainUrl"] is None and not (http["enable"] and net.get("bootFile") is None):
        expected = "1 to 65535; 0 takes a free port, which only a boot script written at run time can name"
        problems.add("boot.http.port", 0, "not usable", expected)
    hostname = problems.check("boot.userNet.hostname", net["hostname"], checks.check_guest_hostname)
    tftp_dir = paths.take("boot.userNet.tftpDir", net.get("tftpDir", str(state_dir / "tftp")))
    filename = problems.check(
        "boot.userNet.bootFilename", net["bootFilename"], checks.check_guest_boot_filename
    )
    boot_file = paths.take_optional("boot.userNet.bootFile", net.get("bootFile"))
    if raw["chainTokenFile"] is not None and boot_file is not None:
        expected = "null, because the boot file that carries boot.chainTokenFile is written at run time"
        problems.add("boot.userNet.bootFile", str(boot_file), "cannot carry a token", expected)
    model = problems.check("boot.userNet.model", net["model"], checks.check_device)
    if script is None:
        return None
    return Boot(
        order=order,
        chain=script.chain,
        progress_seconds=progress,
        http=Http(listen=script.listen, root=root if http["enable"] else None),
        user_net=UserNet(
            hostname=hostname,
            dns=script.dns,
            tftp_dir=tftp_dir,
            boot_filename=filename,
            boot_file=boot_file,
            model=model,
            host_loopback=HostLoopback(net["hostLoopback"]),
        ),
    )


def _build_chain(raw: Mapping[str, Any], problems: Problems) -> Chain | None:
    url, token_file = raw["chainUrl"], raw["chainTokenFile"]
    problems.check("boot.chainTokenFile", token_file, check_secret_path)
    if url is None:
        if token_file is not None:
            expected = "boot.chainUrl to be set, whose server asks for the token"
            problems.add("boot.chainTokenFile", token_file, "has no use", expected)
        return None
    rule = functools.partial(check_boot_url, instead="boot.chainTokenFile")
    # A URL that was rejected may hold a password: no more is said of it.
    if (
        problems.accepts("boot.chainUrl", url, rule)
        and token_file is not None
        and not url.startswith(("http:", "https:"))
    ):
        message = "cannot carry the token of boot.chainTokenFile"
        problems.add("boot.chainUrl", url, message, "an http or https URL")
    return Chain(url=url, token_file=None if token_file is None else Path(token_file))


def _build_lan(raw: Mapping[str, Any], problems: Problems) -> Lan | None:
    """The LAN; its options are checked where it is not enabled too."""
    macvtap = raw["macvtap"]
    interface, name, mac = macvtap["interface"], macvtap["name"], macvtap["macAddress"]
    model = problems.check("lan.model", raw["model"], checks.check_device)
    if raw["enable"] and interface is None:
        message = "must be set when lan.enable is true"
        problems.add("lan.macvtap.interface", None, message, checks.LINK_NAME)
    problems.check("lan.macvtap.interface", interface, checks.check_link)
    if problems.accepts("lan.macvtap.name", name, checks.check_link) and name == interface:
        problems.add("lan.macvtap.name", name, "is lan.macvtap.interface as well", "a name of its own")
    problems.check("lan.macvtap.macAddress", mac, checks.check_mac)
    if not raw["enable"] or interface is None:
        return None
    mode = MacvtapMode(macvtap["mode"])
    return Lan(model=model, macvtap=Macvtap(interface=interface, name=name, mode=mode, mac_address=mac))


def _build_extra_args(arguments: Sequence[str], problems: Problems) -> tuple[str, ...]:
    name = ""
    for index, argument in enumerate(arguments):
        rule = functools.partial(checks.check_argument_value, name)
        if problems.accepts(f"extraArgs[{index}]", argument, rule):
            problems.check(f"extraArgs[{index}]", argument, checks.check_argument)
        name = checks.find_argument_name(argument)
    return tuple(arguments)


def _build_shutdown(raw: Mapping[str, Any], problems: Problems) -> Shutdown:
    def take(name: str) -> int:
        return problems.check(f"shutdown.{name}", int(raw[name]), checks.check_seconds)

    return Shutdown(
        powerdown_seconds=take("powerdownSeconds"),
        quit_seconds=take("quitSeconds"),
        terminate_seconds=take("terminateSeconds"),
    )
