from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ectools.vm.child_environment import child_environment

if TYPE_CHECKING:
    import pytest


def test_a_child_cannot_speak_for_the_service_and_finds_this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KEPT", "yes")
    environment = child_environment()
    assert environment["KEPT"] == "yes"
    assert (
        not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"} & environment.keys()
    )
    assert set(environment["PYTHONPATH"].split(os.pathsep)) == {path for path in sys.path if path}
