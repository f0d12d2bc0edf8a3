"""A note of the macvtap link that was made: whoever ends it need not ask settings that changed since."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.files import read_json, write_atomic

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class LinkRecord:
    """The link's name, and the alias that says whose it is."""

    name: str
    mark: str


def read_record(path: Path) -> LinkRecord | None:
    """The record; None where there is none that can be read: then the settings say which link is meant."""
    try:
        found = read_json(path)
        record = LinkRecord(name=found["name"], mark=found["mark"])
    except (EcError, KeyError, TypeError):
        return None
    return record if isinstance(record.name, str) and isinstance(record.mark, str) else None


def write_record(path: Path, record: LinkRecord) -> None:
    """Raises FileError."""
    write_atomic(path, json.dumps(asdict(record)).encode(), mode=0o600)
