"""What a node asks for once it has its second stage: the files of its script, then what its system reports.

The script is gone through by the interpreter of ``ectools netboot probe``, as iPXE would with a file that is
always there. A script without a report (a bare server's) ends with its files.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.ipxe import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

# A boot's id, and its token.
_MARK = re.compile(rb"boot=[A-Za-z0-9_-]+")
_MARKED = re.compile(r"boot=<\d+>")
_BEGINNING = b"\x7fELF" + bytes(60)
FAILED_UNIT = "every-channel-node.service"
OTHER_RELEASE = "sha256-" + "f" * 32


class Behaviour(StrEnum):
    """How a node's boot goes on after its kernel was started."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"  # a unit has failed
    OTHER = "other"  # it runs another release than it was given
    HANGS = "hangs"  # its initrd runs, and no more is heard of it
    DIES = "dies"  # nothing is heard of its kernel


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpRequest:
    """``what`` it is for, in figures; ``body`` None: a GET."""

    what: str
    path: str
    body: bytes | None = None


def build_script_path(mac: bytes, number: int) -> str:
    """The second stage, asked for as the first one asks: a machine without an asset tag."""
    uuid = f"{0x4000_8000_0000_0000_0000_0000_0000 + number:032x}"
    dashed = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
    said = {"mac": mac.hex(":"), "uuid": dashed, "serial": f"SN{number:06}", "asset": "", "arch": "x86_64"}
    return f"/netboot.ipxe?{urlencode(said, safe=':')}"


def list_requests(script: bytes, url: str, *, behaviour: Behaviour) -> list[HttpRequest]:
    """What comes after the script that ``url`` gave, in order. Raises ValueError where it boots no kernel."""
    # Scripts of two machines differ in these alone, and the interpreter takes milliseconds for one.
    marks = list(dict.fromkeys(_MARK.findall(script)))
    template = _MARK.sub(lambda found: b"boot=<%d>" % marks.index(found[0]), script)
    names = {f"boot=<{number}>": mark.decode() for number, mark in enumerate(marks)}
    return [
        replace(each, path=_MARKED.sub(lambda found: names[found[0]], each.path))
        for each in _list_requests(template, url, behaviour)
    ]


@functools.lru_cache(maxsize=1024)
def _list_requests(script: bytes, url: str, behaviour: Behaviour) -> list[HttpRequest]:
    return list(_find_requests(script, url, behaviour))


def _find_requests(script: bytes, url: str, behaviour: Behaviour) -> Iterator[HttpRequest]:
    settings = {"mac": "02:00:00:00:00:00", "platform": "efi", "buildarch": "x86_64"}
    end, trace = run_script(script, url, settings=settings, fetch=_find)
    if trace.boot is None:
        raise ValueError(f"the script {end}")
    for file in trace.files:
        parts = urlsplit(file.fetched.uri)
        name = parts.path.rpartition("/")[2]
        what = {"report": "loaded", "bzImage": "kernel"}.get(name, name)
        yield HttpRequest(what=what, path=f"{parts.path}?{parts.query}" if parts.query else parts.path)
    arguments = dict(word.partition("=")[::2] for word in trace.boot.arguments.split())
    report = arguments.get("every_channel.report")
    if report is None or behaviour is Behaviour.DIES:
        return
    parts = urlsplit(report)
    path = f"{parts.path}?{parts.query}"
    yield HttpRequest(what="running", path=path, body=b"stage=running")
    if behaviour is not Behaviour.HANGS:
        body = _build_report(arguments.get("every_channel.release", ""), behaviour)
        yield HttpRequest(what="up", path=path, body=body)


def _build_report(release: str, behaviour: Behaviour) -> bytes:
    is_healthy = behaviour is not Behaviour.UNHEALTHY
    seconds = {"firmware": 4.1, "loader": 2.25, "kernel": 1.5, "initrd": 3.75, "userspace": 9.0}
    fields: list[tuple[str, object]] = [
        ("stage", "up"),
        ("release", OTHER_RELEASE if behaviour is Behaviour.OTHER else release),
        ("healthy", "yes" if is_healthy else "no"),
        *((f"seconds.{part}", value) for part, value in seconds.items()),
        ("clock", 1_700_000_000),
    ]
    if not is_healthy:
        fields += [("failed", FAILED_UNIT), ("journal", f"{FAILED_UNIT}: exited, status 1\n" * 20)]
    return urlencode(fields).encode()


def _find(uri: str, *_: object, **__: object) -> Fetched:
    return Fetched(uri=uri, state=FetchState.FOUND, size=len(_BEGINNING), head=_BEGINNING)


def choose_behaviour(behaviours: list[str], number: int) -> Behaviour:
    """That of the node of this number: one after the other, and from the first again."""
    return Behaviour(behaviours[number % len(behaviours)])
