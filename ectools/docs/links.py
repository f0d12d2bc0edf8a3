"""Where links go: declarations to their source, options to their entry; which links of a text are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from ectools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SAFE = re.compile(r"(?:https?://|mailto:)[^\s]+", re.IGNORECASE)


@dataclass(frozen=True)
class SourceUrl:
    """A template such as ``https://example.org/blob/main/{path}#L{line}``."""

    template: str

    def __post_init__(self) -> None:
        unknown = {name for name in _PLACEHOLDER.findall(self.template) if name not in ("path", "line")}
        if unknown or "{path}" not in self.template or not self.template.startswith(("https://", "http://")):
            raise InputError(
                f"{self.template}: not a template for links to source files",
                hint="it starts with https:// and holds {path}, and may hold {line}: "
                "https://example.org/blob/main/{path}#L{line}",
            )

    def fill(self, path: str, line: int | None) -> str:
        """The link; where no line is known, what follows ``#`` is left out."""
        template = self.template if line is not None else self.template.partition("#")[0]
        return template.replace("{path}", quote(path)).replace("{line}", str(line or 1))


@dataclass(frozen=True)
class Links:
    """Where options are described (``page#anchor``), by name and by anchor; told as seen from ``page``."""

    by_name: Mapping[str, str]
    by_anchor: Mapping[str, str]
    page: str = ""

    def find_option(self, name: str) -> str | None:
        """Where an option is described; None where it is not."""
        return self._local(self.by_name.get(name))

    def find(self, href: str) -> str | None:
        """Where a link in a description leads: None where that is not known or not safe."""
        if href.startswith("#"):
            return self._local(self.by_anchor.get(unquote(href[1:])))
        return href if _SAFE.fullmatch(href) else None

    def _local(self, target: str | None) -> str | None:
        own = f"{self.page}#"
        return target[len(self.page) :] if target is not None and target.startswith(own) else target
