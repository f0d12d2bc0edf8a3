"""One file that a client asks for, and what for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.probe.simulate.contents import ContentKind
from ectools.netboot.probe.simulate.fetcher import FetchState

if TYPE_CHECKING:
    from ectools.netboot.probe.simulate.contents import Contents
    from ectools.netboot.probe.simulate.fetcher import Fetched


class Role(StrEnum):
    """The purpose of a file."""

    PROGRAM = "program"
    SCRIPT = "script"
    KERNEL = "kernel"
    INITRD = "initrd"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class RequestedFile:
    """One file that a client asks for."""

    role: Role
    fetched: Fetched

    @property
    def contents(self) -> Contents | None:
        """What it is; None where it was not found."""
        return self.fetched.contents

    @property
    def found(self) -> bool:
        return self.fetched.state is FetchState.FOUND

    @property
    def is_unreadable(self) -> bool:
        """Whether it was found, and is nothing that iPXE can run."""
        return self.contents is not None and self.contents.kind in (ContentKind.PAGE, ContentKind.EMPTY)


def guess_role(uri: str) -> Role:
    """The purpose of a file by its name, where the command that fetches it does not say."""
    name = uri.partition("?")[0].rpartition("/")[2].lower()
    if name.endswith(".ipxe"):
        return Role.SCRIPT
    if "initr" in name:
        return Role.INITRD
    is_kernel = any(word in name for word in ("kernel", "linux", "vmlinu", "image"))
    return Role.KERNEL if is_kernel else Role.FILE
