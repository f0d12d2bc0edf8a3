"""Whether a firewall of this host keeps clients from the boot server's ports: what nftables lets in.

It is looked at, and nothing is sent: a packet of a client has to pass every chain of the hook ``input``. What
a rule means that is not understood here (a set, a map, a match of iptables) may well be that it lets the
port in: nothing is said then.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ectools.capabilities import Capability, handed_on
from ectools.nft import find_nft
from ectools.processes import ProcessError, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SECONDS = 30.0
_FAMILIES = ("ip", "inet")
# What these matches narrow a rule to is none of a new client's packets, or all of the network's.
_OF_CONNECTIONS = frozenset({"ct"})


def find_blocked_ports(ports: Sequence[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """Chain (``inet filter input``) → the ports, with ``TCP`` or ``UDP``, that none of its rules lets in.

    Empty where nftables is not installed, or this user may not look.
    """
    program = find_nft()
    if program is None:
        return {}
    try:
        with handed_on(Capability.NET_ADMIN):
            answer = run([program, "--json", "list", "ruleset"], timeout=_SECONDS).stdout
        entries = json.loads(answer)["nftables"]
    except (ProcessError, ValueError, KeyError):
        return {}
    return read_blocked_ports(entries, ports)


def read_blocked_ports(
    entries: Iterable[dict[str, Any]], ports: Sequence[tuple[str, int]]
) -> dict[str, list[tuple[str, int]]]:
    """As ``find_blocked_ports``, from what ``nft --json list ruleset`` lists (libnftables-json(5))."""
    chains, rules = [], defaultdict(list)
    for entry in entries:
        if chain := entry.get("chain"):
            chains.append(chain)
        elif rule := entry.get("rule"):
            # Of the whole table: a chain jumps to others.
            rules[rule["family"], rule["table"]].append(rule)
    blocked = {}
    for chain in chains:
        if chain.get("hook") != "input" or chain["family"] not in _FAMILIES:
            continue
        of_table = rules[chain["family"], chain["table"]]
        own = [rule for rule in of_table if rule["chain"] == chain["name"]]
        if chain.get("policy") != "drop" and not any(_ends_with_drop(rule) for rule in own):
            continue
        kept = [port for port in ports if not any(_may_let_in(rule, *port) for rule in of_table)]
        if kept:
            blocked[f"{chain['family']} {chain['table']} {chain['name']}"] = kept
    return blocked


def _ends_with_drop(rule: dict[str, Any]) -> bool:
    """Whether every packet that comes to a rule is dropped or rejected there."""
    verdicts = [each for each in rule["expr"] if not each.keys() & {"counter", "log", "limit"}]
    return len(verdicts) == 1 and bool(verdicts[0].keys() & {"drop", "reject"})


def _may_let_in(rule: dict[str, Any], protocol: str, port: int) -> bool:
    """Whether a rule accepts, and a new client's packet to the port may be one that it accepts."""
    expressions = rule["expr"]
    if not any("accept" in each or "queue" in each or "vmap" in each for each in expressions):
        return "xt" in {key for each in expressions for key in each}
    return all(_may_match(each["match"], protocol, port) for each in expressions if "match" in each)


def _may_match(match: dict[str, Any], protocol: str, port: int) -> bool:  # noqa: PLR0911 - one a kind
    left, right = match["left"], match["right"]
    if not isinstance(left, dict):
        return True
    payload, meta = left.get("payload", {}), left.get("meta", {})
    if left.keys() & _OF_CONNECTIONS:
        # "ct state new" lets in; "established, related" does not.
        return bool(match["op"] == "!=") or "new" in _list_values(right)
    if payload.get("field") == "dport":
        if payload["protocol"] not in (protocol.lower(), "th"):
            return False
        return bool(match["op"] == "!=") != _holds(right, port)
    if payload.get("protocol") in ("icmp", "icmpv6", "ip6"):
        return False
    if meta.get("key") == "l4proto" or payload.get("field") == "protocol":
        return protocol.lower() in _list_values(right) or not _is_plain(right)
    if meta.get("key") in ("iif", "iifname"):
        return bool(right != "lo" or match["op"] == "!=")
    return True


def _holds(right: Any, port: int) -> bool:
    """Whether a port is in what a rule names; in what is not understood it may be."""
    for each in _list_values(right):
        if isinstance(each, dict) and "range" in each:
            low, high = each["range"]
            if low <= port <= high:
                return True
        elif each == port or not isinstance(each, int):
            return True
    return False


def _list_values(right: Any) -> list[Any]:
    if isinstance(right, dict) and "set" in right:
        return list(_flatten(right["set"]))
    return list(right) if isinstance(right, list) else [right]


def _flatten(values: Any) -> Iterator[Any]:
    yield from values if isinstance(values, list) else [values]


def _is_plain(right: Any) -> bool:
    return all(isinstance(each, (str, int)) and not str(each).startswith("@") for each in _list_values(right))
