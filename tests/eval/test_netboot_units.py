"""The units of ec-netboot: their order, their rights, and which change concerns which."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts import merge
from support.netboot_hosts import (
    EVERYTHING,
    LISTEN,
    PROXY,
    REMOTE,
    UNIT,
    UNITS,
    build_unit,
    host,
    read_units,
)
from support.option_values import PACKAGE, list_options
from support.variants import Variants

from ectools.errors import EcError
from ectools.schemas import load_schema

pytestmark = pytest.mark.nix


def test_the_units_start_in_their_order_and_the_server_waits_for_no_forge(variants: Variants) -> None:
    serve, ipxe, stage, dnsmasq = read_units(variants, LISTEN)
    assert f"After=local-fs.target {UNIT}-ipxe.service network-online.target" in serve
    assert f"Wants={UNIT}-dnsmasq.service {UNIT}-ipxe.service network-online.target" in serve
    # What a service has by default, but for the order of the target that wants it.
    before = "local-fs.target sysinit.target basic.target"
    assert f"After={before} {UNIT}.service network-online.target" in stage
    assert {
        "DefaultDependencies=false",
        "Requires=sysinit.target",
        "Conflicts=shutdown.target",
        "Before=shutdown.target",
    } <= set(stage)
    after = f"local-fs.target systemd-sysctl.service nftables.service {UNIT}-ipxe.service {UNIT}.service"
    assert f"After={after} network-online.target" in dnsmasq
    assert "Wants=network-online.target" in stage
    assert "After=local-fs.target" in ipxe
    for unit in (serve, ipxe, dnsmasq):
        assert not [line for line in unit if line.startswith(("Requires=", "BindsTo="))]
    for unit in (serve, ipxe, stage):
        assert "WantedBy=multi-user.target" in unit


def test_dnsmasqs_unit_follows_the_boot_servers(variants: Variants) -> None:
    serve, *_, dnsmasq = read_units(variants, LISTEN)
    assert f"PropagatesReloadTo={UNIT}-dnsmasq.service" in serve
    assert f"PartOf={UNIT}.service" in dnsmasq
    assert f"RuntimeDirectory={UNIT}" in serve
    (told,) = [line.split()[-1] for line in dnsmasq if line.startswith("ExecStart=")]
    (start,) = [line.split() for line in serve if line.startswith("ExecStart=")]
    heard = start[start.index("--dnsmasq-reports") + 1]
    assert told == heard == f"/run/{UNIT}/dnsmasq"


def test_the_table_that_is_removed_is_the_one_that_is_loaded(variants: Variants) -> None:
    from ectools.netboot.dnsmasq.transfer_limit import FAMILY, UNIT_TABLE

    dnsmasq = read_units(variants, LISTEN)[-1]
    (removal,) = [line for line in dnsmasq if line.startswith("ExecStopPost=-+")]
    assert removal.endswith(f'/bin/nft "table {FAMILY} {UNIT_TABLE}; delete table {FAMILY} {UNIT_TABLE}"')
    assert f"User={UNIT}-dnsmasq" in dnsmasq
    (load,) = [line for line in dnsmasq if line.startswith("ExecStartPre=-+")]
    assert load.endswith(f" --load-limit {UNIT}-dnsmasq")
    # A firewall that is loaded anew may have removed it.
    assert "ReloadPropagatedFrom=nftables.service" in dnsmasq
    again, hang_up = (line for line in dnsmasq if line.startswith("ExecReload="))
    assert again.partition("=")[2] == load.partition("=")[2]
    assert hang_up.endswith(" -HUP $MAINPID")


def test_the_units_say_how_they_are_kept_running(variants: Variants) -> None:
    serve, ipxe, stage, dnsmasq = read_units(variants, LISTEN)
    for unit in (serve, dnsmasq):
        assert {"Type=notify", "Restart=always", "RestartSec=5", "WatchdogSec=60"} <= set(unit)
        assert "StartLimitIntervalSec=0" in unit
        # Who boots is served until a switch has done all else.
        assert "X-StopIfChanged=false" in unit
    assert {"Type=oneshot", "RemainAfterExit=true", "PrivateNetwork=true"} <= set(ipxe)
    assert {"Type=oneshot", "Restart=on-failure", "RestartSec=15", "RestartMaxDelaySec=600"} <= set(stage)
    # A switch that restarted it would wait for the download.
    assert {"TimeoutStartSec=12h", "X-RestartIfChanged=false"} <= set(stage)
    # A timer starts nothing that is active.
    assert "RemainAfterExit=true" not in stage


def test_every_unit_has_a_bound_of_memory_and_of_processes(variants: Variants) -> None:
    options = merge(LISTEN, {"maxConnections": 2000, "tftp": {"maxTransfers": 8192}})
    bounds = [
        tuple(line.partition("=")[2] for line in unit if line.startswith(("MemoryMax=", "TasksMax=")))
        for unit in read_units(variants, options)
    ]
    assert bounds == [("2256M", "128"), ("256M", "64"), ("512M", "64"), ("512M", "64")]


def test_who_may_not_ask_over_http_reaches_no_process(variants: Variants) -> None:
    everyone = read_units(variants, merge(LISTEN, {"trustedProxies": ["192.0.2.1"]}))[0]
    assert [line for line in everyone if line.startswith("IPAddress")] == []
    options = {"httpAllowedCIDRs": ["192.0.2.0/24", "2001:db8::/32"], "trustedProxies": ["192.0.2.1"]}
    some = read_units(variants, merge(LISTEN, options))[0]
    assert "IPAddressDeny=any" in some
    assert {line.partition("=")[2] for line in some if line.startswith("IPAddressAllow=")} == {
        *("192.0.2.0/24", "2001:db8::/32", "192.0.2.1", "localhost", "192.0.2.10")
    }
    # The servers by which its state is shared are reached too; one that has a name may be anywhere.
    shared = {"state": "nats://192.0.2.5,tls://[2001:db8:1::5]:4223", "stateCredentialsFile": "/run/nats"}
    reached = read_units(variants, merge(LISTEN, options | {"fleet": shared}))[0]
    assert {"192.0.2.5", "2001:db8:1::5"} <= {
        line.partition("=")[2] for line in reached if line.startswith("IPAddressAllow=")
    }
    assert "LoadCredential=state-credentials:/run/nats" in reached
    named = read_units(variants, merge(LISTEN, options | {"fleet": {"state": "nats://nats.example.org"}}))[0]
    assert [line for line in named if line.startswith("IPAddress")] == []
    # Who watches the boot server need not be one of its clients.
    watched = read_units(variants, merge(LISTEN, options | {"fleet": {"listen": "192.0.2.10:9090"}}))[0]
    assert [line for line in watched if line.startswith("IPAddress")] == []


@pytest.mark.parametrize(
    ("listen", "allowed"),
    [
        ("127.0.0.1:9090", {"ipv4:tcp:8080", "ipv4:tcp:9090"}),
        ("[::1]:09091", {"ipv4:tcp:8080", "ipv6:tcp:9091"}),
        (None, {"ipv4:tcp:8080"}),
    ],
)
def test_http_may_have_its_ports_and_no_other(
    variants: Variants, listen: str | None, allowed: set[str]
) -> None:
    unit = read_units(variants, merge(LISTEN, {"fleet": {"listen": listen}}))[0]
    assert "SocketBindDeny=any" in unit
    assert {line.partition("=")[2] for line in unit if line.startswith("SocketBindAllow=")} == allowed


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


def test_only_dnsmasq_has_capabilities_and_only_proxy_dhcp_that_of_the_network(variants: Variants) -> None:
    def read(unit: list[str], setting: str) -> set[str]:
        return {line.partition("=")[2] for line in unit if line.startswith(f"{setting}=")} - {""}

    low = merge(LISTEN, {"httpPort": 80})
    bind, admin = "CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN"
    for options, http, dns in ((LISTEN, set(), {bind}), (PROXY, set(), {bind, admin}), (low, {bind}, {bind})):
        serve, *_, dnsmasq = read_units(variants, options)
        for setting in ("AmbientCapabilities", "CapabilityBoundingSet"):
            assert read(serve, setting) == http
            assert read(dnsmasq, setting) == dns
        # In a user namespace of its own, a process has no capability for the host's network.
        assert ("PrivateUsers=true" in serve) == (http == set())
        assert "PrivateUsers=true" not in dnsmasq


def test_secrets_come_as_credentials_to_the_units_that_need_them(variants: Variants) -> None:
    secrets = merge(
        LISTEN,
        {
            "chainTokenFile": "/run/a",
            "release": {"tokenFile": "/run/b", "credentialsFile": "/run/d"},
            "fleet": {"accessTokenFile": "/run/c"},
        },
    )
    units = read_units(variants, secrets)
    given = [[line for line in unit if line.startswith("LoadCredential")] for unit in units]
    chain = ["LoadCredential=chain-token:/run/a"]
    forge = ["LoadCredential=forge-token:/run/b", "LoadCredential=store-credentials:/run/d"]
    access = "LoadCredential=access-token:/run/c"
    assert given == [[*chain, access], chain, forge, []]


def find_reaction(before: str, after: str) -> str | None:
    """What switch-to-configuration of NixOS does with a running unit that has become another."""
    differing = set(before.splitlines()) ^ set(after.splitlines())
    if not differing or "X-RestartIfChanged=false" in after.splitlines():
        return None
    only = all(line.startswith("X-Reload-Triggers=") for line in differing)
    return "reload" if only else "restart"


def test_a_change_concerns_only_the_units_that_act_upon_it(variants: Variants) -> None:
    serve, ipxe, stage, dnsmasq = (f"{name}.service" for name in UNITS)
    again = f"{UNIT}-stage-again.service"
    cases: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"httpPort": 8081}, {serve: "restart", ipxe: "restart"}),
        ({"maxConnections": 99}, {serve: "restart"}),
        (
            # Whether a binary that looks for no script is served.
            {"proxyDhcp": {"enable": True, "subnet": "192.0.2.0/24"}},
            {serve: "reload", ipxe: "restart", dnsmasq: "restart"},
        ),
        ({"tftp": {"maxTransfers": 99}}, {dnsmasq: "restart"}),
        # The unit itself says who may reach it.
        ({"httpAllowedCIDRs": ["192.0.2.0/24"]}, {serve: "restart"}),
        ({"trustedProxies": ["192.0.2.1"]}, {serve: "reload"}),
        ({"interface": "enp3s0"}, {serve: "reload"}),
        ({"hostname": "192.0.2.10"}, {serve: "reload", ipxe: "restart"}),
        ({"ipxe": {"onFailure": "reboot"}}, {serve: "reload", ipxe: "restart"}),
        # A node comes without an end of the downloads of the others.
        ({"fleet": {"nodes": {"n": {"match": {"asset": "n"}}}}}, {serve: "reload"}),
        # A channel that a group follows is staged before its machines can boot from it.
        (
            {"fleet": {"groups": {"g": {"channel": "canary"}}}},
            {serve: "reload", again: "restart"},
        ),
        ({"fleet": {"groups": {"g": {"boot": "hold"}}}}, {serve: "reload"}),
        ({"fleet": {"keepBoots": 7}}, {serve: "reload"}),
        ({"fleet": {"allowedHosts": ["boot.example.org"]}}, {serve: "reload"}),
        # Another boot binary beside the one that is there.
        ({"fleet": {"groups": {"g": {"bootBinary": "snponly"}}}}, {serve: "reload", ipxe: "restart"}),
        ({"fleet": {"listen": "127.0.0.2:9090"}}, {serve: "restart"}),
        ({"fleet": {"accessTokenFile": "/run/token"}}, {serve: "restart"}),
        ({"release": {"tag": "boot-v2"}}, {again: "restart"}),
        ({"release": {"keep": 9}}, {again: "restart"}),
        # Which of them a machine gets, the boot script says.
        ({"release": {"systems": ["ec-runner-x86_64-netboot"]}}, {serve: "reload", again: "restart"}),
        ({"release": {"refresh": "weekly"}}, {}),
        ({"openFirewall": False}, {}),
        (
            {"stateDir": "/srv/netboot"},
            {serve: "restart", ipxe: "restart", again: "restart", dnsmasq: "restart"},
        ),
    ]
    configs = [host(LISTEN), *(host(merge(LISTEN, change)) for change, _ in cases)]
    before, *after = [found["texts"] for found in variants.evaluate(["texts"], configs)]
    units = (serve, ipxe, stage, again, dnsmasq)
    for (change, expected), texts in zip(cases, after, strict=True):
        reactions = {unit: find_reaction(before[unit], texts[unit]) for unit in units}
        assert {unit: each for unit, each in reactions.items() if each} == expected, change


def test_a_staging_under_way_begins_anew_and_no_switch_waits_for_it(variants: Variants) -> None:
    (found,) = variants.evaluate(["texts"], [host(LISTEN)])
    again = found["texts"][f"{UNIT}-stage-again.service"].splitlines()
    (started,) = (line for line in again if line.startswith("ExecStart="))
    # Where there is none, as at boot, nothing is done.
    assert started.endswith(f"/systemctl --no-block try-restart {UNIT}-stage.service")
    assert {f"Before={UNIT}-stage.service", "RemainAfterExit=true", "X-StopIfChanged=false"} <= set(again)


def read_triggers(unit: Path, kind: str) -> set[str]:
    """The options that a unit's X-Restart-Triggers or X-Reload-Triggers are made of."""
    (file,) = re.findall(rf"^X-{kind}-Triggers=(.*)$", unit.read_text(), re.MULTILINE)
    return set(json.loads(Path(file).read_text()))


def test_the_server_is_restarted_for_what_it_cannot_change_while_it_runs(variants: Variants) -> None:
    from ectools.netboot.server.plan import FIXED

    unit = build_unit(variants, LISTEN, UNIT)
    fixed = {option.partition(".")[0] for option in FIXED.values()}
    assert read_triggers(unit, "Restart") == fixed
    (found,) = variants.evaluate(["options"], [host(LISTEN)])
    # Of the fleet a server takes up all but where it listens.
    rest = {*found["options"]["netboot"]} - {"enable", "openFirewall"} - (fixed - {"fleet"})
    dnsmasqs = read_triggers(build_unit(variants, LISTEN, f"{UNIT}-dnsmasq"), "Restart")
    assert read_triggers(unit, "Reload") == rest - dnsmasqs


def test_the_first_script_is_written_again_for_all_that_it_is_made_of(
    variants: Variants, tmp_path: Path
) -> None:
    from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
    from ectools.netboot.settings.load import load_netboot_settings

    def build_script(options: dict[str, Any]) -> str:
        (tmp_path / "settings.json").write_text(json.dumps(options))
        settings = load_netboot_settings(tmp_path / "settings.json", environment={})
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


EXPOSURE = {UNIT: 1.2, f"{UNIT}-ipxe": 0.4, f"{UNIT}-stage": 1.2, f"{UNIT}-dnsmasq": 1.7}
"""The most that systemd-analyze may find, whatever the options are."""


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("options", [LISTEN, EVERYTHING, REMOTE], ids=["defaults", "everything", "remote"])
def test_exposure(
    variants: Variants, options: dict[str, Any], name: str, require_tool: Callable[[str, str], str]
) -> None:
    analyze = require_tool("systemd-analyze", "install systemd")
    unit = build_unit(variants, options, name)
    # What downloads the boot binary is what stages, and has the network.
    most = EXPOSURE[f"{UNIT}-stage" if options is REMOTE and name == f"{UNIT}-ipxe" else name]
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


def test_the_hosts_proxy_is_the_proxy_of_what_downloads(variants: Variants) -> None:
    through = {"networking": {"proxy": {"default": "http://192.0.2.1:3128", "noProxy": "127.0.0.1"}}}
    configurations = [merge(host(options), through) for options in (LISTEN, REMOTE)]
    stock, remote = (each["texts"] for each in variants.evaluate(["texts"], configurations))
    line = 'Environment="https_proxy=http://192.0.2.1:3128"'
    for texts, names in ((stock, {"stage"}), (remote, {"stage", "ipxe"})):
        assert {name for name in ("stage", "ipxe") if line in texts[f"{UNIT}-{name}.service"]} == names
