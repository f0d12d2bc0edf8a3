"""Each option of each module changed in turn, on a host that has all modules: what it does, and leaves alone.

The values are made of the schemas. What is written down here is what a schema does not know: which changes a
module must refuse, and in which words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.hosts import merge
from support.option_matrix import ENABLED, GUEST, HOST, OPTIONS, host, turn_on_everything
from support.option_values import PACKAGE, Option
from support.variants import Variants

from ectools.errors import ProblemsError

pytestmark = [pytest.mark.nix]

PREFIX = "services.every-channel"
REFUSED = {
    "ipxe-qemu": "ipxe-qemu.boot.http.root must be set when boot.http.enable is true",
    "netboot": "netboot.listenIP must be set: this host's IPv4 address on the clients' network",
    "node": (
        "node.package must be set when enable is true: the daemon is not part of every.channel's network boot"
    ),
}
"""What it says where it was not."""
SIGNATURE = "netboot.release.signature"
NO_STATE = (
    "netboot.fleet.state must be set when fleet.stateCredentialsFile or fleet.stateCaFile is set: "
    "there is no server to use them with"
)
FIRES: dict[tuple[str, str], list[str]] = {
    ("ipxe-qemu.boot.userNet.dnsServers", "[]"): ["ipxe-qemu.boot.userNet.dnsServers must not be empty"],
    ("ipxe-qemu.boot.http.port", "0"): [
        'ipxe-qemu.boot.http.port must not be 0 unless boot.userNet.hostLoopback is "all"'
    ],
    ("ipxe-qemu.boot.http.bindIp", '"0.0.0.0"'): [
        (
            "ipxe-qemu.boot.http listens where netboot.httpPort does: "
            "set ipxe-qemu.boot.http.port to another port, or its bindIp to another address of this host"
        )
    ],
    ("ipxe-qemu.lan.enable", "true"): ["ipxe-qemu.lan.macvtap.interface must be set when lan.enable is true"],
    ("netboot.proxyDhcp.enable", "true"): [
        "netboot.proxyDhcp.subnet must be set when proxyDhcp.enable is true"
    ],
    ("netboot.ipxe.strategy", '"local"'): [
        'netboot.ipxe.localFile must be set when ipxe.strategy is "local"'
    ],
    ("netboot.ipxe.strategy", '"remote"'): [
        'netboot.ipxe.remoteUrl must be set when ipxe.strategy is "remote"',
        'netboot.ipxe.remoteSha256 must be set when ipxe.strategy is "remote"',
    ],
    ("report.initrd.enable", "true"): [
        "report.initrd.enable needs a stage 1 with systemd: set boot.initrd.systemd.enable, or switch it off"
    ],
    ("runner.store", '"http"'): [
        (
            "runner.store is about systems that boot over the network: "
            "import nixpkgs' installer/netboot/netboot.nix, or leave it out"
        ),
        'runner.store = "http" needs a stage 1 with systemd: set boot.initrd.systemd.enable',
    ],
    ("runner.storeCache", '"/dev/disk/by-partlabel/ec-store-cache"'): [
        (
            "runner.storeCache keeps what stage 1 fetches: "
            'set services.every-channel.runner.store = "http", or leave it out'
        )
    ],
    ("netboot.release.source", '"s3://boot/releases?endpoint=https://s3.example.org&region=garage"'): [
        (
            "netboot.release.channel or release.tag must be set when release.source is no forge: "
            "nothing else says which release is wanted"
        )
    ],
    ("netboot.release.channel", '"stable"'): [
        (
            "netboot.release.signature must be set when release.channel or a group's channel is: "
            "who leads a channel is known by its signature"
        )
    ],
    **{
        (f"{SIGNATURE}.format", json.dumps(form)): [
            f"{SIGNATURE}.publicKeyFile must be set when release.signature.format is set"
        ]
        for form in ("minisign", "openssh", "openssl")
    },
    ("netboot.fleet.stateCaFile", '"/etc/ssl/private-ca.pem"'): [NO_STATE],
    ("netboot.fleet.stateCredentialsFile", '"/run/secrets/nats.creds"'): [NO_STATE],
    (f"{SIGNATURE}.publicKeyFile", '"/etc/every-channel/release-key.pub"'): [
        f"{SIGNATURE}.format must be set when release.signature.publicKeyFile is set"
    ],
}
"""(option, value) → the assertions that fire; for all others, none does."""
BRINGS = {"publisher-guest": ["report"], "install": ["report"], "runner": ["follow"]}
"""A module → others, or units with names of their own, that it turns on or changes, none without it."""
NODES = next(option for option in OPTIONS["netboot"] if option.name == "netboot.fleet.nodes").values[0]
BUILD_REFUSES: dict[tuple[str, str], list[str]] = {
    ("ipxe-qemu.boot.chainTokenFile", '"/run/secrets/chain-token"'): ["boot.chainTokenFile"],
    ("netboot.httpPort", "0"): ["httpPort"],
    # A node alone, whose group is elsewhere.
    ("netboot.fleet.nodes", json.dumps(NODES)): ["fleet.nodes.nuc-07.group"],
}
"""(option, value) → the options that the check of the settings file names; no other change is refused."""
SECRET = "/nix/store/00000000000000000000000000000000-secret"
# What an option with a secret is called. A public key is none.
IS_SECRET = re.compile(r"token|secret|passw|credential|(?<!public)key", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """One option at one value."""

    option: Option
    value: Any

    @property
    def key(self) -> tuple[str, str]:
        return self.option.name, json.dumps(self.value)

    @property
    def config(self) -> dict[str, Any]:
        # Another group than the module's own is the host's to make.
        beside = {"users": {"groups": {self.value: {}}}} if self.option.name == "node.group" else {}
        return merge(find_base(self.option.service), self.option.set_to(self.value), beside)

    @property
    def turns_off(self) -> bool:
        return self.option.path == ("enable",)

    def __str__(self) -> str:
        return " = ".join(self.key)


def find_base(service: str) -> dict[str, Any]:
    """The machine on which a module's options are changed."""
    return host(GUEST if service in GUEST else HOST)


def list_changes(service: str) -> list[Change]:
    changes = [Change(option, value) for option in OPTIONS[service] for value in option.values]
    switch = next(option for option in OPTIONS[service] if option.path == ("enable",))
    enabled = Change(switch, True)
    return [Change(switch, False) if change.key == enabled.key else change for change in changes]


def others(found: Mapping[str, Mapping[str, str]], service: str) -> dict[str, str]:
    """The units and settings files of all other modules, by what they are built from."""
    files = {**found["unitFiles"], **found["settingsFiles"]}
    own = "|".join([service, *BRINGS.get(service, [])])
    mine = re.compile(rf"every-channel[-/](?:{own})\b")
    return {name: file for name, file in files.items() if not mine.match(name)}


def holds(found: Any, given: Any) -> bool:
    """Whether a value is what was given, and in submodules the defaults besides."""
    if isinstance(found, dict) and isinstance(given, dict):
        return all(name in found and holds(found[name], value) for name, value in given.items())
    return bool(found == given)


def find_refused(service: str, options: dict[str, Any], directory: Path) -> list[str]:
    """The options that the check of a build refuses, by the module's own program."""
    from ectools.netboot.settings.load import load_server_settings as load_netboot
    from ectools.vm.load import load_guest_settings as load_guest

    file = directory / "settings.json"
    file.write_text(json.dumps(options))
    try:
        if service == "ipxe-qemu":
            load_guest(file)
        elif service == "netboot":
            load_netboot(file, environment={})
    except ProblemsError as error:
        return [problem.option.removeprefix(f"{PREFIX}.{service}.") for problem in error.problems]
    return []


@pytest.mark.parametrize("service", OPTIONS)
def test_each_option_changed_in_turn(service: str, variants: Variants, tmp_path: Path) -> None:
    changes = list_changes(service)
    wanted = ["failed", "warnings", "unitFiles", "settingsFiles", "options"]
    before, *found = variants.evaluate(wanted, [find_base(service), *(change.config for change in changes)])
    assert (before["failed"], before["warnings"]) == ([], [])
    for change, after in zip(changes, found, strict=True):
        assert set(after) == set(wanted), str(change)
        fires = [f"{PREFIX}.{message}" for message in FIRES.get(change.key, [])]
        assert after["failed"] == fires, str(change)
        assert after["warnings"] == [], str(change)
        assert others(after, service) == others(before, service), str(change)
        if change.turns_off:
            assert service not in after["options"]
            continue
        if change.value != PACKAGE:
            assert holds(change.option.get(after["options"]), change.value), str(change)
        if not fires:
            refused = find_refused(service, after["options"][service], tmp_path)
            assert refused == BUILD_REFUSES.get(change.key, []), str(change)


def test_every_assertion_written_down_is_of_a_change() -> None:
    assert set(FIRES) <= {change.key for service in OPTIONS for change in list_changes(service)}


def test_enabled_with_the_defaults_alone(variants: Variants) -> None:
    found = variants.evaluate(["failed"], [host({service: {"enable": True}}) for service in OPTIONS])
    for service, each in zip(OPTIONS, found, strict=True):
        expected = [f"{PREFIX}.{REFUSED[service]}"] if service in REFUSED else []
        assert each["failed"] == expected, service


def test_enabled_with_what_is_needed(variants: Variants) -> None:
    configs = [host({service: ENABLED[service]}) for service in OPTIONS]
    assert variants.evaluate(["failed", "warnings"], configs) == [{"failed": [], "warnings": []}] * len(
        OPTIONS
    )


def test_with_everything_on(variants: Variants, tmp_path: Path) -> None:
    configs = [turn_on_everything(HOST), *(turn_on_everything([service]) for service in OPTIONS)]
    found = variants.evaluate(["failed", "warnings", "options"], configs)
    for each in found:
        assert (each["failed"], each["warnings"]) == ([], [])
    for service in HOST:
        assert find_refused(service, found[0]["options"][service], tmp_path) == []


def test_secrets_in_the_store_are_refused_by_their_options(variants: Variants) -> None:
    secrets = [
        option for options in OPTIONS.values() for option in options if IS_SECRET.search(option.path[-1])
    ]
    assert {option.name for option in secrets} == {
        "ipxe-qemu.boot.chainTokenFile",
        "netboot.chainTokenFile",
        "netboot.fleet.accessTokenFile",
        "netboot.fleet.stateCredentialsFile",
        "netboot.release.credentialsFile",
        "netboot.release.tokenFile",
        "node.credentials",
    }
    values: list[Any] = [
        {"secret": SECRET} if option.schema.get("type") == "object" else SECRET for option in secrets
    ]
    # Whoever has credentials for it has a server.
    shared = host({"netboot": {"fleet": {"state": "nats://192.0.2.5"}}})
    configs = [
        merge(host(HOST), shared, option.set_to(value)) for option, value in zip(secrets, values, strict=True)
    ]
    found = variants.evaluate(["failed"], configs)
    for option, value, each in zip(secrets, values, found, strict=True):
        name = option.name if value == SECRET else f"{option.name}.secret"
        message = "must not be in the Nix store, which everyone can read"
        assert each["failed"] == [f"{PREFIX}.{name} {message}"]
