"""What is published beside an archive: its sum, under one of the usual names, and the signature of the sums.

``SHA256SUMS.txt`` is what ``ectools netboot pack`` writes: where it is, nothing else is looked at. Others
call it otherwise (``SHA256SUMS``, ``checksums.txt``), or have a file for each archive (``ARCHIVE.sha256``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError, show_list
from ectools.files import FileError, read_input
from ectools.netboot.release.checksums import (
    MAX_SUMS_BYTES,
    SUMS_NAME,
    ChecksumsError,
    find_checksum,
    find_own_checksum,
    parse_checksums,
    parse_release_times,
)
from ectools.netboot.signature import (
    MAX_KEY_BYTES,
    MAX_SIGNATURE_BYTES,
    SUFFIXES,
    SignatureError,
    verify_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ectools.netboot.settings.model import ReleaseSettings, Signature

_log = log.Log(__name__)

# Names are compared in lower case. First those that say of which kind the sums are.
_LISTS = (
    re.compile(r"(?:.+[._-])?sha256sums?(?:\.txt)?|sha256(?:\.txt|\.sum)?"),
    re.compile(r"(?:.+[._-])?(?:sha256[._-]?)?checksums?(?:[._-]sha256)?(?:\.txt)?"),
)
_OWN = (".sha256", ".sha256sum", ".sha256sums", ".sha256.txt", ".sha256sum.txt")
# What holds sums of some kind, or looks so: those of another kind, a browser's second copy, a signature.
_SIMILAR = re.compile(
    r".*(?:sums?\b|sha-?256|checksum|digest).*|.*\.(?:md5|sha\d+|b2|b3|blake\w+)(?:\.\w{1,5})?"
)
_MOST_READ = 8


@dataclass(frozen=True, kw_only=True)
class Published:
    """A place where files stand: ``read(name, limit)`` gives one of them, or None; ``names`` are all."""

    where: str
    names: Callable[[], Collection[str]]
    read: Callable[[str, int], bytes | None]


@dataclass(frozen=True, kw_only=True)
class PublishedSum:
    """``sha256`` and ``name``, the file that lists it, are None where none can be used.

    ``released_at`` is what a pinned key has signed, in seconds since 1970; None where it says nothing.
    """

    name: str | None
    sha256: str | None
    released_at: int | None


def find_published_sum(published: Published, archive: str, settings: ReleaseSettings) -> PublishedSum:
    """The sum of ``archive``. Where there is none, a warning says so, and which files come near.

    Raises ChecksumsError and SignatureError: of ``SHA256SUMS.txt``, and where a sum is required.
    """
    sums = published.read(SUMS_NAME, MAX_SUMS_BYTES)
    if sums is not None:
        return _use(published, SUMS_NAME, sums, archive, settings.signature)
    names = published.names()
    misses: dict[str, EcError | None] = {}
    for name in _rank_names(names, archive)[:_MOST_READ]:
        try:
            sums = published.read(name, MAX_SUMS_BYTES)
        except FileError as error:
            # Beside an archive of this machine there may lie what has nothing to do with it.
            misses[name] = error
            continue
        if sums is None:
            continue
        try:
            found = _use(published, name, sums, archive, settings.signature)
        except (ChecksumsError, SignatureError) as error:
            misses[name] = error
        else:
            _log.info("the sums are published under another name", file=name, expected=SUMS_NAME)
            return found
    similar = [name for name in names if _is_similar(name, names, archive)]
    _miss(published, archive, settings, {**dict.fromkeys(similar), **misses})
    return PublishedSum(name=None, sha256=None, released_at=None)


def _rank_names(names: Collection[str], archive: str) -> list[str]:
    """Those of ``names`` that usually hold the sum of ``archive``, the likeliest first."""
    own = {(archive + end).lower() for end in _OWN}
    ranked = []
    for name in sorted(names):
        rank = next((rank for rank, form in enumerate(_LISTS) if form.fullmatch(name.lower())), None)
        if name.lower() in own:
            ranked.append((1, name))
        elif rank is not None and not _belongs_to_other(name, names, archive):
            ranked.append((2 * rank, name))
    return [name for _rank, name in sorted(ranked)]


def _belongs_to_other(name: str, names: Collection[str], archive: str) -> bool:
    """Whether it is made of the name of another file alone: ``OTHER.sha256sum``."""
    return any(name.startswith(f"{other}.") for other in names if other not in (name, archive))


def _is_similar(name: str, names: Collection[str], archive: str) -> bool:
    return _SIMILAR.fullmatch(name.lower()) is not None and not _belongs_to_other(name, names, archive)


def _miss(
    published: Published, archive: str, settings: ReleaseSettings, near: dict[str, EcError | None]
) -> None:
    """Warn that nothing can be compared, or raise where it has to be."""
    seen = [
        f"{name}: {'is not read: SHA-256 sums are not called so' if error is None else error.message}"
        for name, error in near.items()
    ]
    if settings.require_sums or settings.signature is not None:
        beside = f" ({show_list(seen, joint='; ')})" if seen else ""
        why = "release.requireSums is set" if settings.require_sums else "a signature of it is required"
        raise ChecksumsError(
            f"{published.where}: there is no {SUMS_NAME}, and {why}{beside}",
            hint=f"publish it beside {archive}: `sha256sum {archive} > {SUMS_NAME}`",
        )
    if seen:
        _log.warning(
            f"NO {SUMS_NAME} IS PUBLISHED, and what is cannot be used: nothing tells whether the archive is "
            "what it was",
            archive=archive,
            published=show_list(seen, joint="; "),
        )
        return
    _log.warning(
        f"NO {SUMS_NAME} IS PUBLISHED: nothing tells whether the archive is what it was", archive=archive
    )


def _use(
    published: Published, name: str, sums: bytes, archive: str, pinned: Signature | None
) -> PublishedSum:
    """The sum of ``archive`` in the file ``name``, and when it was released, where that is signed."""
    where = f"{name} of {published.where}"
    signed_at = None if pinned is None else _check_signature(published, name, sums, pinned)
    is_own = name.lower().startswith(f"{archive.lower()}.")
    if is_own:
        wanted = find_own_checksum(sums, archive, where=where)
    else:
        wanted = find_checksum(parse_checksums(sums, where=where), archive, where=where)
    released_at = None
    if pinned is not None:
        # An archive's own time goes before that of the signature, which is of the whole file. Where only
        # others have one, this may be an old archive whose sum was kept: then its age is not known.
        times = parse_release_times(sums, where=where)
        released_at = times.get(archive) if times else signed_at
    return PublishedSum(name=name, sha256=wanted, released_at=released_at)


def _check_signature(published: Published, sums_name: str, sums: bytes, pinned: Signature) -> int | None:
    """When they were signed, where that is known."""
    name = sums_name + SUFFIXES[pinned.format]
    signature = published.read(name, MAX_SIGNATURE_BYTES)
    if signature is None:
        raise SignatureError(
            f"{published.where}: there is no {name}, and release.signature pins a key",
            hint="a release that is not signed is not staged while a key is pinned",
        )
    try:
        key = read_input(pinned.public_key_file, limit=MAX_KEY_BYTES)
        signed_at = verify_signature(pinned.format, data=sums, signature=signature, public_key=key)
    except SignatureError as error:
        raise SignatureError(
            f"{name} of {published.where}: {error.message} (the key is {pinned.public_key_file})",
            hint=error.hint or "nothing was staged",
        ) from error
    _log.info("the published sums are signed by the pinned key", format=str(pinned.format))
    return signed_at
