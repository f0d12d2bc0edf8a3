"""What is not as somebody has said it is to be, above the list: each a sentence, a few of a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.api.page import text

if TYPE_CHECKING:
    from ectools.netboot.api.page.facts import FleetFacts

MAX_LEFT_OUT = 5
"""Nodes that were added and are left out, each a sentence."""


def write_notices(facts: FleetFacts) -> list[str]:
    """The sentences, as text that is bounded and not yet escaped."""
    notices = []
    if facts.reload_error is not None:
        reason = text.show_line(facts.reload_error)
        notices.append(
            f"The settings of before are in force: those that were read last cannot be used: {reason}."
            " The log says more."
        )
    for name, why in facts.left_out[:MAX_LEFT_OUT]:
        notices.append(f"{text.show_line(name)} was added, and is left out: {text.show_line(why)}")
    hidden = len(facts.left_out) - MAX_LEFT_OUT
    if hidden > 0:
        notices.append(f"{hidden} more that were added are left out: ectools fleet status names them")
    return notices
