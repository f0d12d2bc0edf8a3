"""One file that a client asks for, and what for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.probe.simulate.contents import ContentKind, Contents, identify_contents
from ectools.netboot.probe.simulate.fetcher import FetchState

if TYPE_CHECKING:
    from ectools.netboot.probe.simulate.fetcher import Fetched


class Role(StrEnum):
    """What a file is fetched for."""

    PROGRAM = "program"
    SCRIPT = "script"
    KERNEL = "kernel"
    INITRD = "initrd"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class RequestedFile:
    """One file that a client asks for; ``contents`` where it was found."""

    role: Role
    fetched: Fetched
    contents: Contents | None = None

    @property
    def found(self) -> bool:
        return self.fetched.state is FetchState.FOUND

    @property
    def is_unreadable(self) -> bool:
        """It was found, and is nothing that iPXE can run."""
        return self.contents is not None and self.contents.kind in (ContentKind.PAGE, ContentKind.EMPTY)


def guess_role(uri: str) -> Role:
    """What a file is for, by its name, where the command that fetches it does not say."""
    name = uri.partition("?")[0].rpartition("/")[2].lower()
    if name.endswith(".ipxe"):
        return Role.SCRIPT
    if "initr" in name:
        return Role.INITRD
    is_kernel = any(word in name for word in ("kernel", "linux", "vmlinu", "image"))
    return Role.KERNEL if is_kernel else Role.FILE


def classify(role: Role, fetched: Fetched) -> RequestedFile:
    """The load of a file that was asked for."""
    contents = identify_contents(fetched) if fetched.state is FetchState.FOUND else None
    return RequestedFile(role=role, fetched=fetched, contents=contents)
