"""As whom the runner goes on: decided by whose the directories are, whatever the machine's users are."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.capabilities import Capability, PrivilegeError
from ectools.files import FileError
from ectools.privileges import ROOT, Identity
from ectools.vm import guest_user
from ectools.vm.guest_user import SERVICE_USER, become_guest_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings

ALICE = Identity(uid=64001, gid=64001, groups=(5,))
SERVICE = Identity(uid=64002, gid=64002)
KVM_GROUP = 993
LAN = {"lan": {"enable": True, "macvtap": {"interface": "eth0"}}}
READ, NET, OVERRIDE = Capability.DAC_READ_SEARCH, Capability.NET_ADMIN, Capability.DAC_OVERRIDE


class Machine:
    """Its users and its device; ``did`` is what the process was asked to become."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.euid = 0
        self.owners: list[Identity] = [ALICE]
        """Of the directories, at each look; the last one stays."""
        self.service: Identity | None = SERVICE
        self.device: os.stat_result | None = self.make_device()
        self.did: list[object] = []
        self.looked: list[tuple[Path, ...]] = []
        self.chowned: list[tuple[object, ...]] = []
        monkeypatch.setattr(os, "geteuid", lambda: self.euid)
        monkeypatch.setattr(os, "stat", self._stat)
        monkeypatch.setattr(os, "chown", lambda *arguments, **more: self.chowned.append((*arguments, more)))
        monkeypatch.setattr(guest_user, "find_directory_user", self._find_directory_user)
        monkeypatch.setattr(guest_user, "find_user", self._find_user)
        monkeypatch.setattr(
            guest_user, "drop_privileges", lambda user, keep: self.did.append(("become", user, keep))
        )
        monkeypatch.setattr(guest_user, "drop_for_children", lambda: self.did.append("confine"))
        monkeypatch.setattr(guest_user, "limit_to_user", lambda *keep: self.did.append(("limit", keep)))

    def make_device(self, *, gid: int = KVM_GROUP, mode: int = 0o660) -> os.stat_result:
        return os.stat_result((stat.S_IFCHR | mode, 0, 0, 0, 0, gid, 0, 0, 0, 0))

    def _stat(self, path: object, **more: Any) -> os.stat_result:
        if path != "/dev/kvm":
            return Path(str(path)).lstat() if not more.get("follow_symlinks", True) else os.lstat(str(path))
        if self.device is None:
            raise FileNotFoundError
        return self.device

    def _find_directory_user(self, *directories: Path) -> Identity:
        self.looked.append(directories)
        return self.owners.pop(0) if len(self.owners) > 1 else self.owners[0]

    def _find_user(self, name: str) -> Identity | None:
        assert name == SERVICE_USER
        return self.service


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def settings(settings_of: Callable[..., GuestSettings], tmp_path: Path) -> GuestSettings:
    return settings_of({"stateDir": str(tmp_path), "disk": {"path": "/disks/d.qcow2"}})


def test_root_becomes_the_directories_user_with_the_group_of_kvm(
    machine: Machine, settings: GuestSettings, told: Any
) -> None:
    become_guest_user(settings)
    user = replace(ALICE, groups=(5, KVM_GROUP))
    assert machine.did == [("become", user, (READ,)), ("limit", ())]
    assert machine.looked == [
        (settings.state_dir, Path("/disks"), settings.boot.user_net.tftp_dir),
    ]
    assert told.take() == [("info", "root does not run the guest", {"user": "64001", "uid": 64001})]


def test_a_lan_needs_two_rights_more(machine: Machine, settings_of: Callable[..., GuestSettings]) -> None:
    become_guest_user(settings_of(LAN))
    (_, _, kept), limited = machine.did
    assert kept == (NET, OVERRIDE, READ)
    assert limited == ("limit", (NET, OVERRIDE))


def test_whoever_is_not_root_stays_and_gives_up_the_rest(
    machine: Machine, settings: GuestSettings, settings_of: Callable[..., GuestSettings], told: Any
) -> None:
    machine.euid = 1000
    become_guest_user(settings)
    become_guest_user(settings_of(LAN))
    assert machine.did == ["confine", ("limit", ()), "confine", ("limit", (NET, OVERRIDE))]
    assert machine.looked == []
    assert told.take() == []


@pytest.mark.parametrize(
    ("gid", "mode"), [(0, 0o660), (KVM_GROUP, 0o600), (KVM_GROUP, 0o640), (KVM_GROUP, 0o620), (0, 0o666)]
)
def test_the_group_of_a_device_that_is_not_the_groups_is_not_taken(
    gid: int, mode: int, machine: Machine, settings: GuestSettings
) -> None:
    machine.device = machine.make_device(gid=gid, mode=mode)
    become_guest_user(settings)
    assert machine.did[0] == ("become", ALICE, (READ,))


def test_without_kvm_there_is_no_further_group(
    machine: Machine, settings: GuestSettings, settings_of: Callable[..., GuestSettings]
) -> None:
    become_guest_user(settings_of({"enableKvm": False}))
    machine.device = None
    become_guest_user(settings)
    assert [user for _, user, _ in machine.did[::2]] == [ALICE, ALICE]  # type: ignore[misc, has-type]


def test_in_roots_own_directories_root_becomes_the_services_user(
    machine: Machine, settings_of: Callable[..., GuestSettings], tmp_path: Path
) -> None:
    settings = settings_of({"stateDir": str(tmp_path / "lib/guest")})
    machine.owners = [ROOT, SERVICE]
    become_guest_user(settings)
    assert machine.did[0] == ("become", replace(SERVICE, groups=(KVM_GROUP,)), (READ,))
    # It was missing: made for that user.
    assert stat.S_IMODE(os.lstat(settings.state_dir).st_mode) == 0o750
    assert machine.chowned == [(settings.state_dir, SERVICE.uid, SERVICE.gid, {"follow_symlinks": False})]


def test_a_directory_that_is_there_is_not_given_away(machine: Machine, settings: GuestSettings) -> None:
    machine.owners = [ROOT, ROOT]
    with pytest.raises(PrivilegeError, match=f"is root's, and QEMU runs as {SERVICE_USER}") as caught:
        become_guest_user(settings)
    assert f"chown -R {SERVICE_USER} {settings.state_dir}" in str(caught.value.hint)
    assert (machine.chowned, machine.did) == ([], [])


def test_a_directory_that_cannot_be_made_is_named(
    machine: Machine, settings_of: Callable[..., GuestSettings], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    machine.owners = [ROOT]
    settings = settings_of({"stateDir": str(tmp_path / "file/guest")})
    with pytest.raises(FileError, match="guest: cannot be made: Not a directory"):
        become_guest_user(settings)


def test_without_the_services_user_nobody_runs_it(machine: Machine, settings: GuestSettings) -> None:
    machine.owners, machine.service = [ROOT], None
    with pytest.raises(PrivilegeError, match="is root's, and QEMU does not run as root") as caught:
        become_guest_user(settings)
    assert f"useradd --system {SERVICE_USER}" in str(caught.value.hint)
    assert machine.did == []
