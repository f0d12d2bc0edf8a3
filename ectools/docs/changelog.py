"""What became of the options between two revisions of their schemas, for a changelog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.docs.markdown import code_span, escape_markdown
from ectools.docs.reference import load_redirects
from ectools.options.drift import Change, ChangeKind
from ectools.options.reporting import compare_paths

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HEADINGS = {
    ChangeKind.BREAKING: "Breaking",
    ChangeKind.COMPATIBLE: "Compatible",
    ChangeKind.DOCS: "Documentation",
}


# Lines move with every change of a module: no news of the option.
_NO_NEWS = "where it is declared differs"


def write_changelog(old: Path, new: Path, *, redirects: Path | None = None) -> str:
    """Markdown, the worst first: a list of each kind of change. Both are schemas' files or directories.

    What ``redirects`` has as renamed is told so. Raises InputError, FileError.
    """
    renamed = {} if redirects is None else load_redirects(redirects)
    news = [(change, _describe_change(change, renamed)) for change in compare_paths(old, new)]
    blocks = []
    for kind, heading in _HEADINGS.items():
        lines = [
            f"- {code_span(change.option)}: {text}" for change, text in news if change.kind is kind and text
        ]
        if lines:
            blocks.append("\n".join([f"### {heading}", "", *lines]))
    return "\n\n".join(blocks or ["No option differs."]) + "\n"


def _describe_change(change: Change, renamed: Mapping[str, str]) -> str:
    """What to say of a change, as Markdown; nothing where it is said elsewhere, or is no news."""
    if change.message == _NO_NEWS:
        return ""
    if _is_option(change.old) and change.new is None and change.option in renamed:
        return f"it is {code_span(renamed[change.option])} now"
    if _is_option(change.new) and change.old is None and change.option in renamed.values():
        return ""
    return escape_markdown(change.message)


def _is_option(value: Any) -> bool:
    return isinstance(value, dict) and "x-nix-type" in value
