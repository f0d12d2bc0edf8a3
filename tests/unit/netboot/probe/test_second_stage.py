"""Where shims look for their second stage, by how their own name came to the firmware."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.pxe_messages import PROXY, client_of, lease

from ectools.netboot.boot_files.shim import ShimFacts
from ectools.netboot.probe.diagnose.second_stage import SecondStage, find_second_stage
from ectools.netboot.probe.simulate.choose import Choice
from ectools.netboot.probe.wire.dhcp import Option
from ectools.netboot.probe.wire.offers import Answer

SHIM = ShimFacts(version="16.1", second_stage="grubx64.efi", by_own_name=False)
IN_FIELD = lease(siaddr=PROXY, file="x")
IN_OPTION = lease(siaddr=PROXY, options={Option.BOOT_FILE: b"x"})
ROOT = "; it looks in the root, because its name came in option 67 alone"


@pytest.mark.parametrize(
    ("number", "offer", "path", "asked", "why"),
    [
        (7, IN_FIELD, "/shim.efi", "/grubx64.efi", ""),
        (7, IN_FIELD, "/a/b/shim.efi", "/a/b/grubx64.efi", ""),
        (7, IN_OPTION, "/shim.efi", "/grubx64.efi", ""),
        (7, IN_OPTION, "/a/b/shim.efi", "/grubx64.efi", ROOT),
        (16, IN_OPTION, "/shim.efi", "//grubx64.efi", ""),
        (16, IN_FIELD, "/a/b/shim.efi?t=1", "/a/b//grubx64.efi", ""),
    ],
)
def test_where_it_looks(number: int, offer: Answer, path: str, asked: str, why: str) -> None:
    base = "http://192.0.2.2" if number == 16 else "tftp://192.0.2.2"
    choice = Choice(client=client_of(number), offers=(offer,), lease=offer)
    assert find_second_stage(base + path, SHIM, choice) == SecondStage(uri=base + asked, why=why)


def test_what_is_not_known() -> None:
    choice = Choice(client=client_of(7), offers=())
    assert find_second_stage("tftp://192.0.2.2/a", replace(SHIM, second_stage=None), choice) is None


def test_by_its_own_name() -> None:
    own = replace(SHIM, by_own_name=True)
    choice = Choice(client=client_of(16), offers=())
    found = find_second_stage("http://192.0.2.2/d/snponly-shim.efi", own, choice)
    assert found == SecondStage(uri="http://192.0.2.2/d/snponly.efi")
