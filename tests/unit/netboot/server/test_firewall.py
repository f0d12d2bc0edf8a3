"""What nftables lets in, from its own list of rules as JSON."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.netboot.server import firewall
from ectools.netboot.server.firewall import find_blocked_ports, read_blocked_ports
from ectools.processes import Completed, ProcessError

PORTS = (("TCP", 8080), ("UDP", 69))
ACCEPT: dict[str, Any] = {"accept": None}


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def dport(protocol: str, right: Any, op: str = "==") -> dict[str, Any]:
    return match({"payload": {"protocol": protocol, "field": "dport"}}, right, op)


def chain(policy: str | None = "drop", *, hook: str = "input", family: str = "inet") -> dict[str, Any]:
    found = {"family": family, "table": "filter", "name": "input", "hook": hook}
    return {"chain": found if policy is None else {**found, "policy": policy}}


def rule(*expressions: dict[str, Any], chain: str = "input") -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "filter", "chain": chain, "expr": list(expressions)}}


def blocked(*entries: dict[str, Any]) -> list[str]:
    found = read_blocked_ports([{"metainfo": {}}, *entries], PORTS)
    assert {*found} <= {"inet filter input"}
    return [f"{protocol} {port}" for protocol, port in found.get("inet filter input", [])]


BOTH = ["TCP 8080", "UDP 69"]
HTTP, TFTP = ["TCP 8080"], ["UDP 69"]


@pytest.mark.parametrize(
    ("expressions", "left"),
    [
        ([dport("tcp", 22), ACCEPT], BOTH),
        ([dport("udp", 69), ACCEPT], HTTP),
        ([dport("tcp", {"set": [22, 8080]}), ACCEPT], TFTP),
        ([dport("tcp", {"set": [22, {"range": [8000, 9000]}]}), ACCEPT], TFTP),
        ([dport("udp", {"range": [70, 80]}), ACCEPT], BOTH),
        ([dport("th", {"set": [69, 8080]}), ACCEPT], []),
        ([dport("udp", 69, "!="), ACCEPT], BOTH),
        ([dport("udp", 70, "!="), ACCEPT], HTTP),
        ([dport("udp", "@allowed"), ACCEPT], HTTP),
        ([dport("udp", 69), {"counter": {}}], BOTH),
        ([match({"ct": {"key": "state"}}, ["established", "related"], "in"), ACCEPT], BOTH),
        ([match({"ct": {"key": "state"}}, {"set": ["established", "new"]}, "in"), ACCEPT], []),
        ([match({"meta": {"key": "iifname"}}, "lo"), ACCEPT], BOTH),
        ([match({"meta": {"key": "iifname"}}, "lo", "!="), ACCEPT], []),
        ([match({"meta": {"key": "iifname"}}, "lan0"), ACCEPT], []),
        ([match({"meta": {"key": "l4proto"}}, "udp"), ACCEPT], HTTP),
        ([match({"meta": {"key": "l4proto"}}, "@kinds"), ACCEPT], []),
        ([match({"payload": {"protocol": "ip", "field": "protocol"}}, "icmp"), ACCEPT], BOTH),
        ([match({"payload": {"protocol": "icmp", "field": "type"}}, "echo-request"), ACCEPT], BOTH),
        ([match({"payload": {"protocol": "ip", "field": "saddr"}}, "192.0.2.0"), ACCEPT], []),
        ([match("x", "y"), ACCEPT], []),
        ([{"vmap": {"key": {}, "data": {"set": []}}}], []),
        ([{"xt": None}], []),
        ([{"jump": {"target": "other"}}], BOTH),
    ],
)
def test_a_port_is_blocked_where_no_rule_may_let_it_in(
    expressions: list[dict[str, Any]], left: list[str]
) -> None:
    assert blocked(chain(), rule(*expressions)) == left
    # Of a chain that it jumps to, too.
    assert blocked(chain(), rule(*expressions, chain="other")) == left


def test_only_a_chain_that_drops_what_comes_in_blocks() -> None:
    assert blocked(chain()) == BOTH
    assert blocked(chain("accept")) == blocked(chain(hook="forward")) == blocked(chain(family="ip6")) == []
    reject = rule({"counter": {}}, {"reject": {"type": "icmpx"}})
    assert blocked(chain("accept"), reject) == blocked(chain(None), reject) == BOTH
    assert blocked(chain("accept"), rule(dport("tcp", 1), {"drop": None})) == []


def test_what_cannot_be_looked_at_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "find_nft", lambda: None)
    assert find_blocked_ports(PORTS) == {}
    monkeypatch.setattr(firewall, "find_nft", lambda: "nft")

    def fails(*_argv: Any, **_options: Any) -> Completed:
        raise ProcessError("no right", argv=[])

    monkeypatch.setattr(firewall, "run", fails)
    assert find_blocked_ports(PORTS) == {}
    for text in ("", "{}"):
        monkeypatch.setattr(firewall, "run", lambda *_argv, text=text, **_options: Completed(text, ""))
        assert find_blocked_ports(PORTS) == {}
