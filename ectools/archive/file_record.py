"""What is known of an unpacked file: its size and its hash."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file: its size in bytes, and its SHA-256 in lower-case hexadecimal."""

    size: int
    sha256: str
