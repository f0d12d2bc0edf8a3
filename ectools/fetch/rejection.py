"""Requests that got no answer of use, described for whoever knows what the server is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class RejectionKind(StrEnum):
    """What became of a request that got no answer of use."""

    STATUS = "an answer with a status"
    UNENCRYPTED = "not sent: its URL is not encrypted, and the client's host is"
    UNREACHABLE = "no answer, or none that was whole, in all attempts"
    PAGE = "a web page in place of a file"


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A request that got no answer of use, for whoever knows what to do about it.

    ``status`` is HTTP's, where there was one. ``has_token``: the client has a token. ``at_home``: the request
    went to the client's host.
    """

    kind: RejectionKind
    status: int | None = None
    has_token: bool
    at_home: bool


Advise = Callable[[Rejection], str | None]
"""What to do about a rejection, as the hint of its FetchError; None: nothing is known."""
