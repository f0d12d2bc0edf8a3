"""Staging from a forge of the tests, as tests want it: with a token, and few attempts."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.releases import build_settings, build_tar, release_files, snapshot

from ectools.errors import EcError
from ectools.fetch.retry import RetryPolicy
from ectools.netboot.release.stage import Staged, stage

if TYPE_CHECKING:
    from pathlib import Path

    from support.forge import Forge

SECRET = "s3cret-forge-token"
FILES = {**release_files(), "initrd": os.urandom(3 << 20)}
# Stored, so that other content has the same size.
DATA = gzip.compress(build_tar(FILES), 0)
OTHER = gzip.compress(build_tar({**FILES, "initrd": FILES["initrd"][::-1]}), 0)
HALF = len(DATA) // 2
RETRY = RetryPolicy(
    attempts=3,
    first_wait=0.01,
    longest_wait=0.02,
    longest_retry_after=3,
    connect_seconds=60,
    stall_seconds=60,
)


def fetch(state_dir: Path, forge: Forge, *, stall: float = 60, attempts: int = 3, **flags: object) -> Staged:
    """Stage from the forge, with a token."""
    token_file = state_dir.parent / "token"
    token_file.write_text(f"{SECRET}\n")
    settings = build_settings(
        state_dir,
        **{
            "release_host": forge.url,
            "release_repo": "owner/name",
            "release_tokenFile": str(token_file),
            "release_requireSums": True,
            **flags,
        },
    )
    return stage(settings, retry=replace(RETRY, stall_seconds=stall, attempts=attempts))


def reject(state_dir: Path, forge: Forge, words: str, *, stall: float = 60, **flags: object) -> EcError:
    """Staging fails with these words, quickly enough, and leaves nothing."""
    (state_dir.parent / "token").write_text(f"{SECRET}\n")
    before = snapshot(state_dir.parent)
    with pytest.raises(EcError, match=words) as caught:
        fetch(state_dir, forge, stall=stall, **flags)
    assert snapshot(state_dir.parent) == before
    assert SECRET not in caught.value.render()
    return caught.value
