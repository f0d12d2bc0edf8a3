from __future__ import annotations

import os
import sys

import pytest

from ectools.vm.confine import build_confined_argv, child_environment

COMMON = ["/bin/setpriv", "--no-new-privs", "--ambient-caps=-all", "--inh-caps=-all"]
END = ["--pdeathsig=KILL", "--", "qemu", "-x"]


@pytest.mark.parametrize(
    ("capabilities", "bounding"),
    [
        (0, []),
        (1 << 12 | 1 << 1, []),  # the unit's: net_admin and dac_override
        (1 << 8, ["--bounding-set=-all"]),
        ((1 << 41) - 1, ["--bounding-set=-all,+dac_override"]),
    ],
)
def test_a_child_keeps_nothing(capabilities: int, bounding: list[str]) -> None:
    argv = build_confined_argv(["qemu", "-x"], setpriv="/bin/setpriv", capabilities=capabilities)
    assert argv == [*COMMON, *bounding, *END]


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
