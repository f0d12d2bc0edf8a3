"""What a fleet says that comes to nothing."""

from __future__ import annotations

import pytest
from support.fleets import make_fleet

from ectools.netboot.fleet import warnings
from ectools.netboot.fleet.warnings import list_warnings


def test_a_boot_binary_is_given_by_the_hardware_address() -> None:
    named = {"n": {"group": "g", "match": {"mac": ["02:00:00:00:00:01"]}}}
    unnamed = {f"u{number}": {"group": "g", "match": {"asset": f"u{number}"}} for number in range(7)}
    group = {"g": {"bootBinary": "snponly"}}
    assert list_warnings(make_fleet(groups=group, nodes=named)) == []
    assert list_warnings(make_fleet(groups={"g": {}}, nodes=unnamed)) == []
    option = "fleet.groups.g.bootBinary is decided by the hardware address alone"
    assert list_warnings(make_fleet(groups=group, nodes={**named, **unnamed})) == [
        f"{option}, and u0, u1, u2, u3, u4 and 2 more have no match.mac"
    ]
    assert list_warnings(make_fleet(groups=group, nodes={"u0": unnamed["u0"]})) == [
        f"{option}, and u0 has no match.mac"
    ]


def test_more_machines_than_dnsmasq_tells_apart_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "MAX_HOSTS", 2)
    groups = {"g": {"bootBinary": "snponly"}, "plain": {}}
    of_group = {"match": {"mac": ["02:00:00:00:00:01", "02:00:00:00:00:02"]}, "group": "g"}
    other = {"match": {"mac": ["02:00:00:00:00:03"]}}
    nodes = {"a": of_group, "b": {**other, "group": "plain"}}
    assert list_warnings(make_fleet(groups=groups, nodes=nodes)) == []
    (told,) = list_warnings(make_fleet(groups=groups, nodes={**nodes, "b": {**other, "group": "g"}}))
    assert told.startswith("3 hardware addresses are of groups with a bootBinary")
