"""As whom the boot server works, and with what rights: what is asked of the kernel's gatekeepers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ectools.capabilities import Capability
from ectools.netboot.server import boot_user
from ectools.netboot.server.boot_user import become_boot_user
from ectools.netboot.settings.load import load_netboot_settings
from ectools.privileges import Identity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from support.log_lines import LogLines

BIND, ADMIN, READ = Capability.NET_BIND_SERVICE, Capability.NET_ADMIN, Capability.DAC_READ_SEARCH


class Kernel:
    """Notes what is asked for, in order."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.calls: list[tuple[Any, ...]] = []

    def work_as(self, *directories: Path, keep: Collection[Capability]) -> Identity | None:
        self.calls.append(("become", directories, set(keep)))
        return self.identity

    def limit(self, *keep: Capability) -> None:
        self.calls.append(("limit", set(keep)))

    def set(self, *, effective: Collection[Capability], permitted: Collection[Capability]) -> None:
        self.calls.append(("set", set(effective), set(permitted)))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel()
    monkeypatch.setattr(boot_user, "work_as_directory_user", kernel.work_as)
    monkeypatch.setattr(boot_user, "limit_to_user", kernel.limit)
    monkeypatch.setattr(boot_user, "set_capabilities", kernel.set)
    return kernel


@pytest.mark.parametrize("with_dnsmasq", [True, False])
def test_root_becomes_the_directorys_user_with_the_rights_that_are_needed(
    kernel: Kernel, log_lines: LogLines, with_dnsmasq: bool
) -> None:
    kernel.identity = Identity(uid=54321, gid=54321)
    settings = load_netboot_settings(None, flags={"stateDir": "/srv/boot"}, environment={})
    grants = become_boot_user(settings, with_dnsmasq=with_dnsmasq)
    keep = {BIND, READ, ADMIN} if with_dnsmasq else {BIND, READ}
    assert kernel.calls == [
        ("become", (settings.state_dir, settings.tftp_dir), keep),
        ("limit", keep),
        ("set", {BIND}, keep),
    ]
    assert set(grants) == ({BIND, ADMIN} if with_dnsmasq else set())
    (line,) = log_lines.all()
    assert (line["level"], line["user"], line["uid"]) == ("info", "54321", 54321)


def test_whoever_stays_who_they_are_gives_nothing_away(kernel: Kernel) -> None:
    settings = load_netboot_settings(None, environment={})
    assert become_boot_user(settings, with_dnsmasq=True) == ()
    assert [call[0] for call in kernel.calls] == ["become"]
