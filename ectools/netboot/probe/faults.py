"""Faults of a network's boot, by code, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ectools.netboot.probe.clients.client import Client


class FaultCode(StrEnum):
    """Stable names of faults, for programs and for the guide's index of symptoms."""

    NO_DHCP_ANSWER = "no-dhcp-answer"
    NO_BOOT_ANSWER = "no-boot-answer"
    TWO_DHCP_SERVERS = "two-dhcp-servers"
    TWO_PROXIES = "two-proxies"
    SIADDR_AGAINST_OPTION_66 = "siaddr-against-option-66"
    MISSING_4011 = "missing-4011"
    MENU = "menu"
    URL_FOR_TFTP = "url-for-tftp"
    HTTP_BOOT_WITHOUT_ECHO = "http-boot-without-echo"
    HTTP_BOOT_WITHOUT_URL = "http-boot-without-url"
    URL_WITHOUT_DNS = "url-without-dns"
    NAME_UNRESOLVED = "name-unresolved"
    TFTP_SILENT = "tftp-silent"
    TFTP_ANSWER_LOST = "tftp-answer-lost"
    TFTP_OTHER_ADDRESS = "tftp-other-address"
    FILE_MISSING_TFTP = "file-missing-tftp"
    HTTP_SILENT = "http-silent"
    FILE_MISSING_HTTP = "file-missing-http"
    WRONG_ARCHITECTURE = "wrong-architecture"
    SECOND_STAGE_MISSING = "second-stage-missing"
    OLD_IPXE = "old-ipxe"
    NO_AUTOEXEC = "no-autoexec"
    LOOP = "loop"
    SCRIPT_UNREADABLE = "script-unreadable"
    NEXT_SERVER_IS_ROUTER = "next-server-is-router"
    NO_KERNEL_NAMED = "no-kernel-named"
    NO_SYSTEM = "no-system"
    FOREIGN_KERNEL = "foreign-kernel"
    HELD = "held"
    KERNEL_MISSING = "kernel-missing"
    INITRD_MISSING = "initrd-missing"
    WRONG_SHA256 = "wrong-sha256"


class Severity(StrEnum):
    """How bad a fault is. A warning is reported, and does not make the probe fail."""

    ERROR = "error"
    WARNING = "warning"


REMEDIES: dict[FaultCode, str] = {
    FaultCode.NO_DHCP_ANSWER: (
        "see that the network's DHCP server runs, that the interface is in its network (cable, VLAN, "
        "port isolation, DHCP guarding), and that its range has addresses left"
    ),
    FaultCode.NO_BOOT_ANSWER: (
        "UniFi-only: turn on Network Boot in the network's DHCP settings, with the boot host's "
        "address and the file name; ProxyDHCP: start every-channel-netboot with proxyDhcp.enable, and "
        "open UDP 67"
    ),
    FaultCode.TWO_DHCP_SERVERS: "turn one of them off: a client takes whichever answers first",
    FaultCode.TWO_PROXIES: "leave one of them: a firmware asks one, and not the same one each time",
    FaultCode.SIADDR_AGAINST_OPTION_66: (
        "set siaddr (the next server): in UniFi it is Network Boot that sets it, and options 66 and 67 do not"
    ),
    FaultCode.MISSING_4011: (
        "let the proxy listen on UDP 4011 and open it in its firewall (UDP, not TCP); a DHCP server "
        "that is no proxy must not send option 60 PXEClient"
    ),
    FaultCode.MENU: "leave one pxe-service for each architecture: many firmwares stop at a menu",
    FaultCode.URL_FOR_TFTP: (
        "give the PXE of a firmware a file name, and the URL to iPXE (user class iPXE) or to HTTPClient alone"
    ),
    FaultCode.HTTP_BOOT_WITHOUT_ECHO: (
        "answer with option 60 HTTPClient; dnsmasq: dhcp-pxe-vendor=PXEClient,HTTPClient in proxy "
        "mode, dhcp-option-force=tag:…,60,HTTPClient as DHCP server"
    ),
    FaultCode.HTTP_BOOT_WITHOUT_URL: (
        "give HTTPClient a whole URL and option 60 HTTPClient (proxyDhcp.enable does), or boot this machine "
        "by PXE: a router's Network Boot has a file name alone"
    ),
    FaultCode.URL_WITHOUT_DNS: (
        "write an address in place of the name (option hostname, then ectools netboot ipxe), or let the DHCP "
        "server give option 6"
    ),
    FaultCode.NAME_UNRESOLVED: (
        "give the name an address on the DNS server that the network's DHCP names, or write an address in "
        "its place (option hostname, then ectools netboot ipxe)"
    ),
    FaultCode.TFTP_SILENT: (
        "start the TFTP server at that address, and open UDP 69 in its firewall (dnsmasq: "
        "enable-tftp; no-dhcp-interface turns TFTP off too)"
    ),
    FaultCode.TFTP_ANSWER_LOST: (
        "let the firewall between the networks pass UDP from the boot host to the clients: TFTP answers from "
        "a new port, which it takes for a stranger (or turn its TFTP helper on: conntrack, ALG); or use UEFI "
        "HTTP boot, or a boot host in the clients' network"
    ),
    FaultCode.TFTP_OTHER_ADDRESS: (
        "let the TFTP server answer from the address that it is asked at: bind it to that one (dnsmasq: "
        "listen-address), and run it in the host's network, not behind the NAT of a container"
    ),
    FaultCode.FILE_MISSING_TFTP: (
        "put the file into the TFTP directory, readable to dnsmasq: ectools netboot ipxe does; or set "
        "the name that is there"
    ),
    FaultCode.HTTP_SILENT: (
        "start the HTTP server at that address and port, and open the port in its firewall, and in "
        "those between"
    ),
    FaultCode.FILE_MISSING_HTTP: (
        "stage a release: ectools netboot stage; and compare the URL with what is served"
    ),
    FaultCode.WRONG_ARCHITECTURE: (
        "offer a binary for this architecture (options ipxe.*File, with proxyDhcp.enable); a router's "
        "Network Boot has one file for all, so leave it to the architecture that you have"
    ),
    FaultCode.SECOND_STAGE_MISSING: (
        "put what this shim starts where it looks for it, under the name that is built into it, over the "
        "same protocol (ipxe.extraFiles)"
    ),
    FaultCode.OLD_IPXE: (
        "take an iPXE of 2022 or later for TFTP, of April 2024 or later for HTTP boot: ectools "
        "netboot ipxe; or ipxe.strategy embedded"
    ),
    FaultCode.NO_AUTOEXEC: (
        "put autoexec.ipxe beside the binary: ectools netboot ipxe; or answer the user class iPXE "
        "with the script (proxyDhcp.enable does)"
    ),
    FaultCode.LOOP: (
        "tell iPXE where to go next: autoexec.ipxe beside a UEFI binary, a script built into it, or "
        "another answer to the user class iPXE (tag:!ipxe on the pxe-service)"
    ),
    FaultCode.SCRIPT_UNREADABLE: "its first line must be #!ipxe; a page of a proxy or a login is none",
    FaultCode.NEXT_SERVER_IS_ROUTER: (
        "write the boot host's address into the script, or ${proxydhcp/next-server}, or ${cwduri}"
    ),
    FaultCode.NO_KERNEL_NAMED: (
        "let the script name a kernel and boot it: ectools netboot ipxe --print netboot"
    ),
    FaultCode.NO_SYSTEM: (
        "stage a release that has a system for this architecture (option release.systems), or offer its"
        " machines no boot binary (options ipxe.*File)"
    ),
    FaultCode.FOREIGN_KERNEL: (
        "stage a release with a system for this architecture too: the boot script gives each machine its own"
        " (option release.systems)"
    ),
    FaultCode.HELD: (
        "give the machine a node in the fleet that boots (ectools fleet show NODE), or ask as one that has:"
        " ectools netboot probe --mac"
    ),
    FaultCode.KERNEL_MISSING: "stage a release: ectools netboot stage",
    FaultCode.INITRD_MISSING: "stage a release: ectools netboot stage",
    FaultCode.WRONG_SHA256: (
        "ectools netboot releases verify tells which file is damaged; stage the release again, or roll back;"
        " a mirror must give what this server gives"
    ),
}


@dataclass(frozen=True, kw_only=True)
class BootFault:
    """A fault that was found. ``client`` is whom it stops, None where it is the network's."""

    code: FaultCode
    message: str
    client: Client | None = None
    severity: Severity = Severity.ERROR
    remedy: str | None = None

    @property
    def advice(self) -> str:
        """The remedy of this case, else of its code."""
        return self.remedy or REMEDIES[self.code]
