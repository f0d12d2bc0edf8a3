"""What a release is, and the JSON of its record: ``releases/<id>/release.json``.

Of one system: ``{format: 1, id, tag, source, archive_name, archive_sha256, architecture, staged_at,
files: {name: {size, sha256}}, boot: {kernel, arguments, initrds}}``; ``architecture`` may be missing. Of
several: ``{format: 2, id, tag, staged_at, files, systems: {name: {architecture, source, archive_name,
archive_sha256, boot}}}``, and the files of each lie in a directory of its name. Hashes are hexadecimal,
``staged_at`` is in seconds since 1970, ``tag`` may be null.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ectools.archive.file_record import FileRecord
from ectools.archive.names import find_name_fault
from ectools.errors import EcError, InputError, cut, show_list
from ectools.files import parse_json
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.binary_cache import is_cache_of_any_system
from ectools.netboot.release.systems import find_system_name, is_system_name

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST_FORMAT = 1
SYSTEMS_FORMAT = 2
"""Of a release with several systems."""
MAX_MANIFEST_BYTES = 128 << 20
"""More than a hundred thousand files with the longest names need."""
ID_PATTERN = re.compile(r"sha256-[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ANEW = "stage its archive again: that writes the record anew"
_LAST_SECOND = 253402300799
"""The end of the year 9999."""


class ManifestError(EcError):
    """A release's record cannot be used; the message names every bad field."""


@dataclass(frozen=True, kw_only=True)
class BootEntry:
    """What the release's netboot.ipxe boots. ``kernel`` and ``initrds`` are names of the release's files.

    ``arguments`` are the kernel's, as the script has them: iPXE's variables (``${cmdline}``) and all.
    """

    kernel: str
    arguments: tuple[str, ...]
    initrds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class System:
    """What one archive of a release holds. ``name``: as its archive is called, ``ec-runner-x86_64-netboot``.

    ``architecture`` is the kernel's, None where that cannot be told. ``source`` is the archive's URL or path,
    ``archive_sha256`` the archive's hash.
    """

    name: str
    architecture: KernelArchitecture | None
    source: str
    archive_name: str
    archive_sha256: str
    boot: BootEntry


@dataclass(frozen=True, kw_only=True)
class Release:
    """A staged release, with one system or with several, in the order of their names.

    One system's files have the names that they have in its archive; of several, each has a directory.
    """

    id: str
    tag: str | None
    staged_at: int
    files: Mapping[str, FileRecord]
    systems: tuple[System, ...]

    def name_in_archive(self, file: str) -> str:
        """What one of the files is called in its system's archive."""
        return file if len(self.systems) == 1 else file.partition("/")[2]

    def find_system(self, file: str) -> System | None:
        """The system that boots ``file``; None where none does."""
        return next(
            (each for each in self.systems if file in (each.boot.kernel, *each.boot.initrds)),
            None,
        )

    def find_file(self, name: str) -> str | None:
        """The file that is asked for by ``name``; None where there is none.

        A file of the binary cache is one, and the same, whichever system it came with: of several, it is
        found also without its system's directory.
        """
        if name in self.files:
            return name
        if len(self.systems) > 1 and is_cache_of_any_system(name):
            names = (f"{each.name}/{name}" for each in self.systems)
            return next((each for each in names if each in self.files), None)
        return None

    @property
    def size(self) -> int:
        """The sum of its files' sizes, in bytes."""
        return sum(file.size for file in self.files.values())

    @property
    def title(self) -> str:
        """Its name for people: its tag where it has one, and its id."""
        return self.id if self.tag is None else f"{self.tag} ({self.id})"


def build_id(files: Mapping[str, FileRecord]) -> str:
    """The name of a release with these files: the same content has the same, whatever its tag and order."""
    listing = [[name, files[name].size, files[name].sha256] for name in sorted(files, key=str.encode)]
    text = json.dumps(listing, ensure_ascii=False, separators=(",", ":"))
    return f"sha256-{sha256(text.encode()).hexdigest()[:32]}"


def render_manifest(release: Release) -> bytes:
    """The record's JSON, with a newline at its end."""
    files = {name: {"size": file.size, "sha256": file.sha256} for name, file in sorted(release.files.items())}
    fields: dict[str, Any] = {"format": SYSTEMS_FORMAT, "id": release.id, "tag": release.tag}
    if len(release.systems) == 1:
        # As it was before there were several: an older program reads it.
        system = _show_system(release.systems[0])
        boot = system.pop("boot")
        fields |= {"format": MANIFEST_FORMAT, **system, "staged_at": release.staged_at, "files": files}
        fields |= {"boot": boot}
    else:
        systems = {each.name: _show_system(each) for each in release.systems}
        fields |= {"staged_at": release.staged_at, "files": files, "systems": systems}
    return (json.dumps(fields, indent=2) + "\n").encode()


def describe_release(release: Release) -> dict[str, Any]:
    """The record's JSON for programs: ``systems`` is there, also where it is one."""
    fields: dict[str, Any] = json.loads(render_manifest(release))
    return {**fields, "systems": {each.name: _show_system(each) for each in release.systems}}


def _show_system(system: System) -> dict[str, Any]:
    return {
        "source": system.source,
        "archive_name": system.archive_name,
        "archive_sha256": system.archive_sha256,
        **({} if system.architecture is None else {"architecture": system.architecture.value}),
        "boot": {
            "kernel": system.boot.kernel,
            "arguments": list(system.boot.arguments),
            "initrds": list(system.boot.initrds),
        },
    }


def parse_manifest(data: bytes, *, where: str) -> Release:
    """The release that a record describes. ``where`` names the record in the ManifestError of a bad one."""
    try:
        raw = parse_json(data, where=where)
    except InputError as error:
        raise ManifestError(error.message, hint=_ANEW) from error
    if not isinstance(raw, dict):
        raise ManifestError(f"{where}: an object was expected", hint=_ANEW)
    if raw.get("format") not in (MANIFEST_FORMAT, SYSTEMS_FORMAT) or isinstance(raw["format"], bool):
        raise ManifestError(
            f"{where}: format: {cut(repr(raw.get('format')))}; this program reads {MANIFEST_FORMAT} and "
            f"{SYSTEMS_FORMAT}",
            hint="it was written by another version of ectools",
        )
    reader = _Reader()
    release_id = reader.match(raw, "id", ID_PATTERN)
    tag = None if raw.get("tag") is None else reader.text(raw, "tag")
    release = Release(
        id=release_id,
        tag=tag,
        systems=(reader.system(raw, tag),) if raw["format"] == MANIFEST_FORMAT else reader.systems(raw),
        staged_at=reader.number(raw, "staged_at", at_most=_LAST_SECOND),
        files=reader.files(raw),
    )
    named = [name for each in release.systems for name in (each.boot.kernel, *each.boot.initrds)]
    if not reader.faults and not all(name in release.files for name in named):
        reader.faults.append("boot: names a file that the release does not hold")
    if not reader.faults and release.id != build_id(release.files):
        reader.faults.append("id: is not that of the files listed")
    if reader.faults:
        raise ManifestError(f"{where}: cannot be used: {show_list(reader.faults, joint='; ')}", hint=_ANEW)
    return release


class _Reader:
    """Takes fields out of JSON objects. Bad ones go into ``faults``; something of the type is given."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def text(self, raw: dict[str, Any], key: str, prefix: str = "") -> str:
        value = raw.get(key)
        if isinstance(value, str):
            return value
        self.faults.append(f"{prefix}{key}: a string was expected")
        return ""

    def match(self, raw: dict[str, Any], key: str, pattern: re.Pattern[str], prefix: str = "") -> str:
        value = raw.get(key)
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        self.faults.append(f"{prefix}{key}: {pattern.pattern} was expected")
        return ""

    def number(self, raw: dict[str, Any], key: str, prefix: str = "", *, at_most: int = 1 << 63) -> int:
        value = raw.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= at_most:
            return value
        self.faults.append(f"{prefix}{key}: a number from 0 to {at_most} was expected")
        return 0

    def texts(self, raw: dict[str, Any], key: str, prefix: str) -> tuple[str, ...]:
        value = raw.get(key)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.faults.append(f"{prefix}{key}: an array of strings was expected")
        return ()

    def object(self, raw: dict[str, Any], key: str, prefix: str = "") -> dict[str, Any]:
        value = raw.get(key)
        if isinstance(value, dict):
            return value
        self.faults.append(f"{prefix}{key}: an object was expected")
        return {}

    def files(self, raw: dict[str, Any]) -> dict[str, FileRecord]:
        files = {}
        listed = self.object(raw, "files")
        for name in listed:
            if fault := find_name_fault(name):
                self.faults.append(f"files: the name {name!r} {fault}")
            record, prefix = self.object(listed, name), f"files.{name}."
            files[name] = FileRecord(
                size=self.number(record, "size", prefix),
                sha256=self.match(record, "sha256", _SHA256, prefix),
            )
        return files

    def systems(self, raw: dict[str, Any]) -> tuple[System, ...]:
        """Several systems, each with files in a directory of its own."""
        listed = self.object(raw, "systems")
        if len(listed) < 2:
            self.faults.append("systems: several were expected")
        systems = []
        for name in sorted(listed):
            prefix = f"systems.{name}."
            if not is_system_name(name):
                self.faults.append(f"systems: {name!r} is no name of a system")
            system = self.system(self.object(listed, name), None, prefix, name=name)
            if system.architecture is None:
                self.faults.append(f"{prefix}architecture: must be there")
            if not all(file.startswith(f"{name}/") for file in (system.boot.kernel, *system.boot.initrds)):
                self.faults.append(f"{prefix}boot: names a file that is not in the directory {name}")
            systems.append(system)
        return tuple(systems)

    def system(
        self, raw: dict[str, Any], tag: str | None, prefix: str = "", *, name: str | None = None
    ) -> System:
        source = self.text(raw, "source", prefix)
        archive_name = self.text(raw, "archive_name", prefix)
        return System(
            name=find_system_name(archive_name, tag) if name is None else name,
            source=source,
            archive_name=archive_name,
            archive_sha256=self.match(raw, "archive_sha256", _SHA256, prefix),
            architecture=self.architecture(raw, prefix),
            boot=self.boot(raw, prefix),
        )

    def architecture(self, raw: dict[str, Any], prefix: str) -> KernelArchitecture | None:
        value = raw.get("architecture")
        if value is None:
            return None
        try:
            return KernelArchitecture(value)
        except ValueError:
            expected = ", ".join(KernelArchitecture)
            self.faults.append(f"{prefix}architecture: one of {expected} was expected")
            return None

    def boot(self, raw: dict[str, Any], prefix: str) -> BootEntry:
        boot = self.object(raw, "boot", prefix)
        return BootEntry(
            kernel=self.text(boot, "kernel", f"{prefix}boot."),
            arguments=self.texts(boot, "arguments", f"{prefix}boot."),
            initrds=self.texts(boot, "initrds", f"{prefix}boot."),
        )
