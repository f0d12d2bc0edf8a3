"""Who only looks, and what is current: the desk by itself, without a site."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, MultiDict

from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.server.script_desk import is_probe


@pytest.mark.parametrize(
    ("agent", "expected"), [("ectools-probe", True), ("iPXE/1.21.1", False), (None, False)]
)
def test_the_probe_is_told_by_its_name(agent: str | None, expected: bool) -> None:
    headers = CIMultiDict[str]({} if agent is None else {"User-Agent": agent})
    info = RequestInfo(peer="", method="GET", segments=(b"netboot.ipxe",), query=MultiDict(), headers=headers)
    assert is_probe(info) is expected
