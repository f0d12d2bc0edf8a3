"""A service's settings: checked as its program checks them, and for what its units cannot have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from ectools.names import show_path
from ectools.netboot.settings.build import build_server_settings
from ectools.netboot.settings.model import NETBOOT_SCHEMA, ServerSettings
from ectools.parsing import Problems, is_text
from ectools.processes import ProcessError, ProgramMissingError, run
from ectools.schemas import load_schema
from ectools.service.programs import is_below, is_hidden, join_slashes
from ectools.service.sections import load_definition
from ectools.settings_file import SettingsFile, check_document, read_settings_file
from ectools.vm.build import build_guest_settings
from ectools.vm.settings import GUEST_SCHEMA, GuestSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ectools.schemas import Schema

_SECONDS = 30.0
_CALENDAR = "one of systemd.time(7): daily, Sat 04:00"


class ServiceName(StrEnum):
    """The services that can be installed: the names of their options, and of their data."""

    NETBOOT = "netboot"
    IPXE_QEMU = "ipxe-qemu"


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """``options`` with the schema's defaults, and the same as the program has them; ``text``: its file.

    ``text`` is JSON of what was set, as NixOS writes it; ``raw`` what the file holds that was read.
    """

    name: ServiceName
    options: Mapping[str, Any]
    settings: ServerSettings | GuestSettings
    text: str
    raw: bytes


def load_service_settings(name: ServiceName, config: Path) -> ServiceSettings:
    """The settings of a service in a file of either form (``ectools.settings_file``).

    Raises InputError, and ProblemsError with every bad field: what the program refuses, and directories that
    its units would not see, or that are nobody's to give away.
    """
    schema = load_schema(NETBOOT_SCHEMA if name is ServiceName.NETBOOT else GUEST_SCHEMA)
    file = read_settings_file(config, schema)
    options = check_document(file.document, schema, file=file, where=str(config))
    problems = Problems(schema.prefix)
    settings = _build(name, options, problems)
    if settings is not None:
        _check(name, settings, problems)
        _check_calendar(options.get("release", {}).get("refresh"), problems)
        if file.document.get("enable") is False:
            problems.add("enable", False, "is not to be there", "true, or ectools service remove")
    if settings is None or problems.found:
        raise file.locate(problems.error(str(config)))
    text = _show(file, schema)
    return ServiceSettings(name=name, options=options, settings=settings, text=text, raw=file.raw)


def _build(
    name: ServiceName, options: Mapping[str, Any], problems: Problems
) -> ServerSettings | GuestSettings | None:
    match name:
        case ServiceName.NETBOOT:
            return build_server_settings(options, problems)
        case ServiceName.IPXE_QEMU:
            return build_guest_settings(options, problems)
    assert_never(name)


def _check(name: ServiceName, settings: ServerSettings | GuestSettings, problems: Problems) -> None:
    common = load_definition("common")
    for option, path in _list_seen(settings):
        if path is not None and is_hidden(path):
            expected = f"a path outside of {', '.join(common['hiddenDirectories'])}, which units do not see"
            problems.add(option, str(path), "is out of the service's sight", expected)
    owned = {"stateDir": settings.state_dir}
    if isinstance(settings, GuestSettings):
        owned["boot.userNet.tftpDir"] = settings.boot.user_net.tftp_dir
    for option, path in owned.items():
        is_shared = str(join_slashes(path)) in common["sharedDirectories"]
        if is_shared or is_below(path, common["systemDirectories"]):
            message = "would be given to the service's user, with all that is in it"
            problems.add(option, str(path), message, f"a directory of {name}'s own")


def _check_calendar(refresh: str | None, problems: Problems) -> None:
    """What the module asks too when a system is built; a line of its own would be one of the unit's."""
    if refresh is None:
        return
    is_usable = is_text(refresh)
    if is_usable:
        try:
            run(["systemd-analyze", "calendar", "--", refresh], timeout=_SECONDS)
        except ProgramMissingError:
            return
        except ProcessError:
            is_usable = False
    if not is_usable:
        problems.add("release.refresh", refresh, "is not a calendar event", _CALENDAR)


def _list_seen(settings: ServerSettings | GuestSettings) -> Iterator[tuple[str, Path | None]]:
    """Options and the paths that the service's user reads or writes."""
    yield "stateDir", settings.state_dir
    if isinstance(settings, GuestSettings):
        yield "boot.http.root", settings.boot.http.root
        yield "boot.userNet.bootFile", settings.boot.user_net.boot_file
        yield "boot.userNet.tftpDir", settings.boot.user_net.tftp_dir
        yield "disk.path", settings.disk.path
        return
    from ectools.netboot.settings.depot_address import DirectoryAddress
    from ectools.netboot.settings.model import DepotSource, Forge, IpxeFile, RemoteIpxe, Tarballs

    yield "fleet.file", settings.fleet.file
    for binary, path in settings.ipxe.files.items():
        yield f"ipxe.{_OPTIONS[binary]}", path
    for name, path in settings.ipxe.extra_files.items():
        yield show_path((name,), "ipxe.extraFiles"), path
    if isinstance(settings.ipxe.x86_64, IpxeFile):
        yield "ipxe.localFile", settings.ipxe.x86_64.path
    if isinstance(settings.ipxe.x86_64, RemoteIpxe):
        yield "ipxe.remoteCaFile", settings.ipxe.x86_64.ca_file
    if settings.release.signature is not None:
        yield "release.signature.publicKeyFile", settings.release.signature.public_key_file
    if isinstance(settings.release.source, Tarballs):
        yield from (("release.tarball", path) for path in settings.release.source.paths)
    if isinstance(settings.release.source, Forge | DepotSource):
        yield "release.caFile", settings.release.source.ca_file
    if isinstance(settings.release.source, DepotSource):
        address = settings.release.source.address
        yield "release.source", address.path if isinstance(address, DirectoryAddress) else None


_OPTIONS = {"bios": "biosFile", "ia32": "ia32File", "arm64": "arm64File"}


def _show(file: SettingsFile, schema: Schema) -> str:
    """What the file sets, without what only a NixOS module acts upon."""
    document = {name: value for name, value in file.document.items() if name in schema.document["properties"]}
    document.pop("enable", None)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
