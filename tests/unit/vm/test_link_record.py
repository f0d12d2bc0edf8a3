"""A link whose settings became others while it was there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.fake_netlink import Kernel, Link

from ectools.vm.link_record import LinkRecord, read_record, write_record
from ectools.vm.macvtap import MacvtapError, make_link, remove_link, remove_recorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.vm.settings import GuestSettings


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)
    return Kernel(tmp_path, monkeypatch)


@pytest.fixture
def make(kernel: Kernel, settings_of: Callable[..., GuestSettings]) -> Callable[..., None]:
    """Makes the link of settings with this name and this directory, or removes it (``remove``)."""

    def act(name: str, directory: str, record: Path | None = None, *, remove: bool = False) -> None:
        lan = {"enable": True, "macvtap": {"interface": "eth0", "name": name, "mode": "passthru"}}
        settings = settings_of({"stateDir": directory, "lan": lan})
        assert settings.lan is not None
        if remove:
            remove_link(settings.lan.macvtap, settings)
        else:
            make_link(settings.lan.macvtap, settings, uid=1, record_file=record)

    return act


@pytest.mark.parametrize("name", ["ec0", "ec1"])
def test_a_link_is_removed_by_its_note(
    name: str, kernel: Kernel, make: Callable[..., None], tmp_path: Path
) -> None:
    record = tmp_path / "link.json"
    make("ec0", "/before", record)
    assert read_record(record) == LinkRecord(name="ec0", mark="every-channel-ipxe-qemu:/before/disk.qcow2")
    # By the settings of now, it would be somebody else's.
    with pytest.raises(MacvtapError, match="which this guest did not make"):
        make("ec0", "/after", remove=True)
    make(name, "/after", record)
    assert set(kernel.links) == {"eth0", name}
    assert remove_recorded(record)
    assert set(kernel.links) == {"eth0"}
    assert not record.exists()
    assert not remove_recorded(record)


def test_a_link_of_this_guest_under_another_name_is_removed(
    kernel: Kernel, make: Callable[..., None]
) -> None:
    make("ec0", "/guest")
    make("ec1", "/guest")
    assert set(kernel.links) == {"eth0", "ec1"}
    make("ec2", "/guest", remove=True)
    assert set(kernel.links) == {"eth0"}


def test_what_was_noted_and_is_another_link_now_is_left(kernel: Kernel, tmp_path: Path) -> None:
    write_record(tmp_path / "link.json", LinkRecord(name="ec0", mark="mine"))
    kernel.links["ec0"] = Link(5, alias="somebody's")
    assert remove_recorded(tmp_path / "link.json")
    assert kernel.links["ec0"].index == 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "ec0", "mark": 1}'])
def test_a_note_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "link.json").write_text(text)
    assert read_record(tmp_path / "link.json") is None
