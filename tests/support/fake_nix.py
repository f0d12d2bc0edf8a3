"""A stand-in for the process that is nix, by which a test sees what nix would be asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pynix_eval_shim.process import Finished

SETTINGS = [
    *("--extra-experimental-features", "nix-command flakes"),
    *("--log-format", "internal-json", "--show-trace"),
]
STORE = ["--store", "/some/where"]


@dataclass
class FakeProcess:
    """``process.run_nix``: notes each call and gives the answers in their order, the last again and again."""

    answers: list[tuple[int, str, str]] = field(default_factory=lambda: [(0, "null", "")])
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, argv: list[str], **options: Any) -> Finished:
        self.calls.append({"argv": list(argv), **options})
        returncode, stdout, stderr = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Finished(
            argv=tuple(argv), returncode=returncode, stdout=stdout.encode(), stderr=stderr.encode()
        )

    @property
    def argv(self) -> list[str]:
        """The arguments of the last call, without the program."""
        return list(self.calls[-1]["argv"][1:])

    def option(self, name: str) -> str | None:
        """A setting of the last call."""
        found = [
            self.argv[at + 2]
            for at, each in enumerate(self.argv)
            if self.argv[at : at + 2] == ["--option", name]
        ]
        assert len(found) < 2
        return found[0] if found else None


def error_event(message: str, **more: Any) -> str:
    event = {"action": "msg", "level": 0, "msg": f"error: {message}", "raw_msg": message, **more}
    return "@nix " + json.dumps(event)
