"""The one line that ``systemctl status`` shows of a guest's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.supervision import ChildState

if TYPE_CHECKING:
    from ectools.notify import Notifier


class StatusLine:
    """The states of the guest, and of a boot HTTP server that does not serve; sent where one has changed."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._guest = ""
        self._server = ""
        self._sent = ""

    def guest(self, text: str) -> None:
        self._guest = text
        self._send()

    def boot_server(self, state: ChildState) -> None:
        self._server = ""
        if state is ChildState.RESTARTING:
            self._server = "the boot HTTP server died and is started again"
        self._send()

    def _send(self) -> None:
        text = "; ".join(filter(None, [self._guest, self._server]))
        if text != self._sent:
            self._sent = text
            self._notifier.status(text)
