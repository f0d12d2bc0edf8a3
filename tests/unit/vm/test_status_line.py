"""The line that systemctl shows: the guest, and the boot HTTP server where it does not serve."""

from __future__ import annotations

from typing import Any

from ectools.notify import Notifier
from ectools.supervision import ChildState
from ectools.vm.status_line import StatusLine


def test_it_is_sent_where_it_has_changed(manager: Any) -> None:
    line = StatusLine(Notifier())
    line.guest("the guest runs")
    line.guest("the guest runs")
    assert manager.heard() == ["STATUS=the guest runs"]
    line.boot_server(ChildState.RESTARTING)
    line.guest("the guest is paused")
    line.boot_server(ChildState.RUNNING)
    line.boot_server(ChildState.RUNNING)
    died = "the boot HTTP server died and is started again"
    assert manager.heard() == [
        f"STATUS=the guest runs; {died}",
        f"STATUS=the guest is paused; {died}",
        "STATUS=the guest is paused",
    ]


def test_the_server_may_be_all_there_is(manager: Any) -> None:
    line = StatusLine(Notifier())
    line.boot_server(ChildState.RUNNING)
    assert manager.heard() == []
    line.boot_server(ChildState.RESTARTING)
    assert manager.heard() == ["STATUS=the boot HTTP server died and is started again"]
