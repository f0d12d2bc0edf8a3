"""Networks that boot, and networks that do not: dnsmasq as router, as proxy and as relay, TFTP, HTTP, DNS.

Each function starts what its name says. The files are those that firmware runs: Debian's iPXE, and the demo's
guest.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from support.boot_binaries import find_ipxe, find_signed_loaders
from support.kernels import build_zboot
from support.probe_lab import BOOT, OTHER, PORT, ROUTER, WEB
from support.staged import make_release

from ectools.demo.payload import build_payload
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.boot_files.scripts.unbooted import build_hold
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from support.probe_lab import ProbeLab

EFI = "ec-ipxe.efi"
MARK = "probed"
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


def shim_and_ipxe(lab: ProbeLab) -> None:
    """Without Secure Boot a shim starts what nobody has signed."""
    shim_and_ipxe_beside_it(lab, "dhcp-no-override")


def shim_and_ipxe_beside_it(lab: ProbeLab, *options: str) -> None:
    """dnsmasq names the file in option 67, and a shim then looks for the second stage in the root."""
    shim, _ = find_signed_loaders()
    directory = lab.tftp / "x86_64-sb"
    directory.mkdir()
    (directory / "shimx64.efi").write_bytes(shim.read_bytes())
    (directory / "grubx64.efi").write_bytes((lab.tftp / EFI).read_bytes())
    unifi(lab, f"dhcp-boot=x86_64-sb/shimx64.efi,,{BOOT}", *options)


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
    shim, _ = find_signed_loaders()
    (lab.tftp / "shimx64.efi").write_bytes(shim.read_bytes())
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


def kernel_of_another_architecture(lab: ProbeLab) -> None:
    (lab.web / "kernel").write_bytes(build_zboot())
    unifi(lab)


def no_system_for_it(lab: ProbeLab) -> None:
    """The second stage of a release whose one system is for ARM64."""
    (lab.web / "netboot.ipxe").write_text(
        build_netboot(
            load_netboot_settings(None, flags={"hostname": BOOT}, environment={}),
            make_release(architecture=KernelArchitecture.AARCH64),
            None,
        )
    )
    unifi(lab)


def held_by_the_fleet(lab: ProbeLab) -> None:
    settings = load_netboot_settings(None, flags={"hostname": BOOT, "httpPort": PORT}, environment={})
    (lab.web / "netboot.ipxe").write_text(build_hold(settings, None, why=["nuc-07 is held"]))
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
