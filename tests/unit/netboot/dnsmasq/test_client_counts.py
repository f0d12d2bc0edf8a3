"""Clients, counted by their architecture, and what another process says of them."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.netboot.dnsmasq.counts import OTHER_ARCHITECTURE, ClientCounts, name_architecture
from ectools.netboot.protocols import load_protocols


@pytest.mark.parametrize("architecture", load_protocols().architectures, ids=lambda each: each.name)
@pytest.mark.parametrize("vendor", ["PXEClient", "HTTPClient"])
def test_an_architecture_is_named_as_the_table_has_it(architecture: Any, vendor: str) -> None:
    assert name_architecture(f"{vendor}:Arch:{architecture.number:05}:UNDI:003016") == architecture.name
    assert name_architecture(f"{vendor}:Arch:{architecture.number:05}") == architecture.name
    assert architecture.name != OTHER_ARCHITECTURE


@pytest.mark.parametrize(
    "vendor_class",
    [None, "", "PXEClient", "PXEClient:Arch:7", "PXEClient:Arch:00002:UNDI:003016", "MSFT 5.0"],
)
def test_any_other_is_no_name_of_its_own(vendor_class: str | None) -> None:
    assert name_architecture(vendor_class) == OTHER_ARCHITECTURE


def test_counts_survive_the_way_to_another_process() -> None:
    counts = ClientCounts()
    counts.offers.update({"x64 UEFI": 3, OTHER_ARCHITECTURE: 1})
    counts.ignored["x86 BIOS"] = 2
    counts.failed = 5
    assert ClientCounts.from_json(counts.to_json()).to_json() == counts.to_json()


GOOD: dict[str, Any] = {"offers": {}, "ignored": {}, "failed": 0}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {**GOOD, "offers": []},
        {**GOOD, "offers": {"x64 UEFI": -1}},
        {**GOOD, "offers": {"x64 UEFI": 2**63}},
        {**GOOD, "ignored": {"x64 UEFI": True}},
        {**GOOD, "ignored": {"any": 1}},
        {**GOOD, "failed": "1"},
        {**GOOD, "failed": None},
    ],
)
def test_what_are_no_counts(data: Any) -> None:
    with pytest.raises(ValueError, match="count"):
        ClientCounts.from_json(data)
