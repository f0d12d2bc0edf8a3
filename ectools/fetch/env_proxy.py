"""Which proxy the environment names for a URL, as Python has it; no_proxy may hold networks, as for curl."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_USER = "%:!$&'()*+,;="


def find_proxy(url: str) -> str | None:
    """The proxy's URL (http_proxy, https_proxy, all_proxy; no_proxy); None: straight to the server.

    What is on this machine is reached without one. A user and password are percent-encoded in it.
    """
    parts = urlsplit(url)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    host = parts.hostname or ""
    if not proxy or host == "localhost" or proxy_bypass(f"{host}:{parts.port or ''}".rstrip(":")):
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if address.is_loopback or any(
            address in network for network in _list_networks(proxies.get("no", ""))
        ):
            return None
    return _encode_user(proxy if "://" in proxy else f"http://{proxy}")


def _encode_user(proxy: str) -> str:
    """``proxy``, in whose password nothing is taken for the end of its host's name, and shown as such.

    RFC 3986, section 3.2.1, says what needs no percent-encoding there; what is encoded already stays.
    """
    scheme, _, rest = proxy.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{quote(user, safe=_IN_USER)}{at}{host}"


def _list_networks(no_proxy: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for text in no_proxy.split(","):
        try:
            yield ipaddress.ip_network(text.strip(" []"), strict=False)
        except ValueError:
            continue  # a host's name
