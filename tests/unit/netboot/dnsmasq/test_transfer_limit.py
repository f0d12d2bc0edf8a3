"""What one address may take of TFTP: the table's text, and what is told where there can be none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import golden
from support.log_lines import LogLines

from ectools.capabilities import Capability
from ectools.errors import EcError, InputError
from ectools.netboot.dnsmasq import transfer_limit
from ectools.netboot.dnsmasq.transfer_limit import (
    TransferShare,
    TransferTable,
    load_unit_table,
    render_share,
)
from ectools.netboot.settings.load import load_server_settings

SHARE = TransferShare(address=IPv4Address("192.0.2.10"), max_transfers=800, uid=65534)


class World:
    """The kernel and nft."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.capable = True
        self.program: str | None = "/usr/sbin/nft"
        self.applied: list[tuple[str, str]] = []
        self.error: EcError | None = None
        self.counters: dict[str, int] = {}
        self.is_flushed = False
        monkeypatch.setattr(
            transfer_limit,
            "has_capability",
            lambda capability: self.capable and capability is Capability.NET_ADMIN,
        )
        monkeypatch.setattr(transfer_limit, "find_nft", lambda: self.program)
        monkeypatch.setattr(transfer_limit, "apply", self._apply)
        monkeypatch.setattr(transfer_limit, "read_counters", self._read)
        monkeypatch.setattr(transfer_limit, "has_table", lambda *_: not self.is_flushed)
        self.told = LogLines().all

    def _apply(self, program: str, transaction: str) -> None:
        if self.error is not None:
            raise self.error
        self.applied.append((program, transaction))
        self.is_flushed = False

    def _read(self, program: str, family: str, name: str) -> dict[str, int]:
        assert (program, family) == ("/usr/sbin/nft", "ip")
        if self.error is not None or self.is_flushed:
            raise self.error or EcError("No such file or directory")
        self.counters["asked of"] = self.counters.get("asked of", 0) + 1
        assert name in ("every_channel_tftp_192_0_2_10", "every_channel_tftp")
        return self.counters


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def table() -> TransferTable:
    return TransferTable.of_program(SHARE.address)


def test_the_table() -> None:
    golden.compare("dnsmasq/transfer-limit.nft", render_share(SHARE))


@pytest.mark.parametrize(
    ("transfers", "share", "rate"), [(1, 32, 2), (263, 32, 2), (264, 33, 2), (800, 100, 6), (8000, 1000, 62)]
)
def test_an_address_has_an_eighth_and_a_few_at_least(transfers: int, share: int, rate: int) -> None:
    made = replace(SHARE, max_transfers=transfers)
    assert made.transfers == share
    assert f"ct count over {share} }}" in render_share(made)
    assert f"limit rate over {rate}/second burst {share} packets" in render_share(made)


def test_it_is_loaded_and_removed(world: World, table: TransferTable) -> None:
    table.load(SHARE)
    name = "table ip every_channel_tftp_192_0_2_10"
    assert world.applied == [
        ("/usr/sbin/nft", f"{name}\ndelete {name}\n{name} {{\n{render_share(SHARE)}}}\n")
    ]
    table.remove()
    assert world.applied[1] == ("/usr/sbin/nft", f"{name}\ndelete {name}\n")
    table.remove()
    assert len(world.applied) == 2
    assert world.told() == []


def test_what_was_not_loaded_is_not_removed_and_counts_nothing(world: World, table: TransferTable) -> None:
    table.remove()
    assert (table.count_rejected(), world.applied, world.counters) == (None, [], {})


@pytest.mark.parametrize(("capable", "refused"), [(True, 5), (False, None)])
def test_the_units_is_counted_where_it_may_be_and_is_the_service_managers(
    world: World, capable: bool, refused: int | None
) -> None:
    world.capable = capable
    world.counters["refused"] = 5
    table = TransferTable.of_unit()
    table.load(SHARE)
    assert table.count_rejected() == refused
    table.remove()
    assert (world.applied, world.told()) == ([], [])


def test_this_host_alone_needs_none(world: World, table: TransferTable) -> None:
    world.capable = False
    table.load(replace(SHARE, address=IPv4Address("127.0.0.1")))
    assert (world.applied, world.told()) == ([], [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"capable": False}, "it takes root, or CAP_NET_ADMIN"),
        ({"program": None}, "nft is not installed (package nftables)"),
        ({"error": EcError("nf_tables: Operation not supported")}, "nf_tables: Operation not supported"),
    ],
)
def test_tftp_goes_without_it_and_that_is_told_once(
    world: World, table: TransferTable, changes: dict[str, Any], reason: str
) -> None:
    vars(world).update(changes)
    table.load(SHARE)
    table.load(SHARE)
    (entry,) = world.told()
    assert (entry["level"], entry["reason"]) == ("warning", reason)
    assert "one client can take all transfers" in entry["event"]
    assert world.applied == []
    vars(world).update(error=None)
    table.remove()
    assert world.applied == []


def test_refusals_are_counted_since_the_last_time(world: World, table: TransferTable) -> None:
    table.load(SHARE)
    counts = []
    # The last but one is of a table that was loaded anew.
    for total in (0, 5, 5, 12, 3, 3):
        world.counters["refused"] = total
        counts.append(table.count_rejected())
    assert counts == [0, 5, 0, 7, 3, 0]
    del world.counters["refused"]
    assert table.count_rejected() == 0
    world.error = EcError("nft is gone")
    assert table.count_rejected() == 0
    assert world.told() == []


@pytest.mark.parametrize("make", [lambda: TransferTable.of_program(SHARE.address), TransferTable.of_unit])
def test_one_that_somebody_has_flushed_is_loaded_again(
    world: World, make: Callable[[], TransferTable]
) -> None:
    table = make()
    table.load(SHARE)
    world.applied.clear()
    world.is_flushed = True
    assert table.count_rejected() == 0
    ((program, transaction),) = world.applied
    assert (program, render_share(SHARE) in transaction) == ("/usr/sbin/nft", True)
    (entry,) = world.told()
    assert (entry["level"], "loaded again" in entry["event"]) == ("warning", True)
    world.counters["refused"] = 3
    assert table.count_rejected() == 3
    assert len(world.applied) == 1


def test_one_that_cannot_be_loaded_again_is_tried_the_next_time(world: World, table: TransferTable) -> None:
    table.load(SHARE)
    world.applied.clear()
    world.is_flushed, world.error = True, EcError("nf_tables: Device or resource busy")
    assert table.count_rejected() == 0
    world.error = None
    assert table.count_rejected() == 0
    assert len(world.applied) == 1


def test_one_that_cannot_be_removed_is_told(world: World, table: TransferTable) -> None:
    table.load(SHARE)
    world.error = EcError("nft is gone")
    table.remove()
    (entry,) = world.told()
    assert (entry["level"], entry["table"], entry["reason"]) == (
        "warning",
        "every_channel_tftp_192_0_2_10",
        "nft is gone",
    )
    world.error = None
    table.remove()
    assert len(world.applied) == 1


def test_the_units_table_is_for_the_user_that_dnsmasq_runs_as(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags = {"listenIP": "192.0.2.10", "stateDir": str(tmp_path), "tftp.maxTransfers": 800}
    settings = load_server_settings(None, flags=flags, environment={})
    monkeypatch.setattr(transfer_limit.pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=len(name)))
    fitted: list[int] = []

    def fit(wanted: int) -> int:
        fitted.append(wanted)
        return 400

    monkeypatch.setattr(transfer_limit, "fit_transfers", fit)
    load_unit_table(settings, user="tftp")
    share = TransferShare(address=IPv4Address("192.0.2.10"), max_transfers=400, uid=4)
    name = "table ip every_channel_tftp"
    assert world.applied[0][1] == f"{name}\ndelete {name}\n{name} {{\n{render_share(share)}}}\n"
    assert fitted == [800]

    def fail(_name: str) -> None:
        raise KeyError

    monkeypatch.setattr(transfer_limit.pwd, "getpwnam", fail)
    with pytest.raises(InputError, match="there is no user tftp"):
        load_unit_table(settings, user="tftp")
