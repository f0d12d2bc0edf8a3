"""Netboot outputs, or what ``ectools netboot pack`` has made of them → the files of a release in a depot."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.files import open_regular, read_regular, write_atomic
from ectools.ipxe.language import NETBOOT_NAME
from ectools.netboot.depot.interface import RECORD_NAME, Publication, PublishedFile, check_tag_name
from ectools.netboot.publishing.packed import check_archives, check_listed
from ectools.netboot.publishing.provenance import (
    ENVELOPE_NAME,
    PROVENANCE_NAME,
    STATEMENT_TYPE,
    build_statement,
)
from ectools.netboot.release.checksums import (
    MAX_SUMS_BYTES,
    SUMS_NAME,
    parse_checksums,
    parse_release_times,
    render_checksums,
)
from ectools.netboot.release.pack import find_tag_time, pack
from ectools.netboot.release.systems import is_archive_name
from ectools.netboot.signature import SUFFIXES, make_signature
from ectools.netboot.signature.dsse import seal_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ectools.netboot.publishing.provenance import BuildSource
    from ectools.netboot.release.archive_writer import Compression
    from ectools.netboot.release.pack import Caches, SigningKey

_FORMAT = 1


def is_packed(directory: Path) -> bool:
    """Whether a directory has what ``ectools netboot pack`` makes, and is no netboot output itself."""
    return (directory / SUMS_NAME).is_file() and not (directory / NETBOOT_NAME).exists()


def pack_publication(
    directories: Sequence[Path],
    out: Path,
    *,
    tag: str,
    compression: Compression,
    key: SigningKey | None,
    source: BuildSource,
    make_caches: Callable[[], Caches] = dict,
    released_at: int | None = None,
) -> Publication:
    """Pack netboot outputs into the empty directory ``out``, with a statement of their source; see ``pack``.

    The statement's hash is in the sums, which are signed after it. Raises what ``pack`` does.
    """
    check_tag_name(tag)
    private_key = b"" if key is None else key.read()
    packed = pack(
        directories,
        out,
        tag=tag,
        compression=compression,
        key=None if key is None else replace(key, content=private_key),
        released_at=released_at,
        make_caches=make_caches,
    )
    time = find_tag_time(tag) if released_at is None else released_at
    digests = {each.path.name: each.sha256 for each in packed.archives}
    statement = build_statement(digests, tag=tag, source=source, released_at=time)
    write_atomic(out / PROVENANCE_NAME, statement)
    before = read_regular(packed.sums, limit=MAX_SUMS_BYTES)
    times = parse_release_times(before, where=str(packed.sums))
    listed = {**digests, PROVENANCE_NAME: hashlib.sha256(statement).hexdigest()}
    text = render_checksums(listed, times)
    write_atomic(packed.sums, text)
    if key is not None:
        signature = make_signature(key.format, data=text, private_key=private_key)
        write_atomic(out / f"{SUMS_NAME}{SUFFIXES[key.format]}", signature)
        envelope = seal_envelope(STATEMENT_TYPE, statement, form=key.format, private_key=private_key)
        write_atomic(out / ENVELOPE_NAME, envelope)
    return _read_files(out, out, tag=tag)


def read_publication(directory: Path, work: Path, *, tag: str) -> Publication:
    """What was packed by ``pack``, as it is published; its record is written to ``work``.

    All that the sums list has to be there, and to be what they say; what no boot host would stage, and no
    node would take, is not published. Raises InputError, ChecksumsError, FileError, ArchiveError,
    BootEntryError.
    """
    check_tag_name(tag)
    publication = _read_files(directory, work, tag=tag)
    path = directory / SUMS_NAME
    times = parse_release_times(read_regular(path, limit=MAX_SUMS_BYTES), where=str(path))
    digests = {each.name: each.sha256 for each in publication.files if is_archive_name(each.name)}
    check_archives(directory, digests, times, tag=tag, work=work)
    return publication


def _read_files(directory: Path, work: Path, *, tag: str) -> Publication:
    path = directory / SUMS_NAME
    listed = parse_checksums(read_regular(path, limit=MAX_SUMS_BYTES), where=str(path))
    check_listed(listed, tag=tag, where=str(path))
    files = [_hash_file(path)]
    for name, wanted in sorted(listed.items()):
        file = directory / name
        if not file.is_file():
            raise InputError(
                f"{path}: lists {name}, which is not beside it",
                hint="pack each release into a directory of its own: the sums of one are published whole",
            )
        found = _hash_file(file)
        if found.sha256 != wanted:
            raise InputError(f"{file}: is not what {SUMS_NAME} says: its SHA-256 is {found.sha256}")
        files.append(found)
    beside = [f"{SUMS_NAME}{suffix}" for suffix in sorted(set(SUFFIXES.values()))]
    files += [
        _hash_file(directory / name) for name in (*beside, ENVELOPE_NAME) if (directory / name).is_file()
    ]
    record = {
        "format": _FORMAT,
        "tag": tag,
        "files": [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in files],
    }
    written = work / RECORD_NAME
    write_atomic(written, json.dumps(record, indent=2).encode() + b"\n")
    return Publication(tag=tag, files=(*files, _hash_file(written)))


def _hash_file(path: Path) -> PublishedFile:
    with os.fdopen(open_regular(path), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    return PublishedFile(name=path.name, path=path, size=size, sha256=digest)
