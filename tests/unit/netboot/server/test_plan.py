"""What a boot server runs by: found wrong before it serves, and what of it a reload may change."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from ectools.errors import EcError
from ectools.netboot.dnsmasq.plan import DnsmasqPlan
from ectools.netboot.server import plan as module
from ectools.netboot.server.plan import FIXED, BootServerPlan, check_change, prepare_plan
from ectools.netboot.settings.load import load_server_settings
from ectools.netboot.state.nats_access import NatsAddress


def make_plan(directory: Path, **options: Any) -> BootServerPlan:
    flags = {
        "listenIP": "127.0.0.1",
        "stateDir": str(directory / "state"),
        "hostname": "192.0.2.10",
        **options,
    }
    settings = load_server_settings(None, flags=flags, environment={})
    return prepare_plan(settings, directory / "reports.sock")


def test_a_plan_has_its_directories_and_the_other_process_s_socket(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert plan.settings.tftp_dir.is_dir()
    assert plan.dnsmasq == tmp_path / "reports.sock"
    assert plan.policy.fleet.is_empty


def test_what_is_taken_at_the_start_stays(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    others = {
        "listen_ip": IPv4Address("192.0.2.77"),
        "http_port": 1,
        "state_dir": Path("/other"),
        "max_connections": 1,
        "fleet.listen": None,
        "fleet.state": NatsAddress(servers=("nats://192.0.2.5:4222",), bucket="b"),
        "fleet.host_name": "other",
    }
    assert others.keys() == FIXED.keys()
    for name, option in FIXED.items():
        first, _, rest = name.partition(".")
        value = others[name]
        if rest:
            value = replace(plan.settings.fleet, **{rest: value})
        changed = replace(plan, settings=replace(plan.settings, **{first: value}))
        with pytest.raises(EcError, match=rf"a restart is needed to change .*\.{option}$"):
            check_change(changed, plan)


def test_another_fleet_or_host_name_is_what_a_reload_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(module, "check_reloaded", lambda new, old: looked.append((new, old)))
    plan, other = make_plan(tmp_path), make_plan(tmp_path, hostname="192.0.2.11")
    check_change(other, plan)
    assert looked == []  # dnsmasq is another process's, which looks at its own ports
    own = replace(other, dnsmasq=object.__new__(DnsmasqPlan))
    check_change(own, plan)
    assert looked == [(other.settings, plan.settings)]
