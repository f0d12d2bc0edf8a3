"""The guest's boot script: DHCP, DNS, then on to the effective URL, and a shell where that fails.

Everything that is put into the script has passed ``checks.py``: a URL of RFC 3986's characters (no blank, no
``{`` and so no ``${…}``, no quote, no backslash) and an IPv4 address. ``build_boot_script`` refuses anything
else, because what is spliced in unchecked could be a command.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ectools.ipxe.token import add_token
from ectools.ipxe.urls import FAILURE_MARK, URL

if TYPE_CHECKING:
    from ectools.vm.settings import Boot

HOST_IN_GUEST = "10.0.2.2"
"""This host as QEMU's user-mode network shows it to the guest; the host's end of it is 127.0.0.1."""

NETBOOT_NAME = "netboot.ipxe"

DHCP_TRIES = 3
CHAIN_TRIES = 5
RETRY_PAUSE_SECONDS = 2

_SCRIPT = """\
#!ipxe
# Written by every-channel-ipxe-qemu; changes are lost at its next start.

set try:int32 0
:lease
dhcp && goto leased ||
inc try
iseq ${{try}} {dhcp_tries} && goto no_lease ||
echo every.channel: no DHCP lease, trying again
sleep {pause}
goto lease

:leased
set dns {dns}
set try:int32 0
:chain
chain {url} && exit ||
inc try
iseq ${{try}} {chain_tries} && goto no_chain ||
echo every.channel: the boot script did not run, trying again
imgfree ||
sleep {pause}
goto chain

:no_lease
echo {failed} no DHCP lease after {dhcp_tries} tries
shell
exit 1

:no_chain
echo {failed} {shown} did not run after {chain_tries} tries
shell
exit 1
"""


def find_effective_url(boot: Boot, *, port: int | None = None) -> str:
    """Where the boot script goes on to. ``port`` is the bound one, where the settings say 0 (a free one)."""
    if boot.chain_url is not None:
        return boot.chain_url
    address = ipaddress.ip_address(boot.http.bind_ip)
    if address.is_unspecified or address == ipaddress.ip_address("127.0.0.1"):
        host = HOST_IN_GUEST
    else:
        host = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{host}:{boot.http.port if port is None else port}/{NETBOOT_NAME}"


def build_boot_script(*, url: str, dns: str, token: str | None = None) -> str:
    """The iPXE script as text, for iPXE of 2019 and later.

    The steps are retried, a bounded number of times. A failure's message shows ``url`` without the token.
    Raises ValueError for a URL or a DNS server that is not one.
    """
    if URL.fullmatch(url) is None:
        raise ValueError("not a URL of RFC 3986's characters")
    return _SCRIPT.format(
        url=url if token is None else add_token(url, token),
        shown=url,
        dns=ipaddress.IPv4Address(dns),
        failed=FAILURE_MARK,
        dhcp_tries=DHCP_TRIES,
        chain_tries=CHAIN_TRIES,
        pause=RETRY_PAUSE_SECONDS,
    )
