"""The facts of a service's settings that its units ask for; nix/modules has the same of NixOS's options.

``options`` are the service's as the schema has them, with its defaults.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ectools.service.unit_text import escape_specifiers, quote_item, quote_word
from ectools.vm.settings import GUEST_CONFIG, KvmPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ectools.service.programs import Programs
    from ectools.vm.settings import GuestSettings

NETBOOT_PATH = "/etc/every-channel/netboot.json"
_MOST = 250_000
"""Of connections and transfers: more than a host has descriptors for counts as so many."""
_PRIVILEGED = 1024


def build_netboot_facts(options: Mapping[str, Any], programs: Programs) -> dict[str, Any]:
    """What ``netboot.toml`` asks for."""
    state_dir = options["stateDir"]
    status = options["fleet"]["listen"]
    connections = min(options["maxConnections"], _MOST)
    transfers = min(options["tftp"]["maxTransfers"], _MOST)
    # One that has a name may have any address.
    state_hosts = [
        urlsplit(each).hostname or "" for each in (options["fleet"]["state"] or "").split(",") if each
    ]
    is_local = status is None or status.startswith(("127.", "[::1]"))
    return {
        **_find_commands(programs, NETBOOT_PATH),
        "kill": quote_word(str(programs.kill)),
        "nft": quote_word(str(programs.nft)),
        "systemctl": quote_word(str(programs.systemctl)),
        "stateDir": escape_specifiers(state_dir),
        "quotedStateDir": quote_item(state_dir),
        "writableStateDir": quote_item(f"-{state_dir}"),
        "writableFleetDir": quote_item(f"-{state_dir}/fleet"),
        "chainToken": _credential("chain-token", options["chainTokenFile"]),
        "forgeToken": _credential("forge-token", options["release"]["tokenFile"]),
        "storeCredentials": _credential("store-credentials", options["release"]["credentialsFile"]),
        "accessToken": _credential("access-token", options["fleet"]["accessTokenFile"]),
        "stateCredentials": _credential("state-credentials", options["fleet"]["stateCredentialsFile"]),
        "remote": options["ipxe"]["strategy"] == "remote",
        "proxyDhcp": options["proxyDhcp"]["enable"],
        "refreshing": options["release"]["refresh"] is not None,
        "refresh": options["release"]["refresh"],
        "httpPort": options["httpPort"],
        "privilegedPort": options["httpPort"] < _PRIVILEGED
        or (status is not None and _port_of(status) < _PRIVILEGED),
        "statusSocket": []
        if status is None
        else [f"{'ipv6' if status.startswith('[') else 'ipv4'}:tcp:{_port_of(status)}"],
        # Who asks for health and metrics from elsewhere is in no option.
        "limitedToNetworks": bool(options["httpAllowedCIDRs"])
        and is_local
        and all(map(_is_address, state_hosts)),
        "allowedAddresses": _unique(
            [
                *options["httpAllowedCIDRs"],
                *options["trustedProxies"],
                *state_hosts,
                "localhost",
                options["listenIP"],
            ]
        ),
        # A connection takes a socket and a file; its buffers in the kernel count too.
        "httpFiles": 4 * connections + 1024,
        "httpMemory": 256 + connections,
        # A transfer takes a socket.
        "tftpFiles": transfers + 1024,
        "tftpMemory": 256 + transfers // 32,
    }


def build_guest_facts(
    options: Mapping[str, Any], settings: GuestSettings, programs: Programs
) -> dict[str, Any]:
    """What ``ipxe-qemu.toml`` asks for; ``settings`` has the defaults that are computed."""
    writable = list_writable(settings)
    http = options["boot"]["http"]
    root = [http["root"]] if http["enable"] and http["root"] is not None else []
    return {
        **_find_commands(programs, str(GUEST_CONFIG)),
        "runner": quote_word(str(programs.runner)),
        "stateDir": escape_specifiers(str(settings.state_dir)),
        "mounts": [quote_item(each) for each in [*writable, *root]],
        "writableDirectories": [quote_item(f"-{each}") for each in writable],
        "chainToken": _credential("chain-token", options["boot"]["chainTokenFile"]),
        "kvm": settings.kvm is not KvmPolicy.NEVER,
        "lan": settings.lan is not None,
        "filtered": options["boot"]["userNet"]["hostLoopback"] == "boot-server",
        "privilegedPort": http["enable"] and http["port"] < _PRIVILEGED,
        "stopSeconds": sum(vars(settings.shutdown).values()) + 20,
        # A bound, not a reservation: QEMU's translation cache under TCG has up to 1024 MiB; the rest is for
        # QEMU itself, the runner and the boot HTTP server. Pages of the disk count too, and are given back.
        "memory": settings.memory_mib + 32 * settings.vcpus + 1536,
        # QEMU's virtual CPUs, and its workers (64 for its disks) and those of the boot HTTP server.
        "tasks": settings.vcpus + 256,
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def list_writable(settings: GuestSettings) -> list[str]:
    """The directories that the guest's runner writes to."""
    directories = (settings.state_dir, settings.disk.path.parent, settings.boot.user_net.tftp_dir)
    return _unique(map(str, directories))


def _find_commands(programs: Programs, config: str) -> dict[str, str]:
    return {"ectools": quote_word(str(programs.ectools)), "config": config}


def _credential(name: str, file: str | None) -> list[str]:
    return [] if file is None else [f"{name}:{escape_specifiers(file)}"]


def _port_of(listen: str) -> int:
    return int(listen.rpartition(":")[2])


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
