"""A boot server elsewhere: serves one directory, and remembers what it was asked for."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


class RecordingServer:
    """On a free port of 127.0.0.1; ``targets`` are the request targets with their queries, in order.

    ``tokens`` are the values of ``X-Boot-Token``, one a request; None where there was none.
    """

    def __init__(self, root: Path) -> None:
        targets: list[str] = []
        tokens: list[str | None] = []
        self.targets = targets
        self.tokens = tokens

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                targets.append(self.path)
                tokens.append(self.headers.get("X-Boot-Token"))
                super().do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
