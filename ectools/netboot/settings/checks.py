"""What the schema cannot say of the settings: values that do not fit each other, or that no service takes."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

from ectools.errors import Problem
from ectools.ipxe.urls import expect_url
from ectools.netboot.settings.model import OPTION_PREFIX, Strategy, parse_listen_address
from ectools.redact import redact_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# RFC 1123, section 2.1. What it lets through can stand in a URL, in a script and in dnsmasq's configuration.
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    re.ASCII,
)
_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,15}", re.ASCII)
# DHCP's file field has 128 bytes with a NUL (RFC 2131, section 2).
_MAX_BOOT_FILENAME = 127
_STORE = "/nix/store/"


def find_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """Every bad field of settings that the schema accepts and whose literal defaults are filled in."""
    return [
        *_find_address_problems(raw),
        *_find_access_problems(raw),
        *_find_path_problems(raw),
        *_find_proxy_problems(raw),
        *_find_release_problems(raw["release"]),
        *_find_fleet_problems(raw["fleet"]),
        *_find_ipxe_problems(raw["ipxe"], tokened=raw["chainTokenFile"] is not None),
    ]


def _bad(option: str, value: Any, message: str, expected: str) -> Problem:
    return Problem(
        option=f"{OPTION_PREFIX}.{option}",
        message=f"{message}: {json.dumps(value)}",
        value=value,
        expected=expected,
    )


def _parse(kind: Callable[[str], Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return None


def _find_address_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    listen_ip = raw.get("listenIP")
    if listen_ip is not None:
        address = _parse(ipaddress.IPv4Address, listen_ip)
        if address is None or address.is_multicast or address.is_unspecified:
            yield _bad("listenIP", listen_ip, "not usable", "an IPv4 address of this host: 192.0.2.10")
    if raw["interface"] is not None and _INTERFACE.fullmatch(raw["interface"]) is None:
        yield _bad("interface", raw["interface"], "not usable", "the name of an interface: enp3s0")
    hostname = raw["hostname"]
    # What looks like an address has to be one: 10.1 would be a host name.
    if _HOSTNAME.fullmatch(hostname) is None or (
        hostname.rpartition(".")[2].isdecimal() and _parse(ipaddress.IPv4Address, hostname) is None
    ):
        yield _bad("hostname", hostname, "not usable", "a host name, or an IPv4 address: 192.0.2.10")
    if raw["httpPort"] == 0:
        # The scripts name the port, and are written before the server is bound.
        yield _bad("httpPort", 0, "not usable", "the port that clients are sent to: 8080")
    filename = raw["tftpBootFilename"]
    if len(filename) > _MAX_BOOT_FILENAME:
        yield _bad("tftpBootFilename", filename, "too long", f"at most {_MAX_BOOT_FILENAME} bytes")
    for index, mirror in enumerate(raw["mirrors"]):
        expected = expect_url(mirror, instead="chainTokenFile")
        if expected is None and ("?" in mirror or "#" in mirror):
            expected = "a URL without query and fragment, because paths are appended to it"
        if expected is not None:
            shown = redact_user(mirror)
            yield _bad(f"mirrors[{index}]", shown, "not usable", expected)


def _find_access_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for option in ("httpAllowedCIDRs", "trustedProxies"):
        for index, text in enumerate(raw[option]):
            where = f"{option}[{index}]"
            if _parse(ipaddress.ip_network, text) is not None:
                continue
            network = _parse(lambda value: ipaddress.ip_network(value, strict=False), text)
            if network is not None:
                yield _bad(where, text, "has bits set behind the prefix", f"{network}, or an address alone")
            else:
                yield _bad(where, text, "not usable", "a network: 192.0.2.0/24, 2001:db8::/32")


def _find_path_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    paths = {
        "stateDir": raw["stateDir"],
        "chainTokenFile": raw["chainTokenFile"],
        "release.tarball": raw["release"]["tarball"],
        "release.tokenFile": raw["release"]["tokenFile"],
        "release.signature.publicKeyFile": raw["release"]["signature"]["publicKeyFile"],
        "ipxe.embeddedFile": raw["ipxe"].get("embeddedFile"),
    }
    for option, path in paths.items():
        if path is None:
            continue
        # systemd ignores a path with ".." in it, and the service could not write there.
        if not path.startswith("/") or ".." in path.split("/") or not path.isprintable():
            yield _bad(option, path, "not usable", "an absolute path, without .. or control characters")
        elif option in ("chainTokenFile", "release.tokenFile") and path.startswith(_STORE):
            yield _bad(option, path, "in the Nix store, which everyone can read", "a path outside of it")


def _find_proxy_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    text = raw["proxyDhcp"]["subnet"]
    if text is None:
        if raw["proxyDhcp"]["enable"]:
            yield _bad("proxyDhcp.subnet", None, "must be set when proxyDhcp.enable is true", "192.0.2.0/24")
        return
    subnet = _parse(ipaddress.IPv4Network, text)
    if subnet is None:
        loose = _parse(lambda value: ipaddress.IPv4Network(value, strict=False), text)
        expected = "a network: 192.0.2.0/24" if loose is None else str(loose)
        yield _bad("proxyDhcp.subnet", text, "not usable", expected)
        return
    listen_ip = _parse(ipaddress.IPv4Address, raw.get("listenIP") or "")
    if raw["proxyDhcp"]["enable"] and listen_ip is not None and listen_ip not in subnet:
        yield _bad("proxyDhcp.subnet", text, "listenIP is not in it", f"the network of {listen_ip}")


def _find_release_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    if raw["tag"] is not None and raw["tarball"] is not None:
        yield _bad("release.tarball", raw["tarball"], "set beside release.tag", "one of the two")
    if raw["tag"] is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+/-]*", raw["tag"]) is None:
        yield _bad("release.tag", raw["tag"], "not usable", "the name of a tag: boot-v2026.03.02")
    if re.fullmatch(r"[^/\0]+", raw["artifact"]) is None:
        yield _bad("release.artifact", raw["artifact"], "not usable", "a file name, with * and ?")
    signature = raw["signature"]
    if (signature["format"] is None) != (signature["publicKeyFile"] is None):
        missing = "format" if signature["format"] is None else "publicKeyFile"
        yield _bad(
            f"release.signature.{missing}",
            None,
            "must be set together with the other of release.signature",
            "format and publicKeyFile, or neither",
        )


def _find_fleet_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        parse_listen_address(raw["listen"])
    except ValueError:
        yield _bad(
            "fleet.listen", raw["listen"], "not usable", "an address and a port: 127.0.0.1:9090, [::1]:9090"
        )


def _find_ipxe_problems(raw: Mapping[str, Any], *, tokened: bool) -> Iterator[Problem]:
    strategy = Strategy(raw["strategy"])
    needs = {
        Strategy.LOCAL: ("localFile",),
        Strategy.REMOTE: ("remoteUrl", "remoteSha256"),
        Strategy.EMBEDDED: ("embeddedFile",),
        Strategy.AUTOEXEC: (),
    }
    for option in needs[strategy]:
        if raw.get(option) is None:
            yield _bad(
                f"ipxe.{option}", None, f'must be set when ipxe.strategy is "{strategy}"', "a value for it"
            )
    if strategy is Strategy.EMBEDDED and tokened:
        yield _bad(
            "ipxe.strategy",
            str(strategy),
            "cannot carry the token of chainTokenFile: the binary is in the Nix store",
            '"autoexec", whose script is written when the service starts',
        )
    if raw["remoteUrl"] is not None and (
        expected := expect_url(raw["remoteUrl"], instead="no option: the binary has to be public, and it")
    ):
        yield _bad("ipxe.remoteUrl", redact_user(raw["remoteUrl"]), "not usable", expected)
