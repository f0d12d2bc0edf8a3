"""All files of one service on a system without NixOS: units, users, directories, sysctls, settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ectools.netboot.settings.kernel_settings import list_kernel_settings
from ectools.netboot.settings.model import ServerSettings
from ectools.service.facts import NETBOOT_PATH, build_guest_facts, build_netboot_facts, list_writable
from ectools.service.ownership import seal
from ectools.service.sections import build_sections, load_definition
from ectools.service.unit_text import leave_out_newer, quote_rule_path, render_unit
from ectools.vm.settings import GUEST_CONFIG, GuestSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ectools.service.programs import Programs
    from ectools.service.settings import ServiceName, ServiceSettings

UNIT_DIRECTORY = PurePosixPath("/etc/systemd/system")
SETTINGS_MARK = "# settings: sha256 "
"""Stands in each unit, before the sum of the settings file: so that units change where it does."""


@dataclass(frozen=True, kw_only=True)
class ServiceFiles:
    """``units``: name → text, in the order in which they are started. ``texts``: path → text of all files
    but the settings, sealed (``ownership``). ``settings``: path and text of that one.
    """

    name: str
    units: Mapping[str, str]
    texts: Mapping[PurePosixPath, str]
    settings: tuple[PurePosixPath, str]


def settings_path(name: ServiceName) -> PurePosixPath:
    """Where the units, and the commands by themselves, find the settings."""
    return PurePosixPath(NETBOOT_PATH if name == "netboot" else str(GUEST_CONFIG))


def list_paths(name: ServiceName) -> list[PurePosixPath]:
    """Every path that a service may have a file at, but for its settings."""
    service = _service_name(name)
    return [
        *(UNIT_DIRECTORY / unit for unit in load_definition(name)["units"]),
        *(PurePosixPath(f"/etc/{kind}/{service}.conf") for kind in ("sysusers.d", "tmpfiles.d")),
        PurePosixPath(f"/etc/modules-load.d/{service}.conf"),
        _sysctl_path(service),
    ]


def build_files(service: ServiceSettings, programs: Programs, *, owns_settings: bool = True) -> ServiceFiles:
    """The files of a service, which nothing of this machine goes into but the paths of ``programs``.

    ``owns_settings``: the settings file is ours to write, to replace and to remove.
    """
    facts = (
        build_netboot_facts(service.options, programs)
        if isinstance(service.settings, ServerSettings)
        else build_guest_facts(service.options, service.settings, programs)
    )
    whose = "" if owns_settings else ", the administrator's"
    mark = f"{SETTINGS_MARK}{hashlib.sha256(service.text.encode()).hexdigest()}{whose}\n"
    units = {
        unit: seal(mark + render_unit(leave_out_newer(sections, programs.systemd)), unit=unit)
        for unit, sections in build_sections(service.name, facts).items()
    }
    name = _service_name(service.name)
    texts = {UNIT_DIRECTORY / unit: text for unit, text in units.items()}
    further = {
        f"/etc/sysusers.d/{name}.conf": "".join(_list_users(service.name)),
        f"/etc/tmpfiles.d/{name}.conf": "".join(_list_rules(service)),
        f"/etc/modules-load.d/{name}.conf": "macvtap\n" if facts.get("lan") else "",
        str(_sysctl_path(name)): "".join(_list_kernel_settings(service)),
    }
    texts |= {PurePosixPath(path): seal(text) for path, text in further.items() if text}
    return ServiceFiles(
        name=service.name,
        units=units,
        texts=texts,
        settings=(settings_path(service.name), service.text),
    )


def _service_name(name: ServiceName) -> str:
    """The service's group, which its main unit and its files are named after."""
    return str(load_definition(name)["group"])


def _sysctl_path(name: str) -> PurePosixPath:
    """A file that those of the administrator, whose names begin with higher numbers, come after."""
    return PurePosixPath(f"/etc/sysctl.d/10-{name}.conf")


def _list_kernel_settings(service: ServiceSettings) -> Iterator[str]:
    """Lines of sysctl.d(5). With "-": where they cannot be set (in a container), it is no failure."""
    if isinstance(service.settings, ServerSettings):
        for name, value in list_kernel_settings(service.settings).items():
            yield f"-{name} = {value}\n"


def _list_users(name: ServiceName) -> Iterator[str]:
    """Lines of sysusers.d(5)."""
    definition = load_definition(name)
    group = definition["group"]
    yield f"g {group} -\n"
    for user, description in definition["users"].items():
        yield f'u {user} -:{group} "{description}"\n'
    if name == "ipxe-qemu":
        # udev's group of /dev/kvm, which a system without udev has not.
        yield "g kvm -\n"


def _list_rules(service: ServiceSettings) -> Iterator[str]:
    """Lines of tmpfiles.d(5), as nix/modules/directories.nix has them."""
    group = load_definition(service.name)["group"]
    mode = load_definition("common")["directoryMode"]
    settings = service.settings
    state = str(settings.state_dir)
    if isinstance(settings, GuestSettings):
        own = [str(settings.boot.user_net.tftp_dir)]
        new = [each for each in list_writable(settings) if each not in (state, *own)]
    else:
        own, new = [str(settings.tftp_dir), str(settings.fleet_dir)], []
    for directory in (state, *(each for each in own if each != state)):
        yield f"d {quote_rule_path(directory)} {mode} {group} {group} - -\n"
    # With all that lies in it: also what somebody made there as root, before there was a user for it.
    yield f"Z {quote_rule_path(state, is_glob=True)} - {group} {group} - -\n"
    for directory in new:
        # ":" is for a directory that is still to be made: one that is there may be somebody else's.
        yield f"d {quote_rule_path(directory)} :{mode} :{group} :{group} - -\n"
