"""Machines that the settings let in and have no archive for, by the archives' names."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.settings.systems import warn_of_missing_systems


def count(caplog: pytest.LogCaptureFixture, **flags: Any) -> int:
    caplog.clear()
    options = {name.replace("_", ".", 1): value for name, value in flags.items()}
    warn_of_missing_systems(load_netboot_settings(None, flags=options, environment={}))
    return len(caplog.records)


def test_names_tell_or_nobody_warns(caplog: pytest.LogCaptureFixture) -> None:
    arm64 = {"ipxe_arm64File": "/srv/ipxe-arm64.efi"}
    assert count(caplog, **arm64) == 0
    assert count(caplog, **arm64, release_tarball="/srv/a-x86_64.tar.gz") == 1
    (record,) = caplog.records
    assert record.__dict__["fields"] == {
        "tarball": ["a-x86_64.tar.gz"],
        "hint": "name the archive for aarch64 beside it, or unset ipxe.arm64File",
    }
    assert count(caplog, release_tarball="/srv/a-x86_64.tar.gz") == 0
    assert count(caplog, **arm64, release_tarball=["/srv/a-x86_64.tar.gz", "/srv/a-arm64.tar.gz"]) == 0
    assert count(caplog, **arm64, release_tarball="/srv/a.tar.gz") == 0
