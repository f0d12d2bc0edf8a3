"""The NIC of a simulated machine: what opens it, closes it, and is not fetched without it."""

from __future__ import annotations

import pytest

from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.ipxe import run_script
from ectools.netboot.probe.simulate.ipxe_nic import SimulatedNic, name_nic
from ectools.netboot.probe.simulate.ipxe_trace import ScriptEnd, ScriptTrace


def find(uri: str, headers: object = None, limit: int = 0) -> Fetched:
    return Fetched(uri=uri, state=FetchState.FOUND, size=1, head=b"k", whole=True)


def go(*lines: str, **settings: str) -> tuple[ScriptEnd, ScriptTrace]:
    script = "\n".join(["#!ipxe", *lines, "kernel k", "boot"])
    return run_script(script.encode(), "http://192.0.2.2/x.ipxe", settings=settings, fetch=find)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", True),
        ("net0", True),
        ("net7 net0", True),
        ("net7", False),
        ("-c dhcp net0", True),
        ("--configurator ipv6 net1", False),
        ("--timeout 500", True),
        ("netX", False),
    ],
)
def test_what_configures_the_closed_nic(words: str, expected: bool) -> None:
    nic = SimulatedNic(is_open=False)
    assert (nic.configure(words.split()), nic.is_open) == (expected, expected)


@pytest.mark.parametrize(
    ("words", "is_open"), [("", False), ("net0", False), ("netX", False), ("net1", True)]
)
def test_what_closes_it(words: str, is_open: bool) -> None:
    nic = SimulatedNic()
    assert nic.close(words.split())
    assert nic.is_open is is_open


def test_the_nic_that_was_opened_last_is_none_while_it_is_closed() -> None:
    assert SimulatedNic().find_setting("netX/mac") == "net0/mac"
    assert SimulatedNic(is_open=False).find_setting("netX/mac") == "netX/mac"
    assert SimulatedNic().find_setting("netX") == "netX"
    assert name_nic("m") == {"net0/mac": "m", "net0/ifname": "net0"}


def test_nothing_is_fetched_over_a_nic_that_a_script_has_closed() -> None:
    end, trace = go("dhcp", "ifclose")
    assert end is ScriptEnd.FAILED
    assert trace.notes == ["http://192.0.2.2/k is fetched while no NIC is open"]
    assert go("ifclose net0", "dhcp net1 || dhcp net0")[0] is ScriptEnd.BOOT


def test_a_script_finds_one_nic_and_its_settings() -> None:
    assert go("isset ${net0/mac}", "iseq ${netX/ifname} net0")[0] is ScriptEnd.BOOT
    assert go("isset ${net1/mac}")[0] is ScriptEnd.FAILED
    assert go("iseq ${netX/mac} 52:54:00:00:00:01", mac="52:54:00:00:00:01")[0] is ScriptEnd.BOOT
