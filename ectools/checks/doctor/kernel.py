"""What the kernel says of itself and of this process."""

from __future__ import annotations

import re
from pathlib import Path


def read_kernel_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def has_capability(number: int) -> bool:
    """Whether this process has the capability (capabilities(7)) in its effective set."""
    found = re.search(r"^CapEff:\s+([0-9a-f]+)$", read_kernel_file("/proc/self/status"), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) & 1 << number)
