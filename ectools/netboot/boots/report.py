"""What a node sends of its boot, a form: read within bounds, cleaned of what could steer who looks at it.

``application/x-www-form-urlencoded`` (https://url.spec.whatwg.org/#application/x-www-form-urlencoded)::

    stage=running                                     its initrd runs
    stage=store&percent=…                             so much of its store has its initrd fetched
    stage=up&healthy=yes|no&release=…&system=…        it is up, and runs this
      &failed=<unit>…&seconds.kernel=1.5…&clock=…&journal=…

Fields that are not known are left alone: a node may be newer than its boot server.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.errors import InputError, cut
from ectools.netboot.boots.form import clean_text, cut_kept, get_field, parse_form
from ectools.netboot.boots.model import NodeReport, NodeStage
from ectools.redact import redact_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_REPORT_BYTES = 64 << 10
"""Of the form as it is sent."""
MAX_JOURNAL_LENGTH = 32 << 10
"""Characters of a journal that are kept: its last ones."""
MAX_ENCODED_JOURNAL = 128 << 10
"""Of these in the state, which takes so much more of one boot that all else of a report finds room."""
MAX_FAILED_UNITS = 64
"""Units that are kept; who has more failed ones is told by these."""
PARTS = ("firmware", "loader", "kernel", "initrd", "userspace")
"""Of a boot, whose seconds systemd tells (systemd-analyze(1), time)."""

_MAX_TEXT = 256
_PERCENT = re.compile(r"100|[0-9]{1,2}", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)


def parse_store_percent(body: bytes) -> int | None:
    """How much of its store a node has fetched; None: the form is of something else. Raises InputError."""
    fields = parse_form(body)
    if get_field(fields, "stage") != NodeStage.STORE:
        return None
    percent = get_field(fields, "percent") or ""
    if _PERCENT.fullmatch(percent) is None:
        raise InputError("percent: is no number up to 100")
    return int(percent)


def parse_report(body: bytes) -> tuple[NodeStage, NodeReport | None]:
    """The stage that a node is at, and its report where it is up. Raises InputError, which says why not."""
    fields = parse_form(body)
    stage = get_field(fields, "stage")
    if stage == NodeStage.RUNNING:
        return NodeStage.RUNNING, None
    if stage != NodeStage.UP:
        raise InputError(f"stage: {cut(clean_text(stage or ''))!r} is none of running, store, up")
    healthy = get_field(fields, "healthy")
    if healthy not in ("yes", "no"):
        raise InputError("healthy: neither yes nor no")
    journal = redact_tokens(clean_text(get_field(fields, "journal") or "", lines=True))
    return NodeStage.UP, NodeReport(
        release=_parse_text(fields, "release"),
        system=_parse_text(fields, "system"),
        healthy=healthy == "yes",
        seconds={
            part: number for part in PARTS if (number := _parse_number(fields, f"seconds.{part}")) is not None
        },
        failed=tuple(
            cut_kept(clean_text(unit)[:_MAX_TEXT], 2 * _MAX_TEXT)
            for unit in fields.get("failed", ())[:MAX_FAILED_UNITS]
        ),
        journal=cut_kept(journal[-MAX_JOURNAL_LENGTH:], MAX_ENCODED_JOURNAL, keeps_end=True)
        if healthy == "no"
        else "",
        clock=_parse_number(fields, "clock"),
    )


def _parse_text(fields: Mapping[str, Sequence[str]], name: str) -> str | None:
    text = clean_text(get_field(fields, name) or "").strip()
    if len(text) > _MAX_TEXT:
        raise InputError(f"{name}: longer than {_MAX_TEXT} characters")
    return text or None


def _parse_number(fields: Mapping[str, Sequence[str]], name: str) -> float | None:
    text = get_field(fields, name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise InputError(f"{name}: no decimal number")
    return float(text)
