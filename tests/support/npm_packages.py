"""Programs from npm that tests start, which Debian does not have: installed once, in a directory apart.

The directory is in ``$EC_CACHE``, or in the repository's ``.cache``; nothing is installed for the system.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

from support.needs import give_up, require_tool

ROOT = Path(__file__).resolve().parents[2]


def find_npm_package(name: str, version: str) -> Path:
    """The directory whose ``node_modules`` has the package; the test is given up where npm cannot get it."""
    npm = require_tool("npm", "install Node.js with npm (Debian: npm)")
    cache = Path(os.environ.get("EC_CACHE") or ROOT / ".cache")
    directory = cache / f"npm-{name.strip('@').replace('/', '-')}-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "done").exists():
            directory.mkdir(exist_ok=True)
            argv = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory)]
            done = subprocess.run(
                [*argv, f"{name}@{version}"], capture_output=True, text=True, check=False, timeout=300
            )
            if done.returncode != 0:
                give_up(f"npm cannot install {name}: {done.stderr.strip()[-300:]}")
            (directory / "done").touch()
    return directory
