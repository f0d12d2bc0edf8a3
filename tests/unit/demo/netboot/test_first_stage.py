"""The first stage is the system's own iPXE, or a package's; where neither is to be had, both are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ectools.demo.netboot import first_stage as first_stage_module
from ectools.demo.netboot.first_stage import find_first_stage
from ectools.demo.payload import PayloadError
from ectools.errors import EcError
from ectools.netboot.boot_files.choose import BinaryError


def test_the_systems_own_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_stage_module, "find_stock", lambda _package: object())
    assert find_first_stage() is None


@pytest.fixture
def _none_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_package: None) -> None:
        raise BinaryError("no stock iPXE here")

    monkeypatch.setattr(first_stage_module, "find_stock", find)


@pytest.mark.usefixtures("_none_here")
def test_else_a_package_of_a_newer_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_stage_module, "find_ipxe_tree", lambda suite: Path("/cache") / suite)
    assert find_first_stage() == Path("/cache/trixie/usr/lib/ipxe/ipxe-amd64.efi")


@pytest.mark.usefixtures("_none_here")
def test_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_suite: str) -> Path:
        raise EcError("apt-get: program not found")

    monkeypatch.setattr(first_stage_module, "find_ipxe_tree", find)
    with pytest.raises(
        PayloadError, match=r"no stock iPXE here; and .* apt-get: program not found"
    ) as caught:
        find_first_stage()
    assert caught.value.hint is not None
    assert "--ipxe FILE" in caught.value.hint
