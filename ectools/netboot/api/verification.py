"""What is known of each node's system, and how well: ``ectools fleet verify``.

Pure: of rows and boots as the API gives them, and of statements by keys that the operator trusts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Knowledge(StrEnum):
    """How well it is known what a node runs; each of the first three says more than the one before."""

    UNKNOWN = "unknown"
    """Nothing has told it, or nothing that could be compared."""
    REPORTED = "reported"
    """The node has said it, and the boot server has found it to be what the node was given."""
    REBUILT = "rebuilt"
    """And somebody who is trusted has built that very system again, and signed that."""
    CONTRADICTED = "contradicted"
    """The node says that it runs something else than it was given."""


_RANKS = {Knowledge.CONTRADICTED: 0, Knowledge.UNKNOWN: 1, Knowledge.REPORTED: 2, Knowledge.REBUILT: 3}


@dataclass(frozen=True, kw_only=True)
class NodeVerification:
    """What is known of one node. ``system`` is the store path that it reported.

    ``why`` says what is missing. ``counts``: something is expected of it: it is not held, and does not boot
    from its disk by itself.
    """

    name: str
    group: str | None
    release: Mapping[str, Any] | None
    system: str | None
    knowledge: Knowledge
    why: str | None
    rebuilt_by: tuple[str, ...]
    counts: bool

    def is_enough(self, required: Knowledge) -> bool:
        """Whether as much is known of it as is required, or nothing is; a contradiction is never enough."""
        if self.knowledge is Knowledge.CONTRADICTED:
            return False
        return not self.counts or _RANKS[self.knowledge] >= _RANKS[required]

    def show_json(self) -> dict[str, Any]:
        """In the shape of ``schemas/api/verification.json``."""
        return {
            "name": self.name,
            "group": self.group,
            "release": self.release,
            "system": self.system,
            "knowledge": self.knowledge.value,
            "why": self.why,
            "rebuilt_by": list(self.rebuilt_by),
            "expected": self.counts,
        }


def verify_node(
    row: Mapping[str, Any], boot: Mapping[str, Any] | None, rebuilt: Mapping[str, Sequence[str]]
) -> NodeVerification:
    """What is known of the node of a row, whose last boot is ``boot``.

    ``rebuilt``: a system's store path → who has signed that it was built again.
    """
    report = None if boot is None else boot["report"]
    system = None if report is None else report["system"]
    knowledge, why = _weigh(boot, report)
    by = tuple(rebuilt.get(system, ())) if knowledge is Knowledge.REPORTED and system is not None else ()
    return NodeVerification(
        name=row["name"],
        group=row["group"],
        release=row["release"],
        system=system,
        knowledge=Knowledge.REBUILT if by else knowledge,
        why=why,
        rebuilt_by=by,
        counts=row["on_release"] is not None,
    )


def _weigh(boot: Mapping[str, Any] | None, report: Mapping[str, Any] | None) -> tuple[Knowledge, str | None]:
    if boot is None:
        return Knowledge.UNKNOWN, "has not booted yet"
    if report is None:
        return Knowledge.UNKNOWN, f"has not reported: {boot['state']}, last seen: {boot['stage']}"
    why = _find_contradiction(boot, report)
    if why is not None:
        return Knowledge.CONTRADICTED, why
    if report["release"] is None or report["system"] is None:
        return Knowledge.UNKNOWN, "its report does not name its release and its system"
    if boot.get("store_path") is None:
        return Knowledge.UNKNOWN, "which system it was given is not known to the boot server"
    return Knowledge.REPORTED, None


def _find_contradiction(boot: Mapping[str, Any], report: Mapping[str, Any]) -> str | None:
    """What is not what it was given; None where nothing is, as far as it is said."""
    given = ((report["release"], boot["release"]["id"]), (report["system"], boot.get("store_path")))
    return next(
        (
            f"says that it runs {says}, and was given {was}"
            for says, was in given
            if None not in (says, was) and says != was
        ),
        None,
    )
