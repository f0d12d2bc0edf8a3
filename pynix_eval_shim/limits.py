"""Limits of one call of nix: past any of them it is killed, and the error's class says which one it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits of one call.

    ``seconds`` is wall-clock time. ``memory_bytes`` caps the address space of nix and of what it starts
    (Linux only: other systems ignore the limit or have none); None sets no cap. ``output_bytes`` caps
    standard output and standard error, each.
    """

    seconds: float = 300.0
    memory_bytes: int | None = 8 << 30
    output_bytes: int = 256 << 20


BUILD_LIMITS = Limits(seconds=3600.0, memory_bytes=None)
"""The default where nix builds: builders inherit the cap, and some reserve far more than they ever touch."""
