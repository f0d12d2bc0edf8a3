"""What was built from which source: an in-toto Statement (v1) with SLSA's provenance (v1).

It stands beside the archives as plain JSON, ``provenance.json``, whose hash is in the signed sums; where
there is a key, as a DSSE envelope too, ``provenance.intoto.jsonl``, which programs for attestations read. The
same release has the same: when it was made is said by its tag, and not by when somebody published it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ectools import __version__
from ectools.errors import InputError
from ectools.redact import redact_user

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVENANCE_NAME = "provenance.json"
ENVELOPE_NAME = "provenance.intoto.jsonl"
STATEMENT_TYPE = "application/vnd.in-toto+json"
_BUILD_TYPE = "https://every.channel/netboot/pack/v1"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class BuildSource:
    """What a release was built from: ``uri`` (SPDX's form of a repository: ``git+https://…``) at ``commit``.

    ``builder`` is a URI of who built it; ``lock`` the SHA-256 of the sources' own lock, ``flake.lock``.
    """

    uri: str | None = None
    commit: str | None = None
    builder: str | None = None
    lock: str | None = None

    def __post_init__(self) -> None:
        """Raises InputError for what is no commit, or one of nothing, and for what says who reads it."""
        for option, uri in (("--source", self.uri), ("--builder", self.builder)):
            if uri is not None and (shown := redact_user(uri)) != uri:
                hint = "a statement is for everybody: write the address without it"
                raise InputError(f"{option}: {shown}: an address with a user or a password", hint=hint)
        if self.lock is not None and self.uri is None:
            raise InputError("--lock: is a source's, and no --source is given")
        if self.commit is not None and (self.uri is None or _COMMIT.fullmatch(self.commit) is None):
            raise InputError(
                f"{self.commit!r}: is no commit of a source",
                hint="--commit is 40 or 64 hexadecimal digits, of what --source names",
            )


def build_statement(
    digests: Mapping[str, str], *, tag: str, source: BuildSource, released_at: int | None
) -> bytes:
    """The statement of these archives, name → SHA-256, as JSON."""
    dependencies: list[dict[str, Any]] = []
    if source.uri is not None:
        commit = {} if source.commit is None else {"digest": {"gitCommit": source.commit}}
        dependencies.append({"uri": source.uri, **commit})
    if source.lock is not None:
        dependencies.append({"name": "flake.lock", "digest": {"sha256": source.lock}})
    metadata = {}
    if released_at is not None:
        at = datetime.fromtimestamp(released_at, UTC).isoformat().replace("+00:00", "Z")
        metadata = {"metadata": {"finishedOn": at}}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {"tag": tag, **({} if source.uri is None else {"source": source.uri})},
                "internalParameters": {},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                # SLSA requires one; what nobody named is who has the key.
                "builder": {
                    "id": source.builder or "https://every.channel/netboot/by-hand",
                    "version": {"ectools": __version__},
                },
                **metadata,
            },
        },
    }
    return json.dumps(statement, indent=2).encode() + b"\n"
