"""Conditions and ranges of a request, as RFC 9110 defines them (sections 13 and 14). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\uffff]*"')
_RANGE_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
_BEYOND_ANY_FILE = 1 << 63


class Status(IntEnum):
    """How a GET or HEAD of an existing file is answered."""

    WHOLE = 200
    PARTIAL = 206
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412
    UNSATISFIABLE = 416


@dataclass(frozen=True, kw_only=True)
class Validators:
    """What identifies a file's present content: its size in bytes, a strong entity tag with its quotes, and
    its date in whole seconds since 1970, where it has a meaningful one.
    """

    size: int
    etag: str
    modified: int | None

    @property
    def last_modified(self) -> str | None:
        """The value of Last-Modified."""
        return None if self.modified is None else formatdate(self.modified, usegmt=True)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The answer: its status, and the bytes ``[start, start + count)`` of the file that it carries."""

    status: Status
    start: int
    count: int


def select(method: str, headers: Mapping[str, str], validators: Validators) -> Selection:
    """Evaluate a GET's or HEAD's conditions in the order of RFC 9110, section 13.2.2, and then its range.

    A date in If-Modified-Since must equal Last-Modified to count: when an older release is put back, its
    files are older than the client's copy, and yet they are new to it. Such a date in If-Range likewise.
    """
    nothing = {"start": 0, "count": 0}
    if not _preconditions_hold(headers, validators):
        return Selection(status=Status.PRECONDITION_FAILED, **nothing)
    if _is_not_modified(headers, validators):
        return Selection(status=Status.NOT_MODIFIED, **nothing)
    whole = Selection(status=Status.WHOLE, start=0, count=validators.size)
    field = headers.get("Range")
    # Only GET has ranges (section 14.2).
    if field is None or method != "GET" or not _range_applies(headers, validators):
        return whole
    chosen = parse_range(field, validators.size)
    if chosen is None:
        return whole
    if not chosen:
        return Selection(status=Status.UNSATISFIABLE, **nothing)
    return Selection(status=Status.PARTIAL, start=chosen.start, count=len(chosen))


def parse_range(field: str, size: int) -> range | None:
    """The bytes of ``size`` that a Range field selects: None where it is to be ignored, empty where it
    selects none.

    Ignored are other units, what does not parse, and several ranges at once unless none of them exists: a
    server may ignore any of these (section 14.2), and the client then gets the whole file.
    """
    unit, equals, specs = field.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    ranges: list[range] = []
    for spec in (part.strip(" \t") for part in specs.split(",")):
        if not spec:
            continue  # an empty list element (section 5.6.1.2)
        match = _RANGE_SPEC.fullmatch(spec)
        if match is None or match[0] == "-":
            return None
        first, last = match.groups()
        if not first:
            if _number(last) > 0 and size == 0:
                return None  # satisfiable, yet no Content-Range can say so: the whole, empty, file
            ranges.append(range(max(size - _number(last), 0), size))
        elif last and _number(last) < _number(first):
            return None
        else:
            ranges.append(range(min(_number(first), size), min(_number(last) + 1, size) if last else size))
    if not ranges or (len(ranges) > 1 and any(ranges)):
        return None
    return ranges[0]


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < 19 else _BEYOND_ANY_FILE


def _preconditions_hold(headers: Mapping[str, str], validators: Validators) -> bool:
    if_match = headers.get("If-Match")
    if if_match is not None:
        return if_match.strip() == "*" or validators.etag in _ENTITY_TAG.findall(if_match)
    date = _parse_date(headers.get("If-Unmodified-Since"))
    return date is None or validators.modified is None or validators.modified <= date


def _is_not_modified(headers: Mapping[str, str], validators: Validators) -> bool:
    if_none_match = headers.get("If-None-Match")
    if if_none_match is not None:
        # The weak comparison (section 8.8.3.2): W/ does not count.
        tags = [tag.removeprefix("W/") for tag in _ENTITY_TAG.findall(if_none_match)]
        return if_none_match.strip() == "*" or validators.etag in tags
    date = _parse_date(headers.get("If-Modified-Since"))
    return date is not None and date == validators.modified


def _range_applies(headers: Mapping[str, str], validators: Validators) -> bool:
    if_range = headers.get("If-Range")
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == validators.etag
    date = _parse_date(if_range)
    return date is not None and date == validators.modified


def _parse_date(field: str | None) -> int | None:
    """Seconds since 1970, or None where the field is missing or no date (then it is ignored)."""
    if field is None:
        return None
    try:
        return int(parsedate_to_datetime(field).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
