"""Facts of a shim, the loader that Secure Boot starts first: which file it loads next, and from where.

By the source of https://github.com/rhboot/shim (``shim.c``, ``netboot.c``, ``httpboot.c``) and of the iPXE
project's fork, https://github.com/ipxe/shim: it fetches its second stage from the directory that it came from
itself, over the same protocol.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# version.c: in a section of its own, in all of them since 2013.
_MARK = b"UEFI SHIM\n$Version: "
_VERSION = re.compile(re.escape(_MARK) + rb"([!-~]{1,60})")
# DEFAULT_LOADER is such a text, in UTF-16 as firmware's paths are: "\\\\grubx64.efi", "ipxe.efi".
_END = ".efi\0".encode("utf-16-le")
_LOADER = re.compile(r"\\{0,2}([A-Za-z0-9_-]{1,64}\.efi)", re.ASCII)
_MAX_TEXT = 80
_MAX_TEXTS = 1000
# What it can load beside its second stage: its fallback, MokManager, updates of its revocations.
_OTHERS = re.compile(r"fb[a-z0-9]*\.efi|mm[a-z0-9]*\.efi|(?:revocations|shim_certificate)\w*\.efi", re.ASCII)
# ``automatic_next_path`` of the fork: "-shimx64.efi" at a name's end gives way to ".efi".
_OWN_NAME = re.compile(r"(.*)-shim[^-.]{0,4}(\.efi)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ShimFacts:
    """``second_stage`` is the name built in, None where none was found.

    ``by_own_name``: the iPXE project's, which makes ``snponly.efi`` of its own name ``snponly-shimx64.efi``.
    """

    version: str | None
    second_stage: str | None
    by_own_name: bool

    def find_second_stage(self, path: str, *, from_option: bool = False) -> str | None:
        """The path of its second stage where it was loaded as ``path``; None where that is not known.

        Both are names below one root, with ``/`` between directories: a TFTP server's, or an HTTP server's.
        ``from_option``: DHCP gave ``path`` in option 67 alone, as dnsmasq does to who asks for that. A shim
        looks into the message's file field (``parseDhcp4``), finds no directory there, and asks in the root.
        """
        directory, name = ("", "") if from_option else posixpath.split(path)
        if self.by_own_name and (own := _OWN_NAME.fullmatch(name)):
            return posixpath.join(directory, own[1] + own[2])
        return None if self.second_stage is None else posixpath.join(directory, self.second_stage)


def find_shim(data: bytes) -> ShimFacts | None:
    """The facts of a whole file that is a shim; None for all else."""
    if not data.startswith(b"MZ") or _MARK not in data:
        return None
    version = _VERSION.search(data)
    names = itertools.islice(_list_loaders(data), _MAX_TEXTS)
    return ShimFacts(
        version=None if version is None else version[1].decode("ascii"),
        second_stage=next((name for name in names if not _OTHERS.fullmatch(name)), None),
        by_own_name=b"-shim\0" in data,
    )


def _list_loaders(data: bytes) -> Iterator[str]:
    """The names among its UTF-16 texts. By their ends, since most of a file might be the beginning of one."""
    end = data.find(_END)
    while end >= 0:
        text = data[max(0, end - 2 * _MAX_TEXT) : end].decode("utf-16-le", "replace").rpartition("\0")[2]
        if found := _LOADER.fullmatch(text + ".efi"):
            yield found[1]
        end = data.find(_END, end + len(_END))
