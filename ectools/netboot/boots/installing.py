"""What a machine says while it installs, a form, and what that makes of its boot.

Like a report it comes to ``POST /report?boot=<token>``::

    stage=installing&run=…&step=begin&mac=…&uuid=…     what am I to install? The answer is the plan
    stage=installing&run=…&step=disk|partition|copy|loader|keys&percent=…&disk=…
    stage=installing&run=…&step=…&error=…              it does not go on
    stage=installed&run=…                              the disk boots

A boot's token begins one installation: it is that of the first ``run`` that asks. Whoever comes with another
one is a machine that was started by the same arguments once more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ectools.errors import EcError, InputError, cut
from ectools.netboot.boots.form import clean_text, get_field, parse_form
from ectools.netboot.boots.model import INSTALL_STEPS, BootState, InstallStep, NodeStage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.boots.model import BootInstall, NodeBoot

MAX_MACS = 16
"""NICs that a machine may name; of one that has more, any may be the one that it is known by."""
_MAX_DISK, _MAX_ERROR = 128, 256
_RUN = re.compile(r"[0-9a-zA-Z-]{16,64}", re.ASCII)
_PERCENT = re.compile(r"[0-9]{1,3}", re.ASCII)
_KINDS = ("mac", "uuid", "serial", "asset")


class InstallRefusedError(EcError):
    """A boot installs nothing, or not for who asks; the message is for the boot server's log alone."""


@dataclass(frozen=True, kw_only=True)
class InstallWord:
    """One thing that is said. ``known_by``: what the machine says of itself, with ``BEGIN`` alone."""

    run: str
    step: InstallStep
    percent: int | None = None
    disk: str | None = None
    error: str | None = None
    known_by: tuple[tuple[str, str], ...] = field(default=())


def parse_install_word(body: bytes) -> InstallWord | None:
    """What a form says of an installation; None: it is of something else. Raises InputError."""
    form = parse_form(body)
    stage = get_field(form, "stage")
    if stage not in (NodeStage.INSTALLING, NodeStage.INSTALLED):
        return None
    run = get_field(form, "run") or ""
    if _RUN.fullmatch(run) is None:
        raise InputError("run: is not 16 to 64 letters and digits")
    step = InstallStep.DONE if stage == NodeStage.INSTALLED else _parse_step(get_field(form, "step"))
    percent = get_field(form, "percent")
    if percent is not None and (_PERCENT.fullmatch(percent) is None or int(percent) > 100):
        raise InputError("percent: is no number up to 100")
    return InstallWord(
        run=run,
        step=step,
        percent=None if percent is None else int(percent),
        disk=_parse_text(form, "disk", _MAX_DISK),
        error=_parse_text(form, "error", _MAX_ERROR),
        known_by=tuple((kind, value) for kind in _KINDS for value in form.get(kind, ())[:MAX_MACS] if value),
    )


def advance(boot: NodeBoot, word: InstallWord) -> NodeBoot:
    """The boot after that was said of it, ``boot`` itself where it was said before.

    Raises InstallRefusedError where it is not that boot's to say.
    """
    install = boot.install
    if install is None:
        raise InstallRefusedError("the boot installs nothing")
    if word.step is InstallStep.BEGIN and install.run is None:
        if boot.state is not BootState.BOOTING:
            raise InstallRefusedError(f"the boot is {boot.state}")
    elif install.run is None:
        raise InstallRefusedError("it has not asked what to install")
    elif install.run != word.run:
        raise InstallRefusedError("the token was used, by another run of the program or another machine")
    elif boot.state is BootState.HEALTHY or boot.state is BootState.ABANDONED:
        raise InstallRefusedError(f"the boot is {boot.state}")
    elif install.step is InstallStep.DONE:
        if word.step is InstallStep.DONE:
            return boot
        raise InstallRefusedError("it was installed")
    elif word.step is InstallStep.DONE and install.disk is None:
        raise InstallRefusedError("it has not said what it writes to")
    elif word.step is not InstallStep.BEGIN and _is_out_of_turn(install, word.step):
        raise InstallRefusedError(f"{word.step} comes before {install.step}")
    said = replace(
        install,
        run=word.run,
        step=word.step,
        percent=word.percent,
        disk=word.disk or install.disk,
        error=word.error,
    )
    return replace(boot, install=said)


def describe_fault(boot: NodeBoot) -> str | None:
    """Why an installation does not go on, a line; None: it does."""
    install = boot.install
    if install is None or install.error is None:
        return None
    return f"not installed ({install.step}): {install.error}"


def _is_out_of_turn(install: BootInstall, step: InstallStep) -> bool:
    """Whether it is past a step. Where it begins anew, it says so. None: a later version has put it."""
    return install.step is not None and INSTALL_STEPS.index(step) < INSTALL_STEPS.index(install.step)


def _parse_step(text: str | None) -> InstallStep:
    steps = [each for each in InstallStep if each is not InstallStep.DONE]
    if text not in steps:
        raise InputError(f"step: {cut(clean_text(text or ''))!r} is none of {', '.join(steps)}")
    return InstallStep(text)


def _parse_text(form: Mapping[str, list[str]], name: str, length: int) -> str | None:
    text = clean_text(get_field(form, name) or "").strip()
    return text[:length] or None
