"""Secrets from files: systemd's credentials (LoadCredential, systemd.exec(5)), else the file named."""

from __future__ import annotations

import os
from pathlib import Path


def find_secret(path: Path, *, credential: str) -> Path:
    """The file to read: the service manager's copy named ``credential`` where there is one, else ``path``."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if directory is not None and (copy := Path(directory) / credential).exists():
        return copy
    return path
