"""The boot scripts: the first stage finds the boot server, the second one loads a release and starts it.

Pure functions from settings to text. The scripts run on iPXE of 2019 and later; what only a newer or a UEFI
build can do (a header of one's own, SHA-256) is tried first, and done without where it is missing. They hold
absolute URLs alone: where another DHCP server is beside a proxy, ``${next-server}`` is the wrong host.

Everything that is put into a script is checked here, because what is spliced in unchecked could be a command:
iPXE splits a line at blanks, then expands ``${…}`` in each word, and again in what came of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ectools.errors import EcError
from ectools.ipxe.errors import REASONS
from ectools.ipxe.language import NETBOOT_NAME, goes_on, is_argument, is_file_name
from ectools.ipxe.token import encode_token, is_token
from ectools.ipxe.urls import FAILURE_MARK, URL
from ectools.netboot.settings.model import OnFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.settings.model import NetbootSettings

TOKEN_HEADER = "X-Boot-Token"  # noqa: S105 - the header's name

STALL_SECONDS = 60
"""Seconds without progress after which a download has failed."""
FIRST_PAUSE = 2
LONGEST_PAUSE = 32


class ScriptError(EcError):
    """Something cannot stand in a boot script; the message names it."""


def build_autoexec(settings: NetbootSettings, token: str | None) -> str:
    """The first stage: DHCP, then the second stage from this server or a mirror.

    ``token`` is sent where ``netboot.ipxe`` is protected. Raises ScriptError.
    """
    sent = token if NETBOOT_NAME in settings.protected_files else None
    attempts = settings.ipxe.attempts
    return _join(
        ["#!ipxe", "# Written by ectools netboot ipxe; changes are lost at its next run.", ""],
        [
            "set ec-stage first",
            *_start_rounds(),
            ":lease",
            # Not only where there is no address yet: firmware hands settings on without an open NIC.
            "dhcp && goto leased ||",
            f"iseq ${{ec-round}} {attempts} && goto no_lease ||",
            *_pause("no DHCP lease"),
            "goto lease",
            ":no_lease",
            f"echo {FAILURE_MARK} no DHCP lease in {attempts} rounds",
            "goto end",
            ":leased",
            *_probe_header(sent),
            f"set ec-name {NETBOOT_NAME}",
            f"set ec-path /{NETBOOT_NAME}",
            *(["set ec-how ${ec-token}"] if sent else []),
        ],
        _fetch(settings, sent),
        [
            ":fetched",
            f"imgexec {NETBOOT_NAME} && exit ||",
            # It ran, and has printed how it failed.
            "iseq ${ec-stage} first || exit",
            "set ec-error ${errno:hexraw}",
            f"imgfree {NETBOOT_NAME} ||",
            "set ec-why-${ec-source} what it sent is no boot script that runs (https://ipxe.org/${ec-error})",
            "goto next_source",
        ],
        _reasons(),
        _give_up(settings),
    )


def build_netboot(settings: NetbootSettings, release: Release, token: str | None) -> str:
    """The second stage: kernel and initrds of ``release``, checked on the client where it can; then its boot.

    Each file is asked of this server and of the mirrors in turn, below ``/releases/<id>/``: a client that has
    this script gets this release's files whatever is staged meanwhile. Raises ScriptError.
    """
    boot = release.boot
    files = [boot.kernel, *boot.initrds]
    names = [_check_file(file).rpartition("/")[2] for file in files]
    if len(set(names)) != len(names):
        raise ScriptError(f"{release.id}: boots several files of one name, and iPXE knows images by name")
    arguments = [_check_argument(argument) for argument in boot.arguments]
    if arguments and goes_on(arguments[-1]):
        raise ScriptError(f"{release.id}: the kernel's last argument ends in a backslash")
    protected = [file in settings.protected_files for file in files]
    sent = token if any(protected) else None
    steps = [
        [
            f":file_{index}",
            f"set ec-name {name}",
            f"set ec-path /releases/{release.id}/{file}",
            f"set ec-sum {release.files[file].sha256}",
            *([f"set ec-how {'${ec-token}' if asks else 'open'}"] if sent else []),
            "goto fetch",
        ]
        for index, (file, name, asks) in enumerate(zip(files, names, protected, strict=True))
    ]
    return _join(
        ["#!ipxe", f"# Boots {release.id}.", ""],
        ["set ec-stage netboot", "imgfree ||", *_probe_header(sent), "set ec-file:int32 0", "goto file_0"],
        *steps,
        [
            f":file_{len(files)}",
            " ".join(["imgargs", names[0], *arguments]),
            f"echo every.channel: starting {release.id}",
            f"imgexec {names[0]} ||",
            f"echo {FAILURE_MARK} {names[0]}: loaded, but does not start (https://ipxe.org/${{errno:hexraw}})",
            "goto end",
        ],
        _fetch(settings, sent),
        [
            ":fetched",
            *_verify(enabled=settings.ipxe.verify),
            ":next_file",
            "inc ec-file",
            "goto file_${ec-file}",
        ],
        _reasons(),
        _give_up(settings),
    )


def _join(*blocks: Iterable[str]) -> str:
    return "".join(f"{line}\n" for block in blocks for line in block)


def _start_rounds() -> list[str]:
    return ["set ec-round:int32 1", f"set ec-pause:int32 {FIRST_PAUSE}"]


def _pause(what: str) -> list[str]:
    """Wait before the next round, each time twice as long as before."""
    return [
        f"echo every.channel: {what}; trying again in ${{ec-pause}} s",
        "sleep ${ec-pause}",
        "inc ec-round",
        "inc ec-pause ${ec-pause}",
        f"iseq ${{ec-pause}} {2 * LONGEST_PAUSE} && set ec-pause:int32 {LONGEST_PAUSE} ||",
    ]


def _probe_header(token: str | None) -> list[str]:
    """Set ``ec-token`` to how the token is sent: as a header where this iPXE can, else in the query."""
    if token is None:
        return []
    return [f"{_make_header('probe')} && set ec-token header || set ec-token query"]


def _make_header(value: str) -> str:
    # A list of parameters is used up by the request that sends it; one of the same name takes its place.
    return f"params --name ec && param --params ec --header {TOKEN_HEADER} {value}"


def _fetch(settings: NetbootSettings, token: str | None) -> list[str]:
    """Load ``ec-path`` as the image ``ec-name`` from the sources in turn, then go to ``fetched``.

    ``ec-how`` says how the token is sent (``open``: it is not).
    """
    if token is not None and not is_token(token):
        raise ScriptError("the token has a character that iPXE cannot send")
    sources = _find_sources(settings)
    get = f"imgfetch --name ${{ec-name}} --timeout {STALL_SECONDS * 1000} ${{ec-url}}${{ec-path}}"
    end = "&& goto fetched || goto why"
    return [
        ":fetch",
        *_start_rounds(),
        ":round",
        "set ec-source:int32 0",
        ":source",
        "goto source_${ec-source}",
        *(
            line
            for index, url in enumerate(sources)
            for line in (f":source_{index}", f"set ec-url {url}", "goto try")
        ),
        ":try",
        *(["goto try_${ec-how}"] if token else []),
        ":try_open",
        f"{get} {end}",
        *(
            [
                ":try_header",
                f"{_make_header(token)} ||",
                f"{get}##params=ec {end}",
                ":try_query",
                f"{get}?token={encode_token(token)} {end}",
            ]
            if token
            else []
        ),
        ":next_source",
        "inc ec-source",
        "goto source",
        f":source_{len(sources)}",
        f"iseq ${{ec-round}} {settings.ipxe.attempts} && goto give_up ||",
        *_pause("${ec-name}: no source gave it"),
        "goto round",
    ]


def _verify(*, enabled: bool) -> list[str]:
    """Check the image's SHA-256. An iPXE that cannot prints a warning, once, and goes on."""
    if not enabled:
        return []
    return [
        "iseq ${ec-unverified} yes && goto next_file ||",
        "sha256sum --set ec-got ${ec-name} && goto compare ||",
        "isset ${ec-got} && goto mismatch ||",
        "set ec-unverified yes",
        "echo every.channel: WARNING: this iPXE has no sha256sum --set; what it boots is not verified",
        "goto next_file",
        ":compare",
        "iseq ${ec-got} ${ec-sum} && goto next_file ||",
        ":mismatch",
        "echo every.channel: ${ec-name}: WRONG SHA-256 from ${ec-url}",
        "imgfree ${ec-name}",
        "set ec-why-${ec-source} wrong SHA-256: not what was staged",
        "goto next_source",
    ]


def _reasons() -> list[str]:
    """Keep in ``ec-why-N`` why source N failed, by the kind of iPXE's error number."""
    lines = [
        ":why",
        "set ec-error ${errno:hexraw}",
        "set ec-kind:uint8 ${errno}",
        "goto why_${ec-kind} ||",
        "set ec-text failed",
    ]
    for reason in REASONS:
        labels = [f":why_{code:#x}" for code in reason.codes]
        lines += ["goto because", *labels, f"set ec-text {reason.text}"]
    return [
        *lines,
        ":because",
        "set ec-why-${ec-source} ${ec-text} (https://ipxe.org/${ec-error})",
        "goto next_source",
    ]


def _give_up(settings: NetbootSettings) -> list[str]:
    """The readable error of ``ec-name``, then what the settings say that comes at the end."""
    ipxe = settings.ipxe
    if ipxe.on_failure is OnFailure.SHELL:
        last = [
            "echo every.channel: a shell, to look around: reboot tries again, exit goes on to the disk",
            "shell",
        ]
    else:
        last = [
            f"echo every.channel: rebooting in {ipxe.reboot_seconds} s",
            f"sleep {ipxe.reboot_seconds} ||",
            "reboot ||",
        ]
    return [
        ":give_up",
        f"echo {FAILURE_MARK} ${{ec-name}}: not loaded in {ipxe.attempts} rounds",
        *(
            f"echo every.channel: {url}: ${{ec-why-{index}}}"
            for index, url in enumerate(_find_sources(settings))
        ),
        ":end",
        *last,
        "exit",
    ]


def _find_sources(settings: NetbootSettings) -> Sequence[str]:
    """The base URLs in the order in which they are tried, checked."""
    return [_check_base(url) for url in (settings.base_url, *settings.mirrors)]


def _check_base(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = URL.fullmatch(url) is not None and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ScriptError(
            f"{url!r} is no URL that a boot script can name", hint="http://192.0.2.10:8080 is one"
        )
    if "?" in url or "#" in url:
        raise ScriptError(f"{url!r}: a base URL has no query and no fragment: files' paths are put after it")
    return url


def _check_file(name: str) -> str:
    if not is_file_name(name):
        raise ScriptError(
            f"{name!r}: a boot script cannot name this file",
            hint="files that are booted have names of letters, digits and . _ -",
        )
    return name


def _check_argument(argument: str) -> str:
    if not is_argument(argument):
        raise ScriptError(
            f"{argument!r}: a boot script cannot hold this argument of the kernel",
            hint="printable ASCII without blanks, with ${cmdline} and the like at most",
        )
    return argument
