"""SHA256SUMS.txt, as ``sha256sum`` writes it, and in its comments when the archives were released (ECP-0090).

# timestamp: 1772409600  ec-runner-x86_64-netboot-boot-v2026.03.02.tar.gz
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.errors import EcError, cut, show_list

if TYPE_CHECKING:
    from collections.abc import Mapping

SUMS_NAME = "SHA256SUMS.txt"
MAX_SUMS_BYTES = 1 << 20

_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")
_BSD = re.compile(r"SHA256 \(.*\) = ")


_TIMESTAMP = "# timestamp:"
_TIME = re.compile(rf"{_TIMESTAMP} ([0-9]{{1,11}})  (.+)")


class ChecksumsError(EcError):
    """Published sums cannot be used, or say something else than the archive."""


def parse_checksums(data: bytes, *, where: str) -> dict[str, str]:
    """File name → SHA-256 in lower-case hexadecimal. ``where`` names the file in errors.

    Taken: text and binary mode, ``./`` before a name, a byte order mark and CR LF (which a browser's upload
    may add), empty lines, lines that begin with ``#``. Rejected: all else, since a line that is not
    understood may be the one that matters.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ChecksumsError(f"{where}: not UTF-8: {error.reason}") from error
    sums: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise ChecksumsError(
                f"{where}:{number}: not a line of sha256sum: {line[:100]!r}", hint=_find_hint(line)
            )
        digest, name = matched[1].lower(), matched[2].removeprefix("./")
        if sums.setdefault(name, digest) != digest:
            raise ChecksumsError(f"{where}:{number}: {cut(name)} is listed twice, with different sums")
    if not sums:
        raise ChecksumsError(f"{where}: lists nothing", hint="it should hold what `sha256sum ARCHIVE` prints")
    return sums


def parse_release_times(data: bytes, *, where: str) -> dict[str, int]:
    """File name → when it was released, in seconds since 1970, of sums that ``parse_checksums`` has accepted.

    A file without such a line has none. Raises ChecksumsError.
    """
    times: dict[str, int] = {}
    for number, raw in enumerate(data.decode("utf-8-sig").split("\n"), start=1):
        line = raw.removesuffix("\r")
        if not line.startswith(_TIMESTAMP):
            continue
        matched = _TIME.fullmatch(line)
        if matched is None:
            raise ChecksumsError(
                f"{where}:{number}: not a time of release: {cut(ascii(line))}",
                hint=f"the line is `{_TIMESTAMP} SECONDS  NAME`, in seconds since 1970",
            )
        seconds, name = int(matched[1]), matched[2].removeprefix("./")
        if times.setdefault(name, seconds) != seconds:
            raise ChecksumsError(f"{where}:{number}: {cut(name)} has two times of release")
    return times


def render_checksums(sums: Mapping[str, str], times: Mapping[str, int]) -> bytes:
    """The file, sorted by name; where there is a time of release, it stands before the sum."""
    lines = []
    for name in sorted(sums):
        if name in times:
            lines.append(f"{_TIMESTAMP} {times[name]}  {name}\n")
        lines.append(f"{sums[name]}  {name}\n")
    return "".join(lines).encode()


def find_checksum(sums: dict[str, str], name: str, *, where: str) -> str:
    """The sum of the archive ``name``. Raises ChecksumsError where it is not listed."""
    if name in sums:
        return sums[name]
    raise ChecksumsError(
        f"{where}: {name} is not listed in it; listed are {show_list(sorted(sums))}",
        hint="an archive that is not listed cannot be checked: publish the sums anew",
    )


def verify_checksum(found: str, *, wanted: str, archive: str, where: str) -> None:
    """Raises ChecksumsError where the archive's SHA-256 is not the published one."""
    if found != wanted:
        raise ChecksumsError(
            f"{archive}: its SHA-256 is {found}, and {where} says {wanted}: it was damaged or changed",
            hint="nothing was staged; if the archive was published anew, its sums must be too",
        )


def _find_hint(line: str) -> str:
    if line.startswith("\\"):
        return "sha256sum escapes names with a newline or backslash so; no archive needs such a name"
    if _BSD.match(line):
        return "this is the form of `sha256sum --tag`; use plain `sha256sum`"
    if re.match(r"[0-9A-Fa-f]{64}\b", line):
        return "two spaces, or a space and an asterisk, stand between the sum and the name"
    if re.match(r"[0-9A-Fa-f]{32,} [ *]", line):
        return "this is not a SHA-256, which has 64 digits"
    if line.lstrip().startswith("<"):
        return "this looks like a web page: is the address right, and the token?"
    return "a line is 64 hexadecimal digits, two spaces and the name"
