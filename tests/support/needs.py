"""What a test needs of the machine.

Where it is missing, the test is skipped with one loud line, and fails under ``CI=true``: a green run in
continuous integration has run everything.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def give_up(reason: str) -> NoReturn:
    """Skip the test because the machine lacks something; fail it in continuous integration."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"MISSING ON THIS MACHINE: {reason}", pytrace=False)
    pytest.skip(f"MISSING ON THIS MACHINE: {reason}")


def require_tool(name: str, hint: str) -> str:
    """The absolute path of a program on PATH; ``hint`` says how to install it where it is missing."""
    found = shutil.which(name)
    if found is None:
        give_up(f"{name} is not on PATH; {hint}")
    return found


def require_root(why: str) -> None:
    """Root's rights, for what ``why`` says."""
    if os.geteuid() != 0:
        give_up(f"the rights of root: {why}")
