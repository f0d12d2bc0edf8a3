"""Hosts with ec-netboot, for the tests that evaluate and build them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.hosts import merge
from support.variants import Variants

OPTION = "services.every-channel.netboot"
UNIT = "every-channel-netboot"
UNITS = (UNIT, f"{UNIT}-ipxe", f"{UNIT}-stage", f"{UNIT}-dnsmasq")
SETTINGS = 'settings."every-channel/netboot.json"'
STATE = "/var/lib/every-channel/netboot"
LISTEN: dict[str, Any] = {"listenIP": "192.0.2.10"}
PROXY = merge(LISTEN, {"proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24"}})
REMOTE = merge(
    LISTEN,
    {"ipxe": {"strategy": "remote", "remoteUrl": "https://a.example.org/a.efi", "remoteSha256": "0" * 64}},
)
ODD = """/var/lib/a %n"b'c\\d é"""
EVERYTHING = merge(
    PROXY,
    {"interface": "enp3s0", "stateDir": ODD, "chainTokenFile": f"{ODD}/chain"},
    {"release": {"tag": "boot-v1", "tokenFile": f"{ODD}/forge", "refresh": "daily"}},
    {"fleet": {"accessTokenFile": f"{ODD}/access"}},
)


def host(options: dict[str, Any]) -> dict[str, Any]:
    return {"services": {"every-channel": {"netboot": {"enable": True, **options}}}}


def read_units(variants: Variants, options: dict[str, Any]) -> list[list[str]]:
    """The lines of the units, in the order of ``UNITS``."""
    (found,) = variants.evaluate(["texts"], [host(options)])
    return [found["texts"][f"{name}.service"].splitlines() for name in UNITS]


def build_unit(variants: Variants, options: dict[str, Any], name: str) -> Path:
    return variants.build(f'units."{name}.service"', host(options)) / f"{name}.service"
