"""A client of a language server (LSP 3.17) over its streams: what an editor would show of one file."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SECONDS = 120.0  # an answer comes in far less, but on a busy machine


class LanguageServer:
    """A server that has been greeted. ``settings`` is what it is given of each section that it asks for."""

    def __init__(self, process: subprocess.Popen[bytes], root: Path, settings: dict[str, Any]) -> None:
        self.process = process
        self.settings = settings
        self.number = 0
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        folder = {"uri": root.as_uri(), "name": root.name}
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": root.as_uri(),
                "workspaceFolders": [folder],
                "capabilities": {
                    "textDocument": {
                        "hover": {"contentFormat": ["markdown", "plaintext"]},
                        "completion": {"completionItem": {"documentationFormat": ["markdown"]}},
                        "publishDiagnostics": {},
                    },
                    "workspace": {"configuration": True, "workspaceFolders": True},
                },
            },
        )
        self.notify("initialized", {})
        self.notify("workspace/didChangeConfiguration", {"settings": settings})

    def find_problems(
        self, path: Path, language: str, text: str, *, wanted: bool = True
    ) -> list[dict[str, Any]]:
        """Show the server a file with ``text``; what it finds wrong with it.

        Servers speak before they have read the schema: waits until there is something, or where nothing is
        ``wanted`` until there is nothing any more.
        """
        uri = path.as_uri()
        document = {"uri": uri, "languageId": language, "version": self.number, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})
        while uri not in self.diagnostics or bool(self.diagnostics[uri]) != wanted:
            self._take()
        return self.diagnostics[uri]

    def hover(self, path: Path, line: int, column: int) -> str:
        """What is shown over a place, as Markdown; ``line`` and ``column`` from 0."""
        shown = self.request("textDocument/hover", self._place(path, line, column))
        return str((shown or {}).get("contents", {}).get("value", ""))

    def complete(self, path: Path, line: int, column: int) -> list[dict[str, Any]]:
        """What may stand at a place."""
        found = self.request("textDocument/completion", self._place(path, line, column))
        return list(found["items"] if isinstance(found, dict) else found or [])

    def request(self, method: str, parameters: Any) -> Any:
        self.number += 1
        own = self.number
        self._send({"id": own, "method": method, "params": parameters})
        while True:
            message = self._take()
            if message.get("id") == own and "method" not in message:
                assert "error" not in message, message
                return message.get("result")

    def notify(self, method: str, parameters: Any) -> None:
        self._send({"method": method, "params": parameters})

    def _place(self, path: Path, line: int, column: int) -> dict[str, Any]:
        return {"textDocument": {"uri": path.as_uri()}, "position": {"line": line, "character": column}}

    def _take(self) -> dict[str, Any]:
        """The next message; the server's own questions are answered on the way."""
        message = self.messages.get(timeout=_SECONDS)
        if message.get("method") == "textDocument/publishDiagnostics":
            self.diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif message.get("method") == "workspace/configuration":
            items = message["params"]["items"]
            result = [self.settings.get(item.get("section", "")) for item in items]
            self._send({"id": message["id"], "result": result})
        elif "method" in message and "id" in message:
            self._send({"id": message["id"], "result": None})
        return message

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while True:
            length = 0
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            if not length:
                return
            self.messages.put(json.loads(stream.read(length)))


@contextmanager
def start_language_server(
    argv: Sequence[str], root: Path, *, settings: dict[str, Any] | None = None
) -> Iterator[LanguageServer]:
    """A server in ``root``, which is ended with the block."""
    with subprocess.Popen(
        argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield LanguageServer(process, root, settings or {})
        finally:
            process.kill()
