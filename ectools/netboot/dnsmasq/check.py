"""The model against the TFTP directory, and its configuration against dnsmasq, before either is relied on."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.files import FileError
from ectools.ipxe.language import AUTOEXEC_NAME
from ectools.netboot.dnsmasq.model import BootServicesError
from ectools.processes import ProcessError, find_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.dnsmasq.model import BootServices

DNSMASQ = "dnsmasq"
_TEST_SECONDS = 30
_VERSION = re.compile(r"Dnsmasq version (\S+)")
_WRONG_PROXY = re.compile(r"2\.92(?!\d)")
# dnsmasq takes a comma for the next field, and adds ".0" to a name without a dot.
_FILENAME = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9._+-]*/)*[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+", re.ASCII
)


def find_dnsmasq() -> str:
    """The program's path. Raises ProgramMissingError."""
    return find_program(DNSMASQ, hint="install it: on Debian and Ubuntu it is in the package dnsmasq-base")


def read_dnsmasq_version(program: str) -> str | None:
    """The version that a dnsmasq says it has, as ``2.90``; None where it says none."""
    try:
        said = run([program, "--version"], env=build_environment(), timeout=_TEST_SECONDS).stdout
    except ProcessError:
        return None
    found = _VERSION.match(said)
    return None if found is None else found[1]


def check_proxy_version(program: str) -> None:
    """Raises EcError for a dnsmasq that ProxyDHCP does not work with.

    2.92 sends what UEFI firmware asks of port 4011 to the broadcast address and port 68, and not back: found
    in February 2026 (lists.thekelleys.org.uk, dnsmasq-discuss 2026q1/018404; an ``else`` was lost where lease
    queries were added to ``src/dhcp.c``), and right again in 2.93. One that a distribution has mended has
    the same number.
    """
    version = read_dnsmasq_version(program)
    if version is not None and _WRONG_PROXY.match(version):
        raise EcError(
            f"{program}: dnsmasq {version} sends the answers of UDP port 4011 to the wrong port, and UEFI "
            "clients of ProxyDHCP get no boot file",
            hint="take dnsmasq 2.93, or 2.91; without proxyDhcp.enable this one will do",
        )


def list_boot_files(directory: Path) -> frozenset[str]:
    """The regular files in the TFTP directory and below; none where there is no directory. Raises FileError.

    Links to directories are not followed: what they lead to is not ours to offer.
    """
    found: set[str] = set()
    pending = [directory]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(current / entry.name)
                    elif entry.is_file():
                        found.add(str((current / entry.name).relative_to(directory)))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FileError(
                f"{current}: cannot be read: {error.strerror}",
                hint="it is served as the user who runs this command: that user has to own or to read it",
            ) from error
    return frozenset(found)


def find_faults(services: BootServices) -> list[str]:
    """What is wrong with what is offered, a sentence each."""
    return [*_find_double_offers(services), *_find_bad_names(services), *_find_unreadable(services)]


def check_services(services: BootServices, configuration: str, *, program: str) -> None:
    """Raises BootServicesError with every fault, and EcError where dnsmasq refuses the configuration."""
    if faults := find_faults(services):
        raise BootServicesError(
            "what TFTP and ProxyDHCP are to offer cannot be: " + "; ".join(faults),
            hint="`ectools netboot ipxe` puts the boot files there",
        )
    try:
        run(
            [program, "--test", "--conf-file=-"],
            stdin=configuration,
            env=build_environment(),
            timeout=_TEST_SECONDS,
        )
    except ProcessError as error:
        reason = error.stderr.strip() or error.message
        raise EcError(
            f"dnsmasq refuses the configuration that was made for it: {reason}",
            hint="`ectools netboot serve --print-dnsmasq` shows it; dnsmasq 2.80 is new enough",
        ) from error


def build_environment() -> dict[str, str]:
    """dnsmasq's: its messages are read, so they must not be translated."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


def _find_double_offers(services: BootServices) -> Iterator[str]:
    counts = Counter(offer.architecture.number for offer in services.offers)
    for number, count in counts.items():
        if count > 1:
            yield f"architecture {number} has {count} services"


def _find_bad_names(services: BootServices) -> Iterator[str]:
    for filename in sorted({name for offer in services.offers for name in offer.filenames}):
        if _FILENAME.fullmatch(filename) is None:
            yield f"{filename!r} is no name that dnsmasq can offer: letters, digits, _ and -, and a dot"


def _find_unreadable(services: BootServices) -> Iterator[str]:
    names = {name for offer in services.offers for name in offer.filenames}
    if services.proxy is not None or os.path.lexists(services.tftp_dir / AUTOEXEC_NAME):
        # A binary that cannot have its script loads itself for ever.
        names.add(AUTOEXEC_NAME)
    for name in sorted(names):
        path = services.tftp_dir / name
        if not path.is_file():
            yield f"{path} is not there"
        elif not os.access(path, os.R_OK):
            yield f"{path} cannot be read by this user"
