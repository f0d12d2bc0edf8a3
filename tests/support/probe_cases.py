"""Networks that boot and networks that do not: what the probe says of each, and what a firmware does there.

One list for both, so that no verdict is the probe's alone. The files are those that firmware runs: Debian's
iPXE, and the demo's guest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.boot_binaries import build_shim, find_ipxe
from support.netboot_clients import Firmware
from support.probe_lab import BOOT, FAR_ROUTER, OTHER, PORT, ROUTER, SECONDS, WEB

from ectools.demo.payload import UP_MARK, build_payload
from ectools.netboot.probe.faults import FaultCode

if TYPE_CHECKING:
    from support.probe_lab import ProbeLab

EFI = "ec-ipxe.efi"
MARK = "probed"
UP = f"{UP_MARK} {MARK}"
NETWORK_BOOT = f"dhcp-boot={EFI},,{BOOT}"
"""What UniFi's "Network Boot" sets: file and siaddr."""
SERVICES = (
    "pxe-service=tag:!ipxe,x86PC,EC,undionly.kpxe",
    f"pxe-service=tag:!ipxe,BC_EFI,EC,{EFI}",
    f"pxe-service=tag:!ipxe,X86-64_EFI,EC,{EFI}",
)
FOR_IPXE = f"dhcp-boot=tag:ipxe,{WEB}/netboot.ipxe,,{BOOT}"
HTTP_BOOT = (
    "dhcp-pxe-vendor=PXEClient,HTTPClient",
    "dhcp-match=set:hb,option:client-arch,16",
    f"dhcp-boot=tag:hb,{WEB}/{EFI}",
)
# no_timer_check: on a loaded machine, an emulated timer fails the kernel's test of it.
NETBOOT = (
    f"#!ipxe\nkernel kernel console=ttyS0 panic=-1 no_timer_check ec.mark={MARK} initrd=initrd || shell\n"
    "initrd initrd || shell\nboot\n"
)
AUTOEXEC = f"#!ipxe\ndhcp\nchain {WEB}/netboot.ipxe?token=t0ken || shell\n"
LATE = "dhcp-reply-delay=1"
"""Of two servers, the other one's offer comes first."""
NAME = "boot.test"
BY_NAME = f"#!ipxe\ndhcp\nchain http://{NAME}:{PORT}/netboot.ipxe?token=t0ken || shell\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, a client in it, and what comes of it.

    ``codes`` are the faults that are errors, ``warnings`` some of those that are no more; ``words`` stand in
    a fault's message, ``remedy`` in what is to be done. ``shows``: of these a firmware's console shows one,
    and no kernel's first line; none: it boots. ``unpaired``: why no firmware here can be asked. ``boots``:
    the probe's outcome, where the network has a fault beside it.
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
    boots: bool = False

    @property
    def id(self) -> str:
        return f"{self.set_up.__name__}-{self.number}"

    @property
    def firmware(self) -> Firmware:
        """The firmware of QEMU's that asks as this client."""
        return {0: Firmware.SEABIOS, 16: Firmware.OVMF_HTTP}.get(self.number, Firmware.OVMF_PXE)


def put_files(lab: ProbeLab) -> None:
    """The files of a working boot host."""
    tree = find_ipxe("forky") / "usr/lib/ipxe"
    for directory in (lab.tftp, lab.web):
        (directory / EFI).write_bytes((tree / "ipxe-amd64.efi").read_bytes())
        (directory / "undionly.kpxe").write_bytes((tree / "undionly.kpxe").read_bytes())
        (directory / "autoexec.ipxe").write_text(AUTOEXEC)
    payload = build_payload()
    (lab.web / "netboot.ipxe").write_text(NETBOOT)
    (lab.web / "kernel").write_bytes(payload.kernel.read_bytes())
    (lab.web / "initrd").write_bytes(payload.initrd.read_bytes())


def unifi(lab: ProbeLab, *options: str) -> None:
    lab.start_router(*(options or (NETWORK_BOOT,)))
    lab.start_tftp()
    lab.start_web()


def proxied(lab: ProbeLab, *options: str, router: tuple[str, ...] = ()) -> None:
    lab.start_router(*router)
    lab.start_proxy(*(options or (*SERVICES, FOR_IPXE)))
    lab.start_web()


# What works.


def http_boot(lab: ProbeLab) -> None:
    proxied(lab, *SERVICES, FOR_IPXE, *HTTP_BOOT)


def both(lab: ProbeLab) -> None:
    proxied(lab, router=(NETWORK_BOOT,))


def two_routers_of_one_mind(lab: ProbeLab) -> None:
    unifi(lab)
    lab.start_dnsmasq("other", "dhcp-range=192.168.77.100,192.168.77.120,5m", NETWORK_BOOT)


def two_proxies_of_one_mind(lab: ProbeLab) -> None:
    proxied(lab)
    services = [f"{service},{BOOT}" for service in SERVICES]
    lab.start_dnsmasq(
        "other", "dhcp-range=192.168.77.0,proxy", "dhcp-match=set:ipxe,175", *services, FOR_IPXE
    )


def relayed(lab: ProbeLab) -> None:
    lab.move_client_behind_router()
    proxied(lab, *SERVICES, FOR_IPXE, "dhcp-range=192.168.88.0,proxy")
    lab.start_relay(ROUTER, BOOT)


def name_that_the_offer_resolves(lab: ProbeLab) -> None:
    (lab.tftp / "autoexec.ipxe").write_text(BY_NAME)
    lab.start_dns(NAME, BOOT)
    unifi(lab, NETWORK_BOOT, f"dhcp-option=6,{ROUTER}")


def stateful_router_with_a_helper(lab: ProbeLab) -> None:
    lab.move_client_behind_router()
    unifi(lab)
    lab.start_relay(ROUTER)
    lab.forward_answers_alone(besides="udp sport 1024-65535")


# What does not.


def no_server(_lab: ProbeLab) -> None:
    pass


def router_alone(lab: ProbeLab) -> None:
    lab.start_router()


def two_routers(lab: ProbeLab) -> None:
    unifi(lab, NETWORK_BOOT, LATE)
    lab.start_dnsmasq("other", "dhcp-range=192.168.77.100,192.168.77.120,5m", f"dhcp-boot=other.efi,,{OTHER}")


def two_proxies(lab: ProbeLab) -> None:
    proxied(lab, *SERVICES, FOR_IPXE, LATE)
    services = [service.replace(EFI, "other.efi") for service in SERVICES]
    lab.start_dnsmasq("other", "dhcp-range=192.168.77.0,proxy", "dhcp-match=set:ipxe,175", *services)


def relay_that_leaves_the_proxy_out(lab: ProbeLab) -> None:
    lab.move_client_behind_router()
    proxied(lab, *SERVICES, FOR_IPXE, "dhcp-range=192.168.88.0,proxy")
    lab.start_relay(ROUTER)


def relayed_network_that_is_not_listed(lab: ProbeLab) -> None:
    lab.move_client_behind_router()
    proxied(lab)
    lab.start_relay(ROUTER, BOOT)


def relayed_without_4011(lab: ProbeLab) -> None:
    relayed(lab)
    lab.drop("boot", port=4011)


def stateful_router(lab: ProbeLab) -> None:
    lab.move_client_behind_router()
    unifi(lab)
    lab.start_relay(ROUTER)
    lab.forward_answers_alone()


def another_address(lab: ProbeLab) -> None:
    unifi(lab)
    lab.translate_tftp("192.168.77.202")


def file_name_for_http_boot(lab: ProbeLab) -> None:
    unifi(lab)


def file_name_with_the_echo(lab: ProbeLab) -> None:
    unifi(
        lab,
        "dhcp-match=set:hb,option:client-arch,16",
        f"dhcp-boot=tag:hb,{EFI},,{BOOT}",
        "dhcp-option-force=tag:hb,60,HTTPClient",
    )


def name_without_dns(lab: ProbeLab) -> None:
    (lab.tftp / "autoexec.ipxe").write_text(BY_NAME)
    lab.start_dns(NAME, BOOT)
    unifi(lab)


def name_that_nobody_knows(lab: ProbeLab) -> None:
    (lab.tftp / "autoexec.ipxe").write_text(BY_NAME)
    lab.start_dns("other.test", BOOT)
    unifi(lab, NETWORK_BOOT, f"dhcp-option=6,{ROUTER}")


def name_of_another_host(lab: ProbeLab) -> None:
    (lab.tftp / "autoexec.ipxe").write_text(BY_NAME)
    lab.start_dns(NAME, OTHER)
    unifi(lab, NETWORK_BOOT, f"dhcp-option=6,{ROUTER}")


def dns_that_is_silent(lab: ProbeLab) -> None:
    (lab.tftp / "autoexec.ipxe").write_text(BY_NAME)
    lab.start_dns(NAME, BOOT)
    lab.drop("router", port=53)
    unifi(lab, NETWORK_BOOT, f"dhcp-option=6,{ROUTER}")


def shim_alone(lab: ProbeLab) -> None:
    (lab.tftp / "shimx64.efi").write_bytes(build_shim())
    unifi(lab, f"dhcp-boot=shimx64.efi,,{BOOT}")


def option_66(lab: ProbeLab) -> None:
    unifi(lab, f"dhcp-option=66,{BOOT}", f"dhcp-option=67,{EFI}")


def firewall_for_4011(lab: ProbeLab) -> None:
    proxied(lab)
    lab.drop("boot", port=4011)


def router_that_says_pxeclient(lab: ProbeLab) -> None:
    unifi(lab, NETWORK_BOOT, "dhcp-option-force=60,PXEClient")


def menu_of_two(lab: ProbeLab) -> None:
    proxied(lab, *SERVICES, f"pxe-service=tag:!ipxe,X86-64_EFI,another,{EFI}")


def url_for_tftp(lab: ProbeLab) -> None:
    unifi(lab, f"dhcp-boot={WEB}/{EFI},,{BOOT}")


def http_boot_without_echo(lab: ProbeLab) -> None:
    unifi(lab, *HTTP_BOOT[1:])


def url_without_dns(lab: ProbeLab) -> None:
    unifi(
        lab,
        "dhcp-match=set:hb,option:client-arch,16",
        f"dhcp-boot=tag:hb,http://{NAME}:{PORT}/{EFI}",
        "dhcp-option-force=tag:hb,60,HTTPClient",
    )


def no_tftp(lab: ProbeLab) -> None:
    lab.start_router(NETWORK_BOOT)


def firewall_for_tftp(lab: ProbeLab) -> None:
    unifi(lab)
    lab.drop("boot", port=69)


def no_such_file(lab: ProbeLab) -> None:
    (lab.tftp / EFI).unlink()
    unifi(lab)


def no_http(lab: ProbeLab) -> None:
    lab.start_router(NETWORK_BOOT)
    lab.start_tftp()


def no_script(lab: ProbeLab) -> None:
    (lab.web / "netboot.ipxe").unlink()
    unifi(lab)


def no_autoexec(lab: ProbeLab) -> None:
    (lab.tftp / "autoexec.ipxe").unlink()
    unifi(lab)


def untagged_service(lab: ProbeLab) -> None:
    (lab.tftp / "autoexec.ipxe").unlink()
    proxied(lab, f"pxe-service=X86-64_EFI,EC,{EFI}")


def old_binary(lab: ProbeLab) -> None:
    (lab.tftp / EFI).write_bytes((find_ipxe("bookworm") / "boot/ipxe.efi").read_bytes())
    unifi(lab)


def bios_binary(lab: ProbeLab) -> None:
    unifi(lab, f"dhcp-boot=undionly.kpxe,,{BOOT}")


def page(lab: ProbeLab) -> None:
    (lab.web / "netboot.ipxe").write_text("<!doctype html>\n<title>Log in</title>\n")
    unifi(lab)


def next_server(lab: ProbeLab) -> None:
    chain = f"chain http://${{next-server}}:{PORT}/netboot.ipxe || shell"
    (lab.tftp / "autoexec.ipxe").write_text(f"#!ipxe\ndhcp\n{chain}\n")
    proxied(lab, router=(f"dhcp-boot={EFI},,{ROUTER}",))


def shell(lab: ProbeLab) -> None:
    (lab.web / "netboot.ipxe").write_text("#!ipxe\nshell\n")
    unifi(lab)


def no_kernel(lab: ProbeLab) -> None:
    (lab.web / "kernel").unlink()
    unifi(lab)


def no_initrd(lab: ProbeLab) -> None:
    (lab.web / "initrd").unlink()
    unifi(lab)


def tampered_kernel(lab: ProbeLab) -> None:
    kernel = (lab.web / "kernel").read_bytes()
    expected = hashlib.sha256(kernel).hexdigest()
    check = f"sha256sum --set d kernel && iseq ${{d}} {expected} || shell"
    (lab.web / "netboot.ipxe").write_text(f"#!ipxe\nkernel kernel\n{check}\nboot\n")
    (lab.web / "kernel").write_bytes(kernel[:-1] + b"\x01")
    unifi(lab)


WORKING = [
    Case(set_up=unifi),
    Case(set_up=http_boot, number=16),
    Case(set_up=proxied, number=0),
    Case(set_up=both),
    Case(set_up=two_routers_of_one_mind, warnings={FaultCode.TWO_DHCP_SERVERS}, words="but for the router"),
    Case(set_up=two_proxies_of_one_mind, warnings={FaultCode.TWO_PROXIES}, words=f"{BOOT}, {OTHER}"),
    Case(set_up=relayed),
    Case(set_up=name_that_the_offer_resolves),
    Case(set_up=stateful_router_with_a_helper),
]

CASES = [
    Case(
        set_up=no_server, codes={FaultCode.NO_DHCP_ANSWER}, words="no DHCP server offers an address on eth0"
    ),
    Case(set_up=router_alone, codes={FaultCode.NO_BOOT_ANSWER}, words="nobody says what to boot"),
    Case(
        set_up=two_routers,
        seconds=4,
        codes={FaultCode.TWO_DHCP_SERVERS, FaultCode.TFTP_SILENT},
        words=f"{ROUTER}, {OTHER}",
    ),
    Case(set_up=two_proxies, codes={FaultCode.TWO_PROXIES, FaultCode.TFTP_SILENT}, words=f"{BOOT}, {OTHER}"),
    Case(
        set_up=relay_that_leaves_the_proxy_out,
        codes={FaultCode.NO_BOOT_ANSWER},
        words=f"relay {FAR_ROUTER}",
        remedy="proxyDhcp.subnets",
    ),
    Case(
        set_up=relayed_network_that_is_not_listed,
        codes={FaultCode.NO_BOOT_ANSWER},
        words=f"relay {FAR_ROUTER}",
        remedy="proxyDhcp.subnets",
    ),
    Case(
        set_up=relayed_without_4011,
        codes={FaultCode.MISSING_4011},
        words=f"{BOOT} does not answer on UDP port 4011",
        remedy="behind a DHCP relay",
    ),
    Case(
        set_up=stateful_router,
        codes={FaultCode.TFTP_ANSWER_LOST},
        words="its answer is lost between the networks",
    ),
    Case(
        set_up=another_address,
        codes={FaultCode.TFTP_OTHER_ADDRESS},
        words="192.168.77.202 answers in the place of",
    ),
    Case(
        set_up=file_name_for_http_boot,
        number=16,
        codes={FaultCode.HTTP_BOOT_WITHOUT_URL},
        words=f"a file name, {EFI}, and no URL, nor option 60",
    ),
    Case(
        set_up=file_name_with_the_echo,
        number=16,
        codes={FaultCode.HTTP_BOOT_WITHOUT_URL},
        words=f"a file name, {EFI}, and no URL",
    ),
    Case(
        set_up=name_without_dns,
        codes={FaultCode.URL_WITHOUT_DNS},
        words="'boot.test' is a name, and the DHCP offer names no DNS",
    ),
    Case(
        set_up=name_that_nobody_knows,
        codes={FaultCode.NAME_UNRESOLVED},
        words=f"says {ROUTER}, the DNS server of the DHCP offer",
    ),
    Case(
        set_up=name_of_another_host, codes={FaultCode.HTTP_SILENT}, words=f"boot.test is {OTHER} by {ROUTER}"
    ),
    Case(set_up=dns_that_is_silent, codes={FaultCode.NAME_UNRESOLVED}, words=f"does not answer ({ROUTER})"),
    Case(
        set_up=shim_alone,
        codes={FaultCode.SECOND_STAGE_MISSING},
        words=f"is a shim, which starts tftp://{BOOT}/grubx64.efi",
    ),
    Case(
        set_up=option_66,
        codes={FaultCode.SIADDR_AGAINST_OPTION_66, FaultCode.TFTP_SILENT},
        words=f"option 66 to {BOOT}",
    ),
    Case(
        set_up=firewall_for_4011,
        codes={FaultCode.MISSING_4011},
        words=f"{BOOT} does not answer on UDP port 4011",
    ),
    Case(set_up=router_that_says_pxeclient, codes={FaultCode.MISSING_4011}, words=f"{BOOT} does not answer"),
    Case(
        set_up=firewall_for_4011,
        number=0,
        codes={FaultCode.MISSING_4011},
        words="its menu's item 32768 sends the client",
    ),
    Case(set_up=menu_of_two, codes={FaultCode.MENU}, words="'EC', 'another'"),
    Case(
        set_up=url_for_tftp, codes={FaultCode.URL_FOR_TFTP, FaultCode.FILE_MISSING_TFTP}, words=f"{WEB}/{EFI}"
    ),
    Case(
        set_up=http_boot_without_echo,
        number=16,
        codes={FaultCode.HTTP_BOOT_WITHOUT_ECHO},
        words=f"{WEB}/{EFI}",
    ),
    Case(set_up=url_without_dns, number=16, codes={FaultCode.URL_WITHOUT_DNS}, words="http://boot.test"),
    Case(
        set_up=no_tftp,
        codes={FaultCode.TFTP_SILENT},
        words=f"tftp://{BOOT}/{EFI}: no answer on UDP port 69: nobody listens there",
        remedy="start the TFTP server at that address",
    ),
    Case(
        set_up=firewall_for_tftp,
        codes={FaultCode.TFTP_SILENT},
        words=f"tftp://{BOOT}/{EFI}",
        remedy="firewall of that host",
    ),
    Case(set_up=no_such_file, codes={FaultCode.FILE_MISSING_TFTP}, words="not found"),
    Case(set_up=no_http, codes={FaultCode.HTTP_SILENT}, words=f"{WEB}/netboot.ipxe?token=***"),
    Case(set_up=no_script, codes={FaultCode.FILE_MISSING_HTTP}, words="HTTP status 404"),
    Case(
        set_up=no_autoexec,
        codes={FaultCode.NO_AUTOEXEC, FaultCode.LOOP},
        words="there is no autoexec.ipxe beside",
    ),
    Case(
        set_up=untagged_service,
        codes={FaultCode.NO_AUTOEXEC, FaultCode.LOOP},
        words="there is no autoexec.ipxe beside",
    ),
    Case(
        set_up=old_binary,
        codes={FaultCode.OLD_IPXE, FaultCode.LOOP},
        words="which fetches no autoexec.ipxe over TFTP",
    ),
    Case(set_up=unifi, number=0, codes={FaultCode.WRONG_ARCHITECTURE}, words="a UEFI program for x64 UEFI"),
    Case(
        set_up=unifi,
        number=11,
        codes={FaultCode.WRONG_ARCHITECTURE},
        words="a client of architecture 11 (ARM 64-bit UEFI)",
    ),
    Case(set_up=bios_binary, codes={FaultCode.WRONG_ARCHITECTURE}, words="a program or data"),
    Case(
        set_up=page, codes={FaultCode.SCRIPT_UNREADABLE}, words="is a web page, where iPXE expects a script"
    ),
    Case(
        set_up=next_server,
        codes={FaultCode.NEXT_SERVER_IS_ROUTER, FaultCode.HTTP_SILENT},
        words=f"sets to {ROUTER}",
    ),
    Case(set_up=shell, codes={FaultCode.NO_KERNEL_NAMED}, words="the script ends in a shell"),
    Case(set_up=no_kernel, codes={FaultCode.KERNEL_MISSING}, words=f"{WEB}/kernel: HTTP status 404"),
    Case(
        set_up=tampered_kernel,
        codes={FaultCode.WRONG_SHA256},
        words=f"{WEB}/kernel has the SHA-256",
        verify=True,
    ),
    Case(set_up=no_initrd, codes={FaultCode.INITRD_MISSING}, words=f"{WEB}/initrd: HTTP status 404"),
]
