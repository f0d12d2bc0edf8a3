"""The module ec-netboot, evaluated and built as a host's configuration."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts import merge
from support.needs import give_up
from support.option_values import PACKAGE, list_options
from support.variants import Variants

from ectools.errors import EcError
from ectools.schemas import load_schema

pytestmark = pytest.mark.nix

OPTION = "services.every-channel.netboot"
UNIT = "every-channel-netboot"
UNITS = (UNIT, f"{UNIT}-ipxe", f"{UNIT}-stage")
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
)


def host(options: dict[str, Any]) -> dict[str, Any]:
    return {"services": {"every-channel": {"netboot": {"enable": True, **options}}}}


def read_units(variants: Variants, options: dict[str, Any]) -> list[list[str]]:
    """The lines of the units, in the order of ``UNITS``."""
    (found,) = variants.evaluate(["texts"], [host(options)])
    return [found["texts"][f"{name}.service"].splitlines() for name in UNITS]


def build_unit(variants: Variants, options: dict[str, Any], name: str) -> Path:
    return variants.build(f'units."{name}.service"', host(options)) / f"{name}.service"


# What is wrong, and the one message that says so.
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "listenIP must be set: this host's IPv4 address on the clients' network"),
    (
        merge(LISTEN, {"proxyDhcp": {"enable": True}}),
        "proxyDhcp.subnet must be set when proxyDhcp.enable is true",
    ),
    (
        merge(LISTEN, {"ipxe": {"strategy": "local"}}),
        'ipxe.localFile must be set when ipxe.strategy is "local"',
    ),
    (
        merge(REMOTE, {"ipxe": {"remoteUrl": None}}),
        'ipxe.remoteUrl must be set when ipxe.strategy is "remote"',
    ),
    (
        merge(REMOTE, {"ipxe": {"remoteSha256": None}}),
        'ipxe.remoteSha256 must be set when ipxe.strategy is "remote"',
    ),
    (
        merge(LISTEN, {"ipxe": {"strategy": "embedded", "embeddedFile": None}}),
        'ipxe.embeddedFile must be set when ipxe.strategy is "embedded"',
    ),
    (
        merge(LISTEN, {"ipxe": {"strategy": "embedded"}, "chainTokenFile": "/run/token"}),
        (
            'ipxe.strategy must not be "embedded" when chainTokenFile is set: '
            "the script with the token would be in the Nix store, which everyone can read"
        ),
    ),
    (
        merge(LISTEN, {"release": {"signature": {"format": "minisign"}}}),
        "release.signature.publicKeyFile must be set when release.signature.format is set",
    ),
    (
        merge(LISTEN, {"release": {"signature": {"publicKeyFile": "/etc/key"}}}),
        "release.signature.format must be set when release.signature.publicKeyFile is set",
    ),
    (
        merge(LISTEN, {"release": {"tag": "boot-v1", "tarball": "/srv/a.tar.gz"}}),
        "release.tag must be null when release.tarball is set: a tarball takes the release's place",
    ),
    (
        merge(LISTEN, {"chainTokenFile": "/nix/store/0000-token"}),
        "chainTokenFile must not be in the Nix store, which everyone can read",
    ),
    (
        merge(LISTEN, {"release": {"tokenFile": "/nix/store/0000-token"}}),
        "release.tokenFile must not be in the Nix store, which everyone can read",
    ),
    (
        merge(LISTEN, {"stateDir": "/srv/"}),
        "stateDir must be a folder of the service's own, because it is given to the service's user",
    ),
]
FINE = [
    LISTEN,
    EVERYTHING,
    REMOTE,
    merge(LISTEN, {"ipxe": {"strategy": "embedded", "localFile": "/tmp/not-used"}}),
    merge(LISTEN, {"proxyDhcp": {"subnet": "192.0.2.0/24"}, "release": {"tokenFile": "/root/token"}}),
]
UNSEEN = merge(
    LISTEN,
    {"stateDir": "/home/netboot", "release": {"tarball": "/tmp/a.tar.gz"}},
    {"release": {"signature": {"format": "minisign", "publicKeyFile": "/root/key"}}},
    {"ipxe": {"strategy": "local", "localFile": "/var/tmp/a.efi", "ia32File": "/run/user/1/b.efi"}},
)


def test_each_assertion_fires_alone_in_its_words(variants: Variants) -> None:
    found = variants.evaluate(["failed"], [host(options) for options, _ in FAULTS])
    assert [each["failed"] for each in found] == [[f"{OPTION}.{message}"] for _, message in FAULTS]


def test_no_assertion_fires_without_a_fault(variants: Variants) -> None:
    found = variants.evaluate(["failed", "warnings"], [host(options) for options in FINE])
    assert found == [{"failed": [], "warnings": []}] * len(FINE)


def test_files_that_the_service_cannot_see_are_refused_by_their_options(variants: Variants) -> None:
    (found,) = variants.evaluate(["failed"], [host(UNSEEN)])
    hidden = "must not be below /home, /root, /run/user, /tmp, /var/tmp, which the service does not see"
    options = ("ipxe.ia32File", "ipxe.localFile", "release.signature.publicKeyFile", "release.tarball")
    assert found["failed"] == [f"{OPTION}.{option} {hidden}" for option in (*options, "stateDir")]


def test_disabled_leaves_nothing(variants: Variants) -> None:
    off, on = variants.evaluate(["left", "firewall"], [host({"enable": False}), host(EVERYTHING)])
    assert off["left"]["units"] == off["left"]["users"] == off["left"]["files"] == []
    assert not [name for name in off["left"]["tmpfiles"] if "every-channel" in name]
    assert off["firewall"] == {"tcp": [], "udp": [], "interfaces": {}}
    assert on["left"]["users"] == [UNIT]
    assert on["left"]["files"] == ["every-channel/netboot.json"]


def test_the_firewall_opens_what_is_served_where_it_is_served(variants: Variants) -> None:
    nothing: dict[str, list[int]] = {"tcp": [], "udp": []}
    uplink = {"interface": "enp3s0"}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (LISTEN, {"tcp": [8080], "udp": [69], "interfaces": {}}),
        (merge(PROXY, {"httpPort": 80}), {"tcp": [80], "udp": [67, 69, 4011], "interfaces": {}}),
        (
            merge(PROXY, uplink),
            {**nothing, "interfaces": {"enp3s0": {"tcp": [8080], "udp": [67, 69, 4011]}}},
        ),
        (merge(PROXY, {"openFirewall": False}), {**nothing, "interfaces": {}}),
        (merge(PROXY, uplink, {"openFirewall": False}), {**nothing, "interfaces": {}}),
    ]
    found = variants.evaluate(["firewall"], [host(options) for options, _ in cases])
    assert [each["firewall"] for each in found] == [expected for _, expected in cases]


def test_the_units_start_in_their_order_and_the_server_waits_for_no_forge(variants: Variants) -> None:
    serve, ipxe, stage = read_units(variants, LISTEN)
    assert f"After=local-fs.target {UNIT}-ipxe.service network-online.target" in serve
    assert f"Wants={UNIT}-ipxe.service network-online.target" in serve
    assert f"After=local-fs.target {UNIT}.service network-online.target" in stage
    assert "Wants=network-online.target" in stage
    assert "After=local-fs.target" in ipxe
    for unit in (serve, ipxe, stage):
        assert "WantedBy=multi-user.target" in unit
        assert not [line for line in unit if line.startswith(("Requires=", "BindsTo="))]


def test_the_units_say_how_they_are_kept_running(variants: Variants) -> None:
    serve, ipxe, stage = read_units(variants, LISTEN)
    assert {"Type=notify", "Restart=always", "RestartSec=5", "WatchdogSec=60"} <= set(serve)
    assert {"Type=oneshot", "RemainAfterExit=true", "PrivateNetwork=true"} <= set(ipxe)
    assert {"Type=oneshot", "Restart=on-failure", "RestartSec=15", "RestartMaxDelaySec=600"} <= set(stage)
    # A timer starts nothing that is active.
    assert "RemainAfterExit=true" not in stage


def test_a_binary_from_elsewhere_is_fetched_over_the_network(variants: Variants) -> None:
    ipxe = read_units(variants, REMOTE)[1]
    assert "After=local-fs.target network-online.target" in ipxe
    assert "Restart=on-failure" in ipxe
    assert "PrivateNetwork=true" not in ipxe
    assert "RestrictAddressFamilies=AF_INET" in ipxe


def test_a_calendar_event_makes_a_timer(variants: Variants) -> None:
    options = merge(LISTEN, {"release": {"refresh": "Mon 04:00"}})
    without, found = variants.evaluate(["texts"], [host(LISTEN), host(options)])
    timer = found["texts"][f"{UNIT}-stage.timer"].splitlines()
    assert {"OnCalendar=Mon 04:00", "Persistent=true"} <= set(timer)
    assert f"{UNIT}-stage.timer" not in without["texts"]


def test_only_proxy_dhcp_takes_the_right_to_administer_the_network(variants: Variants) -> None:
    for options, expected in (
        (LISTEN, {"CAP_NET_BIND_SERVICE"}),
        (PROXY, {"CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN"}),
    ):
        unit = read_units(variants, options)[0]
        for setting in ("AmbientCapabilities", "CapabilityBoundingSet"):
            assert {line.partition("=")[2] for line in unit if line.startswith(setting)} == expected


def test_secrets_come_as_credentials_to_the_units_that_need_them(variants: Variants) -> None:
    secrets = merge(LISTEN, {"chainTokenFile": "/run/a", "release": {"tokenFile": "/run/b"}})
    serve, ipxe, stage = read_units(variants, secrets)
    given = [[line for line in unit if line.startswith("LoadCredential")] for unit in (serve, ipxe, stage)]
    chain, forge = ["LoadCredential=chain-token:/run/a"], ["LoadCredential=forge-token:/run/b"]
    assert given == [chain, chain, forge]


def find_reaction(before: str, after: str) -> str | None:
    """What switch-to-configuration of NixOS does with a running unit that has become another."""
    differing = set(before.splitlines()) ^ set(after.splitlines())
    if not differing:
        return None
    only = all(line.startswith("X-Reload-Triggers=") for line in differing)
    return "reload" if only else "restart"


def test_a_change_concerns_only_the_units_that_act_upon_it(variants: Variants) -> None:
    serve, ipxe, stage = (f"{name}.service" for name in UNITS)
    cases: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"httpPort": 8081}, {serve: "restart", ipxe: "restart"}),
        ({"maxConnections": 99}, {serve: "restart"}),
        ({"proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24"}}, {serve: "restart"}),
        ({"httpAllowedCIDRs": ["192.0.2.0/24"]}, {serve: "reload"}),
        ({"interface": "enp3s0"}, {serve: "reload"}),
        ({"hostname": "192.0.2.10"}, {serve: "reload", ipxe: "restart"}),
        ({"ipxe": {"onFailure": "reboot"}}, {serve: "reload", ipxe: "restart"}),
        ({"release": {"tag": "boot-v2"}}, {stage: "restart"}),
        ({"release": {"keep": 9}}, {stage: "restart"}),
        ({"release": {"refresh": "weekly"}}, {}),
        ({"openFirewall": False}, {}),
        ({"stateDir": "/srv/netboot"}, {serve: "restart", ipxe: "restart", stage: "restart"}),
    ]
    configs = [host(LISTEN), *(host(merge(LISTEN, change)) for change, _ in cases)]
    before, *after = [found["texts"] for found in variants.evaluate(["texts"], configs)]
    for (change, expected), texts in zip(cases, after, strict=True):
        reactions = {unit: find_reaction(before[unit], texts[unit]) for unit in (serve, ipxe, stage)}
        assert {unit: each for unit, each in reactions.items() if each} == expected, change


def read_triggers(unit: Path, kind: str) -> set[str]:
    """The options that a unit's X-Restart-Triggers or X-Reload-Triggers are made of."""
    (file,) = re.findall(rf"^X-{kind}-Triggers=(.*)$", unit.read_text(), re.MULTILINE)
    return set(json.loads(Path(file).read_text()))


def test_the_server_is_restarted_for_what_it_cannot_change_while_it_runs(variants: Variants) -> None:
    from ectools.netboot.serve.run import _FIXED

    unit = build_unit(variants, LISTEN, UNIT)
    assert read_triggers(unit, "Restart") == set(_FIXED.values())
    (found,) = variants.evaluate(["options"], [host(LISTEN)])
    rest = {*found["options"]["netboot"]} - {"enable", "openFirewall", "release"} - set(_FIXED.values())
    assert read_triggers(unit, "Reload") == rest


def test_the_first_script_is_written_again_for_all_that_it_is_made_of(
    variants: Variants, tmp_path: Path
) -> None:
    from ectools.netboot.ipxe.script import build_autoexec
    from ectools.netboot.load import load_settings

    def build_script(options: dict[str, Any]) -> str:
        (tmp_path / "settings.json").write_text(json.dumps(options))
        settings = load_settings(tmp_path / "settings.json", environment={})
        return build_autoexec(settings, None if settings.chain_token_file is None else "token")

    noted = read_triggers(build_unit(variants, LISTEN, f"{UNIT}-ipxe"), "Restart")
    known = {"chainTokenFile": "/run/token", "ipxe": {"localFile": "/a"}, **LISTEN}
    before = build_script(known)
    for option in list_options(load_schema("ec-netboot")):
        for value in option.values:
            if option.path == ("ipxe", "strategy") or value == PACKAGE:
                continue
            changed = option.set_to(value)["services"]["every-channel"]["netboot"]
            try:
                after = build_script(merge(known, changed))
            except EcError:
                continue  # does not fit the others
            assert after == before or option.path[0] in noted, option.name


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("options", [LISTEN, EVERYTHING, REMOTE], ids=["defaults", "everything", "remote"])
def test_exposure(
    variants: Variants, options: dict[str, Any], name: str, require_tool: Callable[[str, str], str]
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = build_unit(variants, options, name)
    most = 3.0 if name == UNIT else 2.5
    argv = [analyze, "security", "--offline=true", f"--threshold={most * 10:g}", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= most


@pytest.mark.parametrize("options", [LISTEN, EVERYTHING], ids=["the defaults", "odd paths"])
def test_systemd_finds_nothing_wrong_with_the_units(
    variants: Variants, options: dict[str, Any], require_tool: Callable[[str, str], str], tmp_path: Path
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    # Growing pauses are of systemd 254, and an older one takes them for mistakes.
    newer = re.compile(r"^Restart(Steps|MaxDelaySec)=.*\n", re.MULTILINE)
    files = [tmp_path / f"{name}.service" for name in UNITS]
    for file in files:
        file.write_text(newer.sub("", build_unit(variants, options, file.stem).read_text()))
    argv = [analyze, "verify", "--man=no", "--recursive-errors=no", *map(str, files)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    mine = [line for line in done.stderr.splitlines() if "netboot" in line]
    assert (done.returncode, mine) == (0, [])


@pytest.mark.parametrize("state", [STATE, ODD])
def test_the_folders_are_made_for_the_services_user(
    variants: Variants, state: str, tmp_path: Path, require_tool: Callable[[str, str], str]
) -> None:
    if os.geteuid() != 0:
        give_up("only root can give files to another user")
    tmpfiles = require_tool("systemd-tmpfiles", "install systemd")
    rules = variants.build(f'tmpfilesPackages."10-{UNIT}.conf"', host(merge(LISTEN, {"stateDir": state})))
    made_by_root = tmp_path / state.lstrip("/") / "releases"
    made_by_root.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\n{UNIT}:x:4321:4321::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text(f"root:x:0:\n{UNIT}:x:4321:\n")
    argv = [tmpfiles, "--create", f"--root={tmp_path}", str(rules / f"lib/tmpfiles.d/10-{UNIT}.conf")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for folder in (state, f"{state}/tftp"):
        found = (tmp_path / folder.lstrip("/")).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (4321, 4321, 0o750)
    assert made_by_root.stat().st_uid == 4321


def test_the_module_works_by_itself(variants: Variants) -> None:
    """``imports = [ …/nix/modules/ec-netboot.nix ]``, without the flake and its other modules."""
    module = Path(__file__).parents[2] / "nix/modules/ec-netboot.nix"
    expression = f"""
      let flake = builtins.getFlake "path:{variants.nixpkgs}"; in
      (flake.lib.nixosSystem {{
        system = "x86_64-linux";
        modules = [ {module} {{
          system.stateVersion = "26.05";
          services.every-channel.netboot = {{ enable = true; listenIP = "192.0.2.10"; }};
        }} ];
      }}).config.systemd.units."{UNIT}.service".text
    """
    argv = ["nix-instantiate", "--eval", "--read-write-mode", "--expr", expression]
    done = subprocess.run(argv, env=dict(variants.env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "netboot serve --config /etc/every-channel/netboot.json" in done.stdout
