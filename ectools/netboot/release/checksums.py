"""SHA256SUMS.txt, as ``sha256sum`` or BSD's ``sha256`` writes it, and in its comments when the archives were
released (ECP-0090).

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

_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")
# BSD's, and openssl's, which has no blanks; the same of other sums, which are none of ours.
_BSD = re.compile(r"SHA(?:2-)?256 ?\((.+)\) ?= ([0-9A-Fa-f]{64})")
_BSD_OTHER = re.compile(r"(?!SHA(?:2-)?256\b)[A-Za-z0-9/-]{2,16} ?\(.+\) ?= .+")

_TIMESTAMP = "# timestamp:"
_TIME = re.compile(rf"{_TIMESTAMP} ([0-9]{{1,11}})  (.+)")


class ChecksumsError(EcError):
    """Published sums cannot be used, or say something else than the archive."""


def parse_checksums(data: bytes, *, where: str) -> dict[str, str]:
    """File name → SHA-256 in lower-case hexadecimal. ``where`` names the file in errors.

    Taken: text and binary mode, BSD's form (``SHA256 (NAME) = SUM``), ``./`` before a name, a byte order mark
    and CR LF (which a browser's upload may add), empty lines, lines that begin with ``#``. Left aside: BSD's
    lines of other sums. Rejected: all else, since a line that is not understood may be the one that matters.
    """
    text = _decode(data, where)
    sums: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        if _BSD_OTHER.fullmatch(line) is not None:
            continue
        if (matched := _LINE.fullmatch(line)) is not None:
            digest, name = matched[1].lower(), matched[2].removeprefix("./")
        elif (matched := _BSD.fullmatch(line)) is not None:
            digest, name = matched[2].lower(), matched[1].removeprefix("./")
        else:
            raise ChecksumsError(
                f"{where}:{number}: not a line of sha256sum: {line[:100]!r}", hint=_find_hint(line)
            )
        if sums.setdefault(name, digest) != digest:
            raise ChecksumsError(f"{where}:{number}: {cut(name)} is listed twice, with different sums")
    if not sums:
        raise ChecksumsError(f"{where}: lists nothing", hint="it should hold what `sha256sum ARCHIVE` prints")
    return sums


def find_own_checksum(data: bytes, archive: str, *, where: str) -> str:
    """The sum in a file of one archive's alone: there the name may be missing, or have a directory before it.

    Raises ChecksumsError.
    """
    text = _decode(data, where).strip()
    if _DIGEST.fullmatch(text) is not None:
        return text.lower()
    sums = parse_checksums(data, where=where)
    if len(sums) == 1:
        sums = {name.replace("\\", "/").rpartition("/")[2]: digest for name, digest in sums.items()}
    return find_checksum(sums, archive, where=where)


def _decode(data: bytes, where: str) -> str:
    # By its byte order mark, or by the upper halves of the first digits.
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data[:32].count(0) == len(data[:32]) // 2 > 1:
        raise ChecksumsError(
            f"{where}: is UTF-16 text, not UTF-8",
            hint="PowerShell's > writes so: `… | Set-Content -Encoding ascii FILE` does not",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ChecksumsError(f"{where}: not UTF-8: {error.reason}") from error


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
    if line.startswith("-----BEGIN PGP"):
        return "it is signed within itself (PGP): publish the sums alone, and their signature beside them"
    if re.match(r"[0-9A-Fa-f]{64}\b", line):
        return "two spaces, or a space and an asterisk, stand between the sum and the name"
    if re.match(r"[0-9A-Fa-f]{32,} [ *]", line):
        return "this is not a SHA-256, which has 64 digits"
    if line.lstrip().startswith("<"):
        return "this looks like a web page: is the address right, and the token?"
    return "a line is 64 hexadecimal digits, two spaces and the name"
