"""What a pytest that is started by a test needs, so that neither run disturbs the other."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A directory for the block, open to other users: the path of a UNIX socket in it may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ec-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


def build_environment(directory: Path) -> dict[str, str]:
    """This process's environment without the outer run's worker and coverage, and with a place of its own.

    pytest closes the directory of all its runs to other users, as whom some tests of the outer run work.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return {**kept, "TMPDIR": str(directory)}
