"""Every fault that the probe knows, set up for real: dnsmasq as router and as proxy, TFTP, HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.boot_binaries import UNDIONLY, build_ipxe
from support.probe_lab import BOOT, OTHER, PORT, ROUTER, WEB, Probed, ProbeLab, build_probe_lab

from ectools.netboot.probe.faults import FaultCode

pytestmark = [pytest.mark.netns, pytest.mark.slow]

EFI = "ec-ipxe.efi"
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
NETBOOT = "#!ipxe\nkernel kernel init=/x initrd=initrd || shell\ninitrd initrd || shell\nboot\n"
AUTOEXEC = f"#!ipxe\ndhcp\nchain {WEB}/netboot.ipxe?token=t0ken || shell\n"
KERNEL = bytes(0x202) + b"HdrS" + bytes(200_000)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProbeLab]:
    """Nothing is started; the files of a working boot host are there."""
    with build_probe_lab(tmp_path) as lab:
        for directory in (lab.tftp, lab.web):
            (directory / EFI).write_bytes(build_ipxe())
            (directory / "undionly.kpxe").write_bytes(UNDIONLY)
            (directory / "autoexec.ipxe").write_text(AUTOEXEC)
        (lab.web / "netboot.ipxe").write_text(NETBOOT)
        (lab.web / "kernel").write_bytes(KERNEL)
        (lab.web / "initrd").write_bytes(bytes(300_000))
        yield lab


def unifi(lab: ProbeLab, *options: str) -> None:
    lab.start_router(*(options or (NETWORK_BOOT,)))
    lab.start_tftp()
    lab.start_web()


def proxied(lab: ProbeLab, *options: str, router: tuple[str, ...] = ()) -> None:
    lab.start_router(*router)
    lab.start_proxy(*(options or (*SERVICES, FOR_IPXE)))
    lab.start_web()


# What works is found to work.


def test_unifi_only(lab: ProbeLab) -> None:
    unifi(lab)
    probed = lab.probe("--arch", "7", "--arch", "9")
    assert (probed.status, probed.codes, probed.warnings) == (0, set(), set()), probed.report
    assert probed.outcome(7) == probed.outcome(9) == "boots"
    assert probed.architecture(7)["boot"] == {
        "kernel": f"{WEB}/kernel",
        "arguments": "init=/x initrd=initrd",
        "initrds": [f"{WEB}/initrd"],
    }
    assert lab.leased() == []


def test_proxy_with_http_boot_for_all_that_is_offered(lab: ProbeLab) -> None:
    proxied(lab, *SERVICES, FOR_IPXE, *HTTP_BOOT)
    probed = lab.probe()
    assert probed.status == 0, probed.report
    assert probed.codes == set()
    outcomes = {number: probed.outcome(number) for number in (0, 6, 7, 9, 11, 16, 19)}
    offered = dict.fromkeys((0, 7, 9, 16), "boots")
    assert outcomes == {**dict.fromkeys((6, 11, 19), "not offered"), **offered}
    # What nobody has is no fault, unless it is asked for.
    assert probed.warnings == {FaultCode.NO_BOOT_ANSWER}
    assert lab.probe("--arch", "11").codes == {FaultCode.NO_BOOT_ANSWER}
    assert lab.leased() == []


def test_both_at_once(lab: ProbeLab) -> None:
    proxied(lab, router=(NETWORK_BOOT,))
    probed = lab.probe("--arch", "7")
    assert (probed.status, probed.codes) == (0, set()), probed.report
    # The firmware follows the proxy.
    assert probed.architecture(7)["steps"][0]["takes"]["said_by"] == BOOT


# What does not is named. Each case: what is set up, which client, which codes, and words of the message.

Case = tuple[Callable[[ProbeLab], Any], int, set[FaultCode], str]


def no_server(_lab: ProbeLab) -> None:
    pass


def router_alone(lab: ProbeLab) -> None:
    lab.start_router()


def two_routers(lab: ProbeLab) -> None:
    unifi(lab)
    lab.start_dnsmasq("other", "dhcp-range=192.168.77.100,192.168.77.120,5m", NETWORK_BOOT)


def two_proxies(lab: ProbeLab) -> None:
    proxied(lab)
    # Both send to the same boot server: which of them is asked first is chance.
    services = [f"{service},{BOOT}" for service in SERVICES]
    lab.start_dnsmasq("other", "dhcp-range=192.168.77.0,proxy", "dhcp-match=set:ipxe,175", *services)


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
        f"dhcp-boot=tag:hb,http://boot.test:{PORT}/{EFI}",
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
    (lab.tftp / EFI).write_bytes(build_ipxe("1.0.0", autoexec="none"))
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
    expected = hashlib.sha256(KERNEL).hexdigest()
    check = f"sha256sum --set d kernel && iseq ${{d}} {expected} || shell"
    (lab.web / "netboot.ipxe").write_text(f"#!ipxe\nkernel kernel\n{check}\nboot\n")
    (lab.web / "kernel").write_bytes(KERNEL[:-1] + b"\x01")
    unifi(lab)


CASES: list[Case] = [
    (no_server, 7, {FaultCode.NO_DHCP_ANSWER}, "no DHCP server offers an address on eth0"),
    (router_alone, 7, {FaultCode.NO_BOOT_ANSWER}, "nobody says what to boot"),
    (two_routers, 7, {FaultCode.TWO_DHCP_SERVERS}, f"{ROUTER}, {OTHER}"),
    (two_proxies, 7, {FaultCode.TWO_PROXIES}, f"{BOOT}, {OTHER}"),
    (option_66, 7, {FaultCode.SIADDR_AGAINST_OPTION_66, FaultCode.TFTP_SILENT}, f"option 66 to {BOOT}"),
    (firewall_for_4011, 7, {FaultCode.MISSING_4011}, f"{BOOT} does not answer on UDP port 4011"),
    (router_that_says_pxeclient, 7, {FaultCode.MISSING_4011}, f"{BOOT} does not answer"),
    (firewall_for_4011, 0, {FaultCode.MISSING_4011}, "its menu's item 32768 sends the client"),
    (menu_of_two, 7, {FaultCode.MENU}, "'EC', 'another'"),
    (url_for_tftp, 7, {FaultCode.URL_FOR_TFTP, FaultCode.FILE_MISSING_TFTP}, f"{WEB}/{EFI}"),
    (http_boot_without_echo, 16, {FaultCode.HTTP_BOOT_WITHOUT_ECHO}, f"{WEB}/{EFI}"),
    (url_without_dns, 16, {FaultCode.URL_WITHOUT_DNS}, "http://boot.test"),
    (no_tftp, 7, {FaultCode.TFTP_SILENT}, f"tftp://{BOOT}/{EFI}: no answer on UDP port 69"),
    (firewall_for_tftp, 7, {FaultCode.TFTP_SILENT}, f"tftp://{BOOT}/{EFI}"),
    (no_such_file, 7, {FaultCode.FILE_MISSING_TFTP}, "not found"),
    (no_http, 7, {FaultCode.HTTP_SILENT}, f"{WEB}/netboot.ipxe?token=***"),
    (no_script, 7, {FaultCode.FILE_MISSING_HTTP}, "HTTP status 404"),
    (no_autoexec, 7, {FaultCode.NO_AUTOEXEC, FaultCode.LOOP}, "there is no autoexec.ipxe beside"),
    (untagged_service, 7, {FaultCode.NO_AUTOEXEC, FaultCode.LOOP}, "there is no autoexec.ipxe beside"),
    (
        old_binary,
        7,
        {FaultCode.OLD_IPXE, FaultCode.LOOP},
        "iPXE 1.0.0, which fetches no autoexec.ipxe over TFTP",
    ),
    (unifi, 0, {FaultCode.WRONG_ARCHITECTURE}, "a UEFI program for x64 UEFI"),
    (unifi, 11, {FaultCode.WRONG_ARCHITECTURE}, "a client of architecture 11 (ARM 64-bit UEFI)"),
    (bios_binary, 7, {FaultCode.WRONG_ARCHITECTURE}, "a program or data"),
    (page, 7, {FaultCode.SCRIPT_UNREADABLE}, "is a web page, where iPXE expects a script"),
    (next_server, 7, {FaultCode.NEXT_SERVER_IS_ROUTER, FaultCode.HTTP_SILENT}, f"sets to {ROUTER}"),
    (shell, 7, {FaultCode.NO_KERNEL_NAMED}, "the script ends in a shell"),
    (no_kernel, 7, {FaultCode.KERNEL_MISSING}, f"{WEB}/kernel: HTTP status 404"),
    (tampered_kernel, 7, {FaultCode.WRONG_SHA256}, f"{WEB}/kernel has the SHA-256"),
    (no_initrd, 7, {FaultCode.INITRD_MISSING}, f"{WEB}/initrd: HTTP status 404"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].__name__}-{case[1]}")
def test_a_fault_is_named(lab: ProbeLab, case: Case) -> None:
    set_up, number, codes, words = case
    set_up(lab)
    probed = lab.probe("--arch", str(number), *(["--verify"] if set_up is tampered_kernel else []))
    assert probed.codes == codes, probed.report
    assert probed.status == 1
    messages = [fault["message"] for fault in probed.report["faults"]]  # type: ignore[index]  # asserted
    assert any(words in message for message in messages), messages
    assert "t0ken" not in str(probed.report)
    assert lab.leased() == []


def test_every_code_is_set_up() -> None:
    assert {code for _, _, codes, _ in CASES for code in codes} == set(FaultCode)


def test_what_is_not_compared_is_taken_to_be_right(lab: ProbeLab) -> None:
    tampered_kernel(lab)
    assert lab.probe("--arch", "7").outcome(7) == "boots"


REFUSING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = int(sys.argv[1])
        self.send_response(status); self.send_header("Content-Length", "18"); self.end_headers()
        self.wfile.write(b"a token is needed\\n")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("192.168.77.2", 8123), Handler)
print("ready", flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize("status", ["401", "403", "500"])
def test_a_server_that_refuses(lab: ProbeLab, status: str) -> None:
    lab.start_router(NETWORK_BOOT)
    lab.start_tftp()
    lab.start_program("boot", REFUSING, status)
    fault = refused(lab.probe("--arch", "7"))
    assert f"HTTP status {status}: a token is needed" in fault["message"]
    assert ("chainTokenFile" in fault["remedy"]) is (status != "500")


def refused(probed: Probed) -> dict[str, Any]:
    assert probed.codes == {FaultCode.FILE_MISSING_HTTP}, probed.report
    return probed.fault(FaultCode.FILE_MISSING_HTTP)
