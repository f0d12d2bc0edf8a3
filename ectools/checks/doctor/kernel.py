"""What the kernel says of itself."""

from __future__ import annotations

from pathlib import Path


def read_kernel_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
