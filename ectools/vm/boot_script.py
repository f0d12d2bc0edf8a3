"""The guest's boot script: over one NIC or the other a lease, DNS, the effective URL; a shell where all fail.

What is put into the script is an IPv4 address, and a URL of RFC 3986's characters (no blank, no ``{`` and so
no ``${…}``, no quote, no backslash). ``build_boot_script`` refuses any other, because what is spliced in
unchecked could be a command.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ectools.ipxe.language import NETBOOT_NAME, is_word
from ectools.ipxe.nics import build_lease, build_nic_walk, find_nics, leave_nic
from ectools.ipxe.token import add_token
from ectools.ipxe.urls import FAILURE_MARK, URL

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.parsing import ListenAddress
    from ectools.vm.settings import Chain

HOST_IN_GUEST = "10.0.2.2"
"""This host as QEMU's user-mode network shows it to the guest; the host's end of it is 127.0.0.1."""

TRIES = 5
RETRY_PAUSE_SECONDS = 2


def find_effective_url(chain: Chain | None, listen: ListenAddress) -> str:
    """Where the boot script goes on to: the URL of ``chain``, or what listens on this host."""
    if chain is not None:
        return chain.url
    if listen.ip.is_unspecified or listen.ip == ipaddress.ip_address("127.0.0.1"):
        host = HOST_IN_GUEST
    else:
        host = f"[{listen.ip}]" if listen.ip.version == 6 else str(listen.ip)
    return f"http://{host}:{listen.port}/{NETBOOT_NAME}"


def build_boot_script(*, url: str, dns: IPv4Address, token: str | None = None) -> str:
    """The iPXE script as text, for iPXE of 2019 and later.

    The NICs are gone through a bounded number of times: the LAN's may count as the first, and reach no boot
    server. A failure's message shows ``url`` without the token.
    Raises ValueError for a URL that is not one.
    """
    if URL.fullmatch(url) is None or not is_word(url):
        raise ValueError("not a URL of RFC 3986's characters")
    lines = [
        "#!ipxe",
        "# Written by every-channel-ipxe-qemu; changes are lost at its next start.",
        "",
        *find_nics(),
        "set ec-round:int32 1",
        ":round",
        "set ec-missed lease",
        "set ec-trouble no DHCP lease",
        "set ec-for chain",
        "goto nics",
        *build_nic_walk(),
        ":nic_chain",
        "iseq ${ec-nic} ${ec-open} && goto chain ||",
        *build_lease(),
        f"set dns {dns}",
        ":chain",
        "set ec-missed chain",
        "set ec-trouble the boot script did not run",
        f"chain {url if token is None else add_token(url, token)} && exit ||",
        "imgfree ||",
        # The only one keeps its lease.
        "iseq ${ec-nics} 1 && goto no_nic_chain ||",
        *leave_nic(),
        ":no_nic_chain",
        f"iseq ${{ec-round}} {TRIES} && goto no_${{ec-missed}} ||",
        "echo every.channel: ${ec-trouble}, trying again",
        "inc ec-round",
        f"sleep {RETRY_PAUSE_SECONDS}",
        "goto round",
        ":no_lease",
        f"echo {FAILURE_MARK} no DHCP lease after {TRIES} tries",
        "shell",
        "exit 1",
        ":no_chain",
        f"echo {FAILURE_MARK} {url} did not run after {TRIES} tries",
        "shell",
        "exit 1",
    ]
    return "".join(f"{line}\n" for line in lines)
