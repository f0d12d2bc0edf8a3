"""Which machines get another boot binary than the rest, and where none can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fleets import make_fleet

from ectools.errors import InputError
from ectools.netboot.boot_files.by_machine import (
    check_boot_binaries,
    find_other_filename,
    find_other_stock,
    list_others,
    list_wanted,
)
from ectools.netboot.boot_files.layout import list_boot_names
from ectools.netboot.protocols import StockBinary
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.settings.model import IpxeFile, NetbootSettings

PROXY = {"proxyDhcp.subnet": "192.0.2.0/24", "listenIP": "192.0.2.10"}
FIRST, SECOND, THIRD = (f"02:00:00:00:00:0{number}" for number in (1, 2, 3))
FLEET = make_fleet(
    groups={"small": {"bootBinary": "snponly"}, "large": {"bootBinary": "ipxe"}, "any": {}},
    nodes={
        "b": {"group": "small", "match": {"mac": [THIRD, FIRST], "asset": "b"}},
        "a": {"group": "large", "match": {"mac": [SECOND]}},
        "c": {"group": "small", "match": {"asset": "c"}},
        "d": {"match": {"asset": "d"}},
    },
)


def settings_of(**flags: Any) -> NetbootSettings:
    return load_netboot_settings(None, flags=flags, environment={})


def test_the_other_one_of_the_two() -> None:
    settings = settings_of(**PROXY)
    assert find_other_stock(settings) is StockBinary.SNPONLY
    assert find_other_filename(settings) == "ec-stock-snponly.efi"
    assert "ec-stock-snponly.efi" in list_boot_names(settings)
    assert list_others(settings, FLEET) == (FIRST, THIRD)
    assert list_wanted(FLEET) == {StockBinary.SNPONLY, StockBinary.IPXE}
    check_boot_binaries(settings, FLEET)
    reverse = settings_of(**PROXY, **{"ipxe.binary": "snponly"})
    assert find_other_filename(reverse) == "ec-stock-ipxe.efi"
    assert list_others(reverse, FLEET) == (SECOND,)


def test_where_no_machine_can_have_its_own() -> None:
    """Another DHCP server names the file; and a binary that somebody made has no other beside it."""
    local = settings_of(**PROXY)
    local = replace(local, ipxe=replace(local.ipxe, x86_64=IpxeFile(path=Path("/a.efi"))))
    for settings in (settings_of(), local):
        assert find_other_filename(settings) is None
        assert not any("stock" in name for name in list_boot_names(settings))
        assert list_others(settings, FLEET) == ()
        with pytest.raises(InputError, match=r"^fleet\.groups\.small\.bootBinary: no machine can be given"):
            check_boot_binaries(settings, FLEET)
        check_boot_binaries(settings, make_fleet(groups={"any": {}}))
