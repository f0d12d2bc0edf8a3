"""What the probe says of each network in ``probe_networks.py``, and what a firmware does there.

One list for both, so that no verdict is the probe's alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support import probe_networks as networks
from support.netboot_clients import Firmware
from support.probe_lab import BOOT, FAR_ROUTER, OTHER, ROUTER, SECONDS, WEB
from support.probe_networks import EFI

from ectools.netboot.probe.faults import FaultCode

if TYPE_CHECKING:
    from support.probe_lab import ProbeLab

BOOTED = "Linux version"
"""A kernel's first line."""
GIVES_UP = "failed to load Boot0001"
"""What OVMF shows when it goes on to the next boot entry."""
SHELL = "iPXE>"
LOADS_ITSELF = f"tftp://{BOOT}/{EFI}..."
"""What iPXE shows that is given its own file."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, a client in it, and what comes of it.

    ``codes`` are the faults that are errors, ``warnings`` some of those that are no more; ``words`` stand in
    a fault's message, ``remedy`` in what is to be done. ``shows``: of these a firmware's console shows one,
    and no kernel's first line; none: it boots. ``unpaired``: why no firmware here can be asked.
    """

    set_up: Callable[[ProbeLab], object]
    number: int = 7
    codes: set[FaultCode] = field(default_factory=set)
    warnings: set[FaultCode] = field(default_factory=set)
    words: str = ""
    remedy: str = ""
    shows: tuple[str, ...] = ()
    unpaired: str = ""
    verify: bool = False
    seconds: float = SECONDS

    @property
    def id(self) -> str:
        return f"{self.set_up.__name__}-{self.number}"

    @property
    def firmware(self) -> Firmware:
        """The firmware of QEMU's that asks as this client."""
        return {0: Firmware.SEABIOS, 16: Firmware.OVMF_HTTP}.get(self.number, Firmware.OVMF_PXE)


WORKING = [
    Case(set_up=networks.unifi),
    Case(set_up=networks.http_boot, number=16),
    Case(set_up=networks.proxied, number=0),
    Case(set_up=networks.both),
    Case(
        set_up=networks.two_routers_of_one_mind,
        warnings={FaultCode.TWO_DHCP_SERVERS},
        words="but for the router",
    ),
    Case(set_up=networks.two_proxies_of_one_mind, warnings={FaultCode.TWO_PROXIES}, words=f"{BOOT}, {OTHER}"),
    Case(set_up=networks.relayed),
    Case(set_up=networks.name_that_the_offer_resolves),
    Case(set_up=networks.shim_and_ipxe),
    Case(set_up=networks.stateful_router_with_a_helper),
]

CASES = [
    Case(
        set_up=networks.no_server,
        shows=(GIVES_UP,),
        codes={FaultCode.NO_DHCP_ANSWER},
        words="no DHCP server offers an address on eth0",
    ),
    Case(
        set_up=networks.router_alone,
        shows=(GIVES_UP,),
        codes={FaultCode.NO_BOOT_ANSWER},
        words="nobody says what to boot",
    ),
    Case(
        set_up=networks.two_routers,
        shows=(GIVES_UP,),
        seconds=4,
        codes={FaultCode.TWO_DHCP_SERVERS, FaultCode.TFTP_SILENT},
        words=f"{ROUTER}, {OTHER}",
    ),
    Case(
        set_up=networks.two_proxies,
        shows=(GIVES_UP,),
        codes={FaultCode.TWO_PROXIES, FaultCode.TFTP_SILENT},
        words=f"{BOOT}, {OTHER}",
    ),
    Case(
        set_up=networks.relay_that_leaves_the_proxy_out,
        shows=(GIVES_UP,),
        codes={FaultCode.NO_BOOT_ANSWER},
        words=f"relay {FAR_ROUTER}",
        remedy="proxyDhcp.subnets",
    ),
    Case(
        set_up=networks.relayed_network_that_is_not_listed,
        shows=(GIVES_UP,),
        codes={FaultCode.NO_BOOT_ANSWER},
        words=f"relay {FAR_ROUTER}",
        remedy="proxyDhcp.subnets",
    ),
    Case(
        set_up=networks.relayed_without_4011,
        shows=(GIVES_UP,),
        codes={FaultCode.MISSING_4011},
        words=f"{BOOT} does not answer on UDP port 4011",
        remedy="behind a DHCP relay",
    ),
    Case(
        set_up=networks.stateful_router,
        shows=(GIVES_UP,),
        codes={FaultCode.TFTP_ANSWER_LOST},
        words="its answer is lost between the networks",
    ),
    Case(
        set_up=networks.another_address,
        shows=(GIVES_UP,),
        codes={FaultCode.TFTP_OTHER_ADDRESS},
        words="192.168.77.202 answers in the place of",
    ),
    Case(
        set_up=networks.file_name_for_http_boot,
        shows=(GIVES_UP,),
        number=16,
        codes={FaultCode.HTTP_BOOT_WITHOUT_URL},
        words=f"a file name, {EFI}, and no URL, nor option 60",
    ),
    Case(
        set_up=networks.file_name_with_the_echo,
        shows=(GIVES_UP,),
        number=16,
        codes={FaultCode.HTTP_BOOT_WITHOUT_URL},
        words=f"a file name, {EFI}, and no URL",
    ),
    Case(
        set_up=networks.name_without_dns,
        shows=(SHELL,),
        codes={FaultCode.URL_WITHOUT_DNS},
        words="'boot.test' is a name, and the DHCP offer names no DNS",
    ),
    Case(
        set_up=networks.name_that_nobody_knows,
        shows=(SHELL,),
        codes={FaultCode.NAME_UNRESOLVED},
        words=f"says {ROUTER}, the DNS server of the DHCP offer",
    ),
    Case(
        set_up=networks.name_of_another_host,
        shows=(SHELL,),
        codes={FaultCode.HTTP_SILENT},
        words=f"boot.test is {OTHER} by {ROUTER}",
    ),
    Case(
        set_up=networks.dns_that_is_silent,
        shows=(SHELL,),
        codes={FaultCode.NAME_UNRESOLVED},
        words=f"does not answer ({ROUTER})",
    ),
    Case(
        set_up=networks.shim_and_ipxe_beside_it,
        shows=("start_image() returned Not Found",),
        codes={FaultCode.SECOND_STAGE_MISSING},
        words="it looks in the root, because its name came in option 67 alone",
    ),
    Case(
        set_up=networks.shim_alone,
        shows=("start_image() returned Not Found",),
        codes={FaultCode.SECOND_STAGE_MISSING},
        words=f"is a shim, which starts tftp://{BOOT}/grubx64.efi",
    ),
    Case(
        set_up=networks.option_66,
        shows=(GIVES_UP,),
        codes={FaultCode.SIADDR_AGAINST_OPTION_66, FaultCode.TFTP_SILENT},
        words=f"option 66 to {BOOT}",
    ),
    Case(
        set_up=networks.firewall_for_4011,
        shows=(GIVES_UP,),
        codes={FaultCode.MISSING_4011},
        words=f"{BOOT} does not answer on UDP port 4011",
    ),
    Case(
        set_up=networks.router_that_says_pxeclient,
        shows=(GIVES_UP,),
        codes={FaultCode.MISSING_4011},
        words=f"{BOOT} does not answer",
    ),
    Case(
        set_up=networks.firewall_for_4011,
        unpaired="QEMU's PXE ROM is an iPXE, which the proxy gives its script at once",
        number=0,
        codes={FaultCode.MISSING_4011},
        words="its menu's item 32768 sends the client",
    ),
    Case(
        set_up=networks.menu_of_two,
        shows=("another",),
        codes={FaultCode.MENU},
        words="'EC', 'another'",
    ),
    Case(
        set_up=networks.url_for_tftp,
        shows=(GIVES_UP,),
        codes={FaultCode.URL_FOR_TFTP, FaultCode.FILE_MISSING_TFTP},
        words=f"{WEB}/{EFI}",
    ),
    Case(
        set_up=networks.http_boot_without_echo,
        shows=(GIVES_UP,),
        number=16,
        codes={FaultCode.HTTP_BOOT_WITHOUT_ECHO},
        words=f"{WEB}/{EFI}",
    ),
    Case(
        set_up=networks.url_without_dns,
        shows=(GIVES_UP,),
        number=16,
        codes={FaultCode.URL_WITHOUT_DNS},
        words="http://boot.test",
    ),
    Case(
        set_up=networks.no_tftp,
        shows=(GIVES_UP,),
        codes={FaultCode.TFTP_SILENT},
        words=f"tftp://{BOOT}/{EFI}: no answer on UDP port 69: nobody listens there",
        remedy="start the TFTP server at that address",
    ),
    Case(
        set_up=networks.firewall_for_tftp,
        shows=(GIVES_UP,),
        codes={FaultCode.TFTP_SILENT},
        words=f"tftp://{BOOT}/{EFI}",
        remedy="firewall of that host",
    ),
    Case(
        set_up=networks.no_such_file,
        shows=(GIVES_UP,),
        codes={FaultCode.FILE_MISSING_TFTP},
        words="not found",
    ),
    Case(
        set_up=networks.no_http,
        shows=(SHELL,),
        codes={FaultCode.HTTP_SILENT},
        words=f"{WEB}/netboot.ipxe?token=***",
    ),
    Case(
        set_up=networks.no_script,
        shows=(SHELL,),
        codes={FaultCode.FILE_MISSING_HTTP},
        words="HTTP status 404",
    ),
    Case(
        set_up=networks.no_autoexec,
        shows=(LOADS_ITSELF,),
        codes={FaultCode.NO_AUTOEXEC, FaultCode.LOOP},
        words="there is no autoexec.ipxe beside",
    ),
    Case(
        set_up=networks.untagged_service,
        shows=(LOADS_ITSELF,),
        codes={FaultCode.NO_AUTOEXEC, FaultCode.LOOP},
        words="there is no autoexec.ipxe beside",
    ),
    Case(
        set_up=networks.old_binary,
        shows=(LOADS_ITSELF,),
        codes={FaultCode.OLD_IPXE, FaultCode.LOOP},
        words="which fetches no autoexec.ipxe over TFTP",
    ),
    Case(
        set_up=networks.unifi,
        shows=("Could not boot image: Exec format error",),
        number=0,
        codes={FaultCode.WRONG_ARCHITECTURE},
        words="a UEFI program for x64 UEFI",
    ),
    Case(
        set_up=networks.unifi,
        unpaired="no ARM64 machine stands in this lab",
        number=11,
        codes={FaultCode.WRONG_ARCHITECTURE},
        words="a client of architecture 11 (ARM 64-bit UEFI)",
    ),
    Case(
        set_up=networks.bios_binary,
        shows=(GIVES_UP,),
        codes={FaultCode.WRONG_ARCHITECTURE},
        words="a program or data",
    ),
    Case(
        set_up=networks.page,
        shows=(SHELL,),
        codes={FaultCode.SCRIPT_UNREADABLE},
        words="is a web page, where iPXE expects a script",
    ),
    Case(
        set_up=networks.next_server,
        shows=(SHELL,),
        codes={FaultCode.NEXT_SERVER_IS_ROUTER, FaultCode.HTTP_SILENT},
        words=f"sets to {ROUTER}",
    ),
    Case(
        set_up=networks.shell,
        shows=(SHELL,),
        codes={FaultCode.NO_KERNEL_NAMED},
        words="the script ends in a shell",
    ),
    Case(
        set_up=networks.no_kernel,
        shows=(SHELL,),
        codes={FaultCode.KERNEL_MISSING},
        words=f"{WEB}/kernel: HTTP status 404",
    ),
    Case(
        set_up=networks.tampered_kernel,
        shows=(SHELL,),
        codes={FaultCode.WRONG_SHA256},
        words=f"{WEB}/kernel has the SHA-256",
        verify=True,
    ),
    Case(
        set_up=networks.kernel_of_another_architecture,
        shows=(SHELL,),
        codes={FaultCode.FOREIGN_KERNEL},
        words=f"{WEB}/kernel is a kernel for aarch64",
    ),
    Case(
        set_up=networks.no_system_for_it,
        shows=("no system for",),
        codes={FaultCode.NO_SYSTEM},
        words="the release that is served has no system for x86_64",
    ),
    Case(
        set_up=networks.held_by_the_fleet,
        shows=("asking again every",),
        codes={FaultCode.HELD},
        words="boots nothing: the fleet says so",
        remedy="--mac",
    ),
    Case(
        set_up=networks.no_initrd,
        shows=(SHELL,),
        codes={FaultCode.INITRD_MISSING},
        words=f"{WEB}/initrd: HTTP status 404",
    ),
]
