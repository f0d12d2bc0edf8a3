"""What a system on a disk says, forms: that it has booted, and how it goes on to the next release.

``POST /disk-boot?node=NAME&token=<credential>``: it has booted, and asks for the words to report by::

    system=/nix/store/…&release=<id>                   what runs, and the release that it came with
      [&tried-system=…&tried-release=<id>]             what was to be booted in its place, and did not come up
      [&tried-why=unbooted]                            likewise, because nothing has started it
      &mac=…&uuid=…&serial=…&asset=…                   what the machine is known by

``POST /disk-update?token=<token of its boot>``: how far it is with the next one::

    release=<id>&step=copy|entry|same[&error=…]

``same``: the release brings the system that runs already, and is the boot's from then on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import InputError, cut
from ectools.netboot.boots.form import clean_text, get_field, parse_form
from ectools.netboot.boots.installing import MAX_MACS
from ectools.netboot.boots.model import BootUpdate, UpdateStep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_DISK_BYTES = 8 << 10
"""Of such a form as it is sent."""
_MAX_ERROR = 256
_RELEASE = re.compile(r"[A-Za-z0-9._+-]{1,255}", re.ASCII)
_SYSTEM = re.compile(r"/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]{1,211}", re.ASCII)
_UNBOOTED = "unbooted"
_KINDS = ("mac", "uuid", "serial", "asset")


@dataclass(frozen=True, kw_only=True)
class DiskWord:
    """That a machine has booted from its disk. ``system`` and ``release``: what was to be booted.

    ``runs`` is the store path that does; another than ``system`` where that did not come up. ``unbooted``:
    the release that firmware and boot loader do not start, however often it was to be booted.
    """

    release: str
    system: str
    runs: str
    unbooted: str | None = None
    known_by: tuple[tuple[str, str], ...] = ()


def parse_disk_word(body: bytes) -> DiskWord:
    """Raises InputError, which says which field is wrong."""
    form = parse_form(body)
    runs, release = _parse(form, "system", _SYSTEM), _parse(form, "release", _RELEASE)
    system, unbooted = runs, None
    if get_field(form, "tried-why") == _UNBOOTED:
        unbooted = _parse(form, "tried-release", _RELEASE)
    elif "tried-system" in form:
        system, release = _parse(form, "tried-system", _SYSTEM), _parse(form, "tried-release", _RELEASE)
    return DiskWord(
        release=release,
        system=system,
        runs=runs,
        unbooted=unbooted,
        known_by=tuple((kind, value) for kind in _KINDS for value in form.get(kind, ())[:MAX_MACS] if value),
    )


def parse_update(body: bytes, *, now: float) -> BootUpdate:
    """What is said of an update at ``now`` (Unix seconds). Raises InputError."""
    form = parse_form(body)
    step = get_field(form, "step")
    if step not in list(UpdateStep):
        raise InputError(f"step: {cut(clean_text(step or ''))!r} is none of {', '.join(UpdateStep)}")
    error = clean_text(get_field(form, "error") or "").strip()[:_MAX_ERROR] or None
    return BootUpdate(release=_parse(form, "release", _RELEASE), step=UpdateStep(step), at=now, error=error)


def _parse(form: Mapping[str, Sequence[str]], name: str, pattern: re.Pattern[str]) -> str:
    text = get_field(form, name) or ""
    if pattern.fullmatch(text) is None:
        raise InputError(f"{name}: {cut(clean_text(text))!r} cannot be one")
    return text
