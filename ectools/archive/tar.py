"""A tar archive → its entries: the part of POSIX's pax format and of GNU's that boot files need.

Not Python's ``tarfile``: it reads extended headers of any size into memory, goes on past damage, and lets a
pax record, a GNU long name or a sparse map say something else than the header does. Here what is not
understood is rejected. (IEEE Std 1003.1, "pax", Interchange Format; GNU tar manual, "Basic Tar Format".)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from ectools.archive.blocks import BLOCK, Blocks
from ectools.archive.decompress import ArchiveError
from ectools.archive.names import find_name_fault
from ectools.errors import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.archive.limits import ArchiveLimits

MAX_EXTENSION_BYTES = 64 << 10
_MAX_EXTENSIONS = 8
# Of all extended headers together: at the start, and for each entry.
_EXTENDED_BYTES = 1 << 20
_EXTENDED_BYTES_EACH = 4 << 10
_ZEROS = bytes(BLOCK)


class EntryKind(StrEnum):
    """What an entry is; the value is its name in messages."""

    FILE = "file"
    DIRECTORY = "directory"
    HARD_LINK = "hard link"
    LINK = "symbolic link"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry. ``name`` is one that a release may have; ``target`` is a link's, as the header has it."""

    name: str
    kind: EntryKind
    size: int
    target: str


@dataclass(frozen=True, kw_only=True)
class _Header:
    type: bytes
    name: bytes
    link: bytes
    size: int


@dataclass(frozen=True, kw_only=True)
class _Extension:
    """What extended headers say of the next entry."""

    name: bytes | None = None
    link: bytes | None = None
    size: int | None = None


_KINDS = {
    b"0": EntryKind.FILE,
    b"\0": EntryKind.FILE,
    b"7": EntryKind.FILE,
    b"5": EntryKind.DIRECTORY,
    b"1": EntryKind.HARD_LINK,
}
_KINDS[b"2"] = EntryKind.LINK
_REJECTED = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"S": "a sparse file",
    b"M": "the rest of a file of another volume",
    b"V": "a volume label",
    b"D": "a dumped directory",
}


class TarReader:
    """A reader of each entry once, in order. ``blocks`` stand at the content of the last one given."""

    def __init__(self, blocks: Blocks, *, limits: ArchiveLimits) -> None:
        self.blocks = blocks
        self._limits = limits
        self._entries = 0
        self._extended = 0

    def entries(self) -> Iterator[Entry]:
        """All entries but the directory ``.`` itself; the content of a file must be read before the next.

        Raises ArchiveError.
        """
        while True:
            self._entries += 1
            extension = _Extension()
            for _ in range(_MAX_EXTENSIONS):
                header = self._read_header()
                if header is None:
                    if extension != _Extension():
                        self._reject("an extended header stands before nothing")
                    self.blocks.finish()
                    return
                if header.type not in (b"x", b"g", b"L", b"K"):
                    break
                extension = self._extend(extension, header)
            else:
                self._reject("an entry has too many extended headers")
            if self._entries > self._limits.files:
                self._reject(
                    f"it has more than {self._limits.files} entries", hint="release.maxFiles is the limit"
                )
            entry = self._build_entry(header, extension)
            if entry is not None:
                yield entry

    def _read_header(self) -> _Header | None:
        """None at the end, which is two blocks of zeros."""
        raw = self.blocks.take(BLOCK)
        if raw == _ZEROS:
            if self.blocks.take(BLOCK) != _ZEROS:
                self._reject("a block of zeros stands between entries")
            return None
        if not _has_right_sum(raw):
            self._reject("not a tar archive, or damaged: a header's checksum is wrong")
        name = raw[:100].partition(b"\0")[0]
        # GNU's own format keeps times where ustar has the prefix.
        if raw[257:263] == b"ustar\0" and (prefix := raw[345:500].partition(b"\0")[0]):
            name = prefix + b"/" + name
        return _Header(
            type=raw[156:157],
            name=name,
            link=raw[157:257].partition(b"\0")[0],
            size=self._parse_size(raw[124:136]),
        )

    def _parse_size(self, field: bytes) -> int:
        """Bytes: octal digits with spaces or NULs around them (POSIX), or GNU's binary form."""
        if field[0] & 0x80:
            # GNU's base-256, whose second bit is the sign.
            size = int.from_bytes(field, "big") - (0x80 << 88)
            if field[0] != 0x80 or size >= 1 << 63:
                self._reject("an entry's size is negative or absurd")
            return size
        digits = field.strip(b" \0")
        if digits.strip(b"01234567"):
            self._reject(f"an entry's size is no number: {digits!r}")
        return int(digits or b"0", 8)

    def _extend(self, extension: _Extension, header: _Header) -> _Extension:
        if header.size > MAX_EXTENSION_BYTES:
            self._reject("an extended header is larger than any name or number needs")
        self._extended += header.size
        if self._extended > _EXTENDED_BYTES + _EXTENDED_BYTES_EACH * self._entries:
            self._reject("its extended headers are larger than any names and numbers need")
        data = self.blocks.take(header.size)
        self.blocks.skip_padding(header.size)
        if header.type == b"L":
            return replace(extension, name=data.rstrip(b"\0"))
        if header.type == b"K":
            return replace(extension, link=data.rstrip(b"\0"))
        records = self._parse_records(data)
        known = {key: value for key, value in records.items() if key in (b"path", b"linkpath", b"size")}
        if header.type == b"g":
            if known:
                self._reject("a global header gives every entry one name or size")
            return extension
        size = known.get(b"size")
        if size is not None and not (size.isdigit() and size.isascii() and len(size) < 19):
            self._reject(f"an entry's size is no number: {cut(repr(size))}")
        return _Extension(
            name=known.get(b"path", extension.name),
            link=known.get(b"linkpath", extension.link),
            size=extension.size if size is None else int(size),
        )

    def _parse_records(self, data: bytes) -> dict[bytes, bytes]:
        """``LENGTH KEY=VALUE\\n``…, where LENGTH counts all of the record."""
        records: dict[bytes, bytes] = {}
        start = 0
        while start < len(data):
            length, _, _ = data[start : start + 20].partition(b" ")
            end = start + (int(length) if length.isdigit() else 0)
            record = data[start + len(length) + 1 : end]
            key, separator, value = record[:-1].partition(b"=")
            if end > len(data) or not record.endswith(b"\n") or not separator:
                self._reject("a pax record cannot be read")
            if key.startswith(b"GNU.sparse") or key in (b"hdrcharset", b"charset"):
                self._reject(
                    f"the pax record {_show_key(key)} is not supported",
                    hint="pack with UTF-8 names, and without --sparse (bsdtar: with --no-read-sparse)",
                )
            if key in records:
                self._reject(f"the pax record {_show_key(key)} is there twice")
            records[key] = value
            start = end
        return records

    def _build_entry(self, header: _Header, extension: _Extension) -> Entry | None:
        raw_name = header.name if extension.name is None else extension.name
        shown = cut(repr(raw_name.decode("utf-8", "backslashreplace")))
        kind = _KINDS.get(header.type)
        if kind is None:
            self._reject(
                f"{shown} is {_REJECTED.get(header.type, f'of the unknown type {header.type!r}')}",
                hint="a release holds files and directories; tar packs them so without --sparse and the like",
            )
        try:
            name = raw_name.decode()
            target = (header.link if extension.link is None else extension.link).decode()
        except UnicodeDecodeError:
            self._reject(f"the name {shown} is not UTF-8")
        if kind is EntryKind.FILE and name.endswith("/"):
            kind = EntryKind.DIRECTORY  # as archives older than ustar have them
        name = _strip(name)
        if kind is EntryKind.DIRECTORY and name in ("", "."):
            return None
        if fault := find_name_fault(name):
            self._reject(f"the name {shown} {fault}")
        size = header.size if extension.size is None else extension.size
        if kind is not EntryKind.FILE and size:
            self._reject(f"{shown} is a {kind} with content")
        return Entry(name=name, kind=kind, size=size, target=target)

    def _reject(self, reason: str, *, hint: str | None = None) -> NoReturn:
        raise ArchiveError(f"{self.blocks.archive}: {reason}", hint=hint)


def _strip(name: str) -> str:
    """``./a/`` → ``a``: what tar writes for a directory and below one."""
    while name.startswith("./"):
        name = name[2:]
    return name.rstrip("/") if name.strip("/") else name


def _show_key(key: bytes) -> str:
    return cut(key.decode("ascii", "replace"))


def _has_right_sum(raw: bytes) -> bool:
    digits = raw[148:156].strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        return False
    # The sum is made with spaces in its own place; some old archivers summed signed characters.
    stated, body = int(digits, 8), raw[:148] + b" " * 8 + raw[156:]
    return stated == sum(body) or stated == sum(memoryview(body).cast("b"))
