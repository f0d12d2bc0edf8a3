"""The names that files may have in the TFTP directory: each by itself, and all of them together.

TFTP and HTTP both serve them, dnsmasq's configuration holds them, and loaders make further names of them: so
there is nothing in them that one of these escapes, no name is hidden, and none leads up.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ectools.ipxe.language import AUTOEXEC_NAME, NETBOOT_NAME
from ectools.netboot.protocols import Binary, load_protocols
from ectools.parsing import BadValueError, check_path

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ectools.parsing import Problems

# DHCP's file field has 128 bytes with a NUL (RFC 2131, section 2).
_MAX_NAME = 127
_MAX_DEPTH = 8
_MAX_EXTRA_FILES = 256
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_NAME = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*", re.ASCII)
# What the HTTP server has at these names, or below them.
_TAKEN = {
    NETBOOT_NAME: "the second boot script's name",
    "releases": "the directory of the staged releases",
    "healthz": "the name of the health report",
}


def check_boot_name(name: str) -> None:
    """A rule for one name, below directories where wanted. Upper and lower case count as one."""
    if len(name) > _MAX_NAME:
        raise BadValueError(f"at most {_MAX_NAME} bytes", message="too long")
    if _NAME.fullmatch(name) is None:
        raise BadValueError(
            "a name, below directories where wanted, of letters, digits and . _ + -: x86_64-sb/grubx64.efi"
        )
    segments = name.lower().split("/")
    if len(segments) > _MAX_DEPTH:
        raise BadValueError(f"at most {_MAX_DEPTH - 1} directories", message="too deep")
    if segments[0] in _TAKEN:
        raise BadValueError("another name", message=_TAKEN[segments[0]])
    if segments[-1] == AUTOEXEC_NAME:
        raise BadValueError("another name", message="the first boot script's name")


def check_extra_files(files: Mapping[str, str], problems: Problems, *, boot_filename: str) -> None:
    """``ipxe.extraFiles`` (name → file): each name by itself, then that each is of one file alone.

    ``boot_filename``: tftpBootFilename, whose name is another's too otherwise.
    """
    if len(files) > _MAX_EXTRA_FILES:
        problems.add("ipxe.extraFiles", len(files), "too many files", f"at most {_MAX_EXTRA_FILES}")
    protocols = load_protocols()
    kinds = protocols.binaries.items()
    taken = {kind.filename: f"the binary for {binary}" for binary, kind in kinds if binary != Binary.X86_64}
    taken |= {filename: f"the {stock} that groups may have" for stock, filename in protocols.stock.items()}
    # In the form in which a file system compares them that ignores case.
    owners = {name.lower(): owner for name, owner in {**taken, boot_filename: "tftpBootFilename"}.items()}
    directories = {parent for name in owners for parent in list_parents(name)}
    for name, file in files.items():
        option = f"ipxe.extraFiles[{json.dumps(name)}]"
        problems.check(option, file, check_path)
        if not problems.accepts(option, name, check_boot_name):
            continue
        owner = _find_owner(name.lower(), owners, directories)
        if owner is not None:
            problems.add(option, name, f"this is {owner} too", "a name of its own, whatever its case")
        owners.setdefault(name.lower(), option)
        directories.update(list_parents(name.lower()))


def list_parents(name: str) -> list[str]:
    """The directories above a name, from above: ``a``, ``a/b`` of ``a/b/c``."""
    segments = name.split("/")[:-1]
    return ["/".join(segments[:end]) for end in range(1, len(segments) + 1)]


def _find_owner(name: str, owners: Mapping[str, str], directories: Collection[str]) -> str | None:
    """Whose the name is, or a directory above it; None where it is free."""
    found = next((owners[each] for each in (name, *list_parents(name)) if each in owners), None)
    return "the directory of another file" if found is None and name in directories else found
