"""Boots as JSON, as they stand in the store: ``NodeBoot`` → a mapping, and back.

What a later version has added is ignored, and what an earlier one did not have is the model's default: also
a step that is unknown. A state that is unknown is none of a boot, which cannot be judged without.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ectools.netboot.boots.model import (
    STAGES,
    BootInstall,
    BootState,
    BootUpdate,
    InstallStep,
    NodeBoot,
    NodeReport,
    NodeStage,
    UpdateStep,
)
from ectools.netboot.state.decode import (
    MAX_LONG_TEXT,
    need_list,
    need_mapping,
    need_number,
    need_text,
    read_count,
    read_flag,
    read_period,
    read_text,
    read_text_if_any,
    read_time,
    read_time_if_any,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOT = (
    *("id", "token_hash", "machine", "release", "system", "node", "group", "tag", "client", "within", "why"),
    *("ended", "store_path", "after"),
)
_LATER = ("store_percent", "asked")
"""What stands there where it is not None alone."""
# It becomes a part of a key.
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_WITHIN = 600.0
_MAX_LISTED = 1024
# Of a node's own clock, which may be wrong, and of its systemd.
_MAX_TOLD = 1e12
_INSTALL = ("order", "run", "percent", "disk", "error")
_REPORT = ("release", "system", "healthy", "journal", "clock")


def encode_boot(boot: NodeBoot) -> dict[str, Any]:
    """What ``decode_boot`` reads. Nothing of it is the token."""
    return {
        **{name: getattr(boot, name) for name in _BOOT},
        "state": boot.state.value,
        "stages": {stage.value: at for stage, at in boot.stages.items()},
        "report": None if boot.report is None else encode_report(boot.report),
        **({} if boot.install is None else {"install": encode_install(boot.install)}),
        **{name: value for name in _LATER if (value := getattr(boot, name)) is not None},
        **({"from_disk": True} if boot.from_disk else {}),
        **({} if boot.update is None else {"update": encode_update(boot.update)}),
    }


def encode_report(report: NodeReport) -> dict[str, Any]:
    return {
        **{name: getattr(report, name) for name in _REPORT},
        "seconds": dict(report.seconds),
        "failed": list(report.failed),
    }


def encode_install(install: BootInstall) -> dict[str, Any]:
    step = None if install.step is None else install.step.value
    return {**{name: getattr(install, name) for name in _INSTALL}, "step": step}


def encode_update(update: BootUpdate) -> dict[str, Any]:
    is_same = update.step is UpdateStep.SAME
    return {
        "release": update.release,
        # To a version before, which reads no boot with a step that it does not know, the last of its own.
        "step": (UpdateStep.ENTRY if is_same else update.step).value,
        "at": update.at,
        "error": update.error,
        **({"same": True} if is_same else {}),
    }


def decode_boot(raw: Mapping[str, Any]) -> NodeBoot:
    """Raises ValueError: it is no boot that this program has written."""
    try:
        return _decode_boot(raw)
    except ValueError as error:
        raise ValueError(f"no boot: {error}") from error


def _decode_boot(raw: Mapping[str, Any]) -> NodeBoot:
    boot_id = read_text(raw, "id")
    if _ID.fullmatch(boot_id) is None:
        raise ValueError("id: none")
    stages = need_mapping(raw.get("stages"), "stages")
    if NodeStage.SCRIPT not in stages:
        raise ValueError("stages: it has not begun")
    report, install, update = (raw.get(name) for name in ("report", "install", "update"))
    return NodeBoot(
        id=boot_id,
        token_hash=read_text(raw, "token_hash"),
        machine=read_text(raw, "machine"),
        release=read_text(raw, "release"),
        system=read_text(raw, "system"),
        node=read_text_if_any(raw, "node"),
        group=read_text_if_any(raw, "group"),
        tag=read_text_if_any(raw, "tag"),
        store_path=read_text_if_any(raw, "store_path"),
        client=read_text_if_any(raw, "client"),
        within=read_period(raw, "within", otherwise=_WITHIN),
        stages={stage: read_time(stages, stage) for stage in STAGES if stage in stages},
        state=BootState(read_text(raw, "state")),
        why=read_text_if_any(raw, "why", most=MAX_LONG_TEXT),
        report=None if report is None else _decode_report(need_mapping(report, "report")),
        ended=read_time_if_any(raw, "ended"),
        install=None if install is None else _decode_install(need_mapping(install, "install")),
        store_percent=_read_percent(raw, "store_percent"),
        from_disk=read_flag(raw, "from_disk"),
        update=None if update is None else _decode_update(need_mapping(update, "update")),
        asked=read_time_if_any(raw, "asked"),
        after=read_text_if_any(raw, "after"),
    )


def _decode_install(raw: Mapping[str, Any]) -> BootInstall:
    step = read_text_if_any(raw, "step")
    return BootInstall(
        order=read_text(raw, "order"),
        run=read_text_if_any(raw, "run"),
        step=InstallStep(step) if step in list(InstallStep) else None,
        percent=_read_percent(raw, "percent"),
        disk=read_text_if_any(raw, "disk"),
        error=read_text_if_any(raw, "error", most=MAX_LONG_TEXT),
    )


def _decode_update(raw: Mapping[str, Any]) -> BootUpdate | None:
    step = read_text(raw, "step")
    if step not in list(UpdateStep):
        return None
    return BootUpdate(
        release=read_text(raw, "release"),
        step=UpdateStep.SAME if read_flag(raw, "same") else UpdateStep(step),
        at=read_time(raw, "at"),
        error=read_text_if_any(raw, "error", most=MAX_LONG_TEXT),
    )


def _decode_report(raw: Mapping[str, Any]) -> NodeReport:
    seconds = need_mapping(raw.get("seconds"), "seconds")
    if len(seconds) > _MAX_LISTED:
        raise ValueError("seconds: too many")
    failed = need_list(raw.get("failed"), "failed", most=_MAX_LISTED)
    clock = raw.get("clock")
    return NodeReport(
        release=read_text_if_any(raw, "release"),
        system=read_text_if_any(raw, "system"),
        healthy=read_flag(raw, "healthy", otherwise=True),
        seconds={
            need_text(part, "seconds"): need_number(each, "seconds", most=_MAX_TOLD)
            for part, each in seconds.items()
        },
        failed=tuple(need_text(each, "failed") for each in failed),
        journal=read_text_if_any(raw, "journal", most=MAX_LONG_TEXT) or "",
        clock=None if clock is None else need_number(clock, "clock", most=_MAX_TOLD),
    )


def _read_percent(raw: Mapping[str, Any], name: str) -> int | None:
    return None if raw.get(name) is None else read_count(raw, name, most=100)
