"""The modules of this repository by their schemas: what each needs, and all of each turned on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from support.hosts import merge
from support.option_values import PACKAGE, list_options

from ectools.schemas import load_schema, schema_names

OPTIONS = {
    options[0].service: options for options in (list_options(load_schema(name)) for name in schema_names())
}
NEEDED: dict[str, dict[str, Any]] = {
    "ipxe-qemu": {"boot": {"http": {"root": "/srv/netboot/current"}}},
    "netboot": {"listenIP": "192.0.2.10", "hostname": "boot.example.org"},
    "node": {"package": PACKAGE},
    # Its default is the flake's source, filtered anew for each configuration. A collection of garbage that
    # begins while a filter runs ends the Nix of Debian 12.
    "runner": {"flake": "/srv/flake"},
}
"""What a module must be told."""
TOGETHER: dict[str, Any] = {
    "ipxe-qemu.boot.userNet.bootFile": None,
    "ipxe-qemu.enableKvm": True,
    "netboot.httpPort": 8081,
    "netboot.ipxe.strategy": "local",
    "netboot.release.channel": None,
    "netboot.release.source": None,
    "netboot.release.tag": None,
    "netboot.release.tarball": [
        "/srv/ec-runner-x86_64-netboot.tar.gz",
        "/srv/ec-runner-aarch64-netboot.tar.gz",
    ],
    # It needs a stage 1 with systemd, which this host does not have.
    "report.initrd.enable": False,
    # It needs systemd-boot, and this host is booted by GRUB, or not at all.
    "runner.follow.disk.enable": False,
    # What others keep is to be kept.
    "runner.overlayRoot.persist": ["/srv"],
    # It is about systems that boot over the network.
    "runner.store": "initrd",
    "runner.storeCache": None,
}
"""Values that all others can stand beside."""

ENABLED = {service: {"enable": True, **NEEDED.get(service, {})} for service in OPTIONS}
# A machine is a guest without a disk, or it is a host.
GUEST = {"publisher-guest": ENABLED["publisher-guest"]}
HOST = {service: options for service, options in ENABLED.items() if service not in GUEST}


def host(*services: dict[str, Any]) -> dict[str, Any]:
    return {"services": {"every-channel": merge(*services)}}


def turn_on_everything(services: Iterable[str]) -> dict[str, Any]:
    """A configuration in which every option of these modules has another value than its default."""
    options = [option for service in services for option in OPTIONS[service]]
    values = [TOGETHER.get(option.name, option.values[0]) for option in options]
    return merge(
        host({service: ENABLED[service] for service in services}),
        *(option.set_to(value) for option, value in zip(options, values, strict=True)),
    )
