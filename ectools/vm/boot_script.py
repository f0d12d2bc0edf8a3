"""The guest's boot script: DHCP, DNS, then on to the effective URL, and a shell where that fails.

What is put into the script is an IPv4 address, and a URL of RFC 3986's characters (no blank, no ``{`` and so
no ``${…}``, no quote, no backslash). ``build_boot_script`` refuses any other, because what is spliced in
unchecked could be a command.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ectools.ipxe.language import NETBOOT_NAME, is_word
from ectools.ipxe.token import add_token
from ectools.ipxe.urls import FAILURE_MARK, URL

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.parsing import ListenAddress
    from ectools.vm.settings import Chain

HOST_IN_GUEST = "10.0.2.2"
"""This host as QEMU's user-mode network shows it to the guest; the host's end of it is 127.0.0.1."""

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

    The steps are retried, a bounded number of times. A failure's message shows ``url`` without the token.
    Raises ValueError for a URL that is not one.
    """
    if URL.fullmatch(url) is None or not is_word(url):
        raise ValueError("not a URL of RFC 3986's characters")
    return _SCRIPT.format(
        url=url if token is None else add_token(url, token),
        shown=url,
        dns=dns,
        failed=FAILURE_MARK,
        dhcp_tries=DHCP_TRIES,
        chain_tries=CHAIN_TRIES,
        pause=RETRY_PAUSE_SECONDS,
    )
