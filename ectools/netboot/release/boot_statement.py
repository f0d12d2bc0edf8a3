"""What a system boots, signed: a running node checks by it what it is about to start (ECP-0113).

``boot-statement.txt``, of the system's archive, with its signature beside it. Lines, in this order::

    every-channel-boot 1
    system ec-runner-x86_64-netboot
    architecture x86_64
    tag boot-v2026.03.02
    counter 1772409600                      when it was released, in seconds since 1970
    kernel <SHA-256> <bytes> bzImage
    initrd <SHA-256> <bytes> initrd         a line each, in the order in which they are loaded
    argument init=/nix/store/…              a line each, in the kernel's order
    installed /nix/store/…                  a line for each system in the binary cache

What reads it is a shell script (nix/modules/follow-trust.sh), so there is nothing to be escaped. Its first
line is what no file of sums begins with, nor anything else that is signed by the same key.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.file_record import FileRecord
from ectools.files import open_regular
from ectools.ipxe.language import is_file_name
from ectools.netboot.release.binary_cache import CACHE_NAME, ROOTS_NAME
from ectools.netboot.release.store_image import BESIDE_SCRIPT
from ectools.netboot.signature import SUFFIXES, make_signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ectools.netboot.kernel import KernelArchitecture
    from ectools.netboot.release.manifest import BootEntry
    from ectools.netboot.settings.model import SignatureFormat

_log = log.Log(__name__)

STATEMENT_NAME = "boot-statement.txt"
_HEAD = "every-channel-boot 1"
_ROOT = re.compile(r"/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]{1,211}", re.ASCII)
_INIT = "init="


@dataclass(frozen=True, kw_only=True)
class BootStatement:
    """``files`` has a record for the kernel and each initrd; ``installed`` are store paths.

    ``counter``: seconds since 1970, of the release.
    """

    system: str
    architecture: KernelArchitecture
    tag: str
    counter: int
    boot: BootEntry
    files: Mapping[str, FileRecord]
    installed: Sequence[str] = ()

    def find_fault(self) -> str | None:
        """Why no node can be told by a statement what to boot; None: it can."""
        arguments = list_own_arguments(self.boot)
        unknown = next((each for each in arguments if "${" in each), None)
        if unknown is not None:
            return f"the kernel's argument {unknown} has a variable of iPXE's"
        if sum(each.startswith(_INIT) for each in arguments) != 1:
            return "the kernel is not told by one init= what to start, by which a node knows what it runs"
        names = (self.boot.kernel, *self.boot.initrds)
        return next(
            (f"the name {name} is none for a script" for name in names if not is_file_name(name)), None
        )

    def render(self) -> bytes:
        """The file. ``find_fault`` has found none."""
        boot, roots = self.boot, [each for each in self.installed if _ROOT.fullmatch(each)]
        lines = [
            _HEAD,
            f"system {self.system}",
            f"architecture {self.architecture}",
            f"tag {self.tag}",
            f"counter {self.counter}",
            self._show_file("kernel", boot.kernel),
            *(self._show_file("initrd", name) for name in boot.initrds),
            *(f"argument {each}" for each in list_own_arguments(boot)),
            *(f"installed {each}" for each in sorted(set(roots))),
        ]
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    def _show_file(self, kind: str, name: str) -> str:
        record = self.files[name]
        return f"{kind} {record.sha256} {record.size} {name}"


def list_own_arguments(boot: BootEntry) -> list[str]:
    """The kernel's arguments that are the release's own, and the same wherever it is booted from.

    Not iPXE's: ``initrd=`` names an image of its, ``${cmdline}`` is what somebody types at it. Nor where the
    store's image lies: which one it is, the initrd knows.
    """
    return [
        each
        for each in boot.arguments
        if not each.startswith("initrd=") and each not in ("${cmdline}", BESIDE_SCRIPT)
    ]


def sign_boot(
    boot: BootEntry,
    files: Mapping[str, Path],
    *,
    system: str,
    architecture: KernelArchitecture,
    tag: str,
    counter: int,
    form: SignatureFormat,
    private_key: bytes,
) -> dict[str, bytes]:
    """The statement of what ``boot`` starts of ``files`` (name → path), and its signature: name → content.

    None of both where no node can be told by one, which a warning says. Raises SignatureError, FileError.
    """
    roots = files.get(f"{CACHE_NAME}/{ROOTS_NAME}")
    statement = BootStatement(
        system=system,
        architecture=architecture,
        tag=tag,
        counter=counter,
        boot=boot,
        files={name: _hash_file(files[name]) for name in (boot.kernel, *boot.initrds)},
        installed=[] if roots is None else roots.read_text("ascii", "replace").split("\n"),
    )
    fault = statement.find_fault()
    if fault is not None:
        _log.warning("no running node that checks signatures follows to this release", reason=fault)
        return {}
    text = statement.render()
    signature = make_signature(form, data=text, private_key=private_key)
    return {STATEMENT_NAME: text, f"{STATEMENT_NAME}{SUFFIXES[form]}": signature}


def _hash_file(path: Path) -> FileRecord:
    # Links are followed: an output of Nix is made of them.
    with os.fdopen(open_regular(path), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(size=os.fstat(file.fileno()).st_size, sha256=digest)
