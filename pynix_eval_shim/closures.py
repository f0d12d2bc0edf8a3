"""The closure of a store path, and the paths whose content is no longer what the store registered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pynix_eval_shim import invocation, messages, process
from pynix_eval_shim.diagnosis import diagnose
from pynix_eval_shim.invocation import Nix
from pynix_eval_shim.limits import BUILD_LIMITS, Limits
from pynix_eval_shim.source import PositionMap

if TYPE_CHECKING:
    from collections.abc import Sequence

_MODIFIED = re.compile(r"path '(?P<path>/[^']+)' was modified!")
_PATHS_A_CALL = 500
"""So that argv stays far below what the kernel takes."""


def requisites(path: str, *, nix: Nix | None = None, limits: Limits | None = None) -> tuple[str, ...]:
    """The closure of a store path: itself and all that it refers to, directly or not, sorted.

    Raises NixError, where the path is not in the store above all.
    """
    nix = nix or Nix()
    argv = [nix.find("nix-store"), "--query", "--requisites", path, *_common(nix)]
    finished, _ = invocation.call(nix, argv, limits=limits or Limits())
    return tuple(sorted(finished.stdout.decode().split()))


def path_hashes(
    paths: Sequence[str], *, nix: Nix | None = None, limits: Limits | None = None
) -> dict[str, str]:
    """Store path → the hash of its NAR as the store's database has it, ``sha256:`` and Nix's base 32.

    Raises NixError, where a path is not in the store above all.
    """
    nix = nix or Nix()
    found: dict[str, str] = {}
    for start in range(0, len(paths), _PATHS_A_CALL):
        part = paths[start : start + _PATHS_A_CALL]
        argv = [nix.find("nix-store"), "--query", "--hash", *part, *_common(nix)]
        finished, _ = invocation.call(nix, argv, limits=limits or Limits())
        found |= dict(zip(part, finished.stdout.decode().split(), strict=True))
    return found


def find_modified(
    paths: Sequence[str], *, nix: Nix | None = None, limits: Limits = BUILD_LIMITS
) -> tuple[str, ...]:
    """Which of these store paths no longer have the hash that the store's database says, in their order.

    All of them are read in full; ``limits`` hold for each 500 of them. Raises NixError.
    """
    nix = nix or Nix()
    found: list[str] = []
    for start in range(0, len(paths), _PATHS_A_CALL):
        part = paths[start : start + _PATHS_A_CALL]
        argv = [nix.find("nix-store"), "--verify-path", *part, *_common(nix)]
        finished = process.run_nix(argv, limits=limits, env=nix.environment())
        diagnostics = messages.parse_messages(finished.stderr, PositionMap())
        modified = [
            match["path"] for note in diagnostics.notes if (match := _MODIFIED.match(note)) is not None
        ]
        # A modified path is a note and the status 1; an error is an error.
        if (
            diagnostics.faults
            or finished.returncode not in (0, 1)
            or (finished.returncode == 1 and not modified)
        ):
            raise diagnose(finished, diagnostics, names_builtins=lambda: True)
        found += modified
    return tuple(found)


def _common(nix: Nix) -> list[str]:
    return [*invocation.choose_store(nix, needed=True).arguments, *invocation.settings(nix)]
