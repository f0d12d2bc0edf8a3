"""Boots as JSON, as they stand in the store: ``NodeBoot`` → a mapping, and back.

What a later version has added is ignored, and what an earlier one did not have is the model's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.netboot.boots.model import (
    STAGES,
    BootInstall,
    BootState,
    BootUpdate,
    InstallStep,
    NodeBoot,
    NodeReport,
    UpdateStep,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOT = (
    *("id", "token_hash", "machine", "release", "system", "node", "group", "tag", "client", "within", "why"),
    *("ended", "store_path", "after"),
)
_LATER = ("store_percent",)
"""What stands there where it is not None alone."""
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
    return {"release": update.release, "step": update.step.value, "at": update.at, "error": update.error}


def decode_boot(raw: Mapping[str, Any]) -> NodeBoot:
    """Raises ValueError: it is no boot that this program has written."""
    try:
        return NodeBoot(
            **{name: raw[name] for name in (*_BOOT, *_LATER) if name in raw},
            state=BootState(raw["state"]),
            stages={stage: float(raw["stages"][stage]) for stage in STAGES if stage in raw["stages"]},
            report=None if raw.get("report") is None else _decode_report(raw["report"]),
            install=None if raw.get("install") is None else _decode_install(raw["install"]),
            from_disk=raw.get("from_disk", False) is True,
            update=None if raw.get("update") is None else _decode_update(raw["update"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no boot: {error}") from error


def _decode_install(raw: Mapping[str, Any]) -> BootInstall:
    step = raw["step"]
    known = {name: raw[name] for name in _INSTALL if name in raw}
    return BootInstall(**known, step=None if step is None else InstallStep(step))


def _decode_update(raw: Mapping[str, Any]) -> BootUpdate:
    return BootUpdate(
        release=raw["release"], step=UpdateStep(raw["step"]), at=float(raw["at"]), error=raw.get("error")
    )


def _decode_report(raw: Mapping[str, Any]) -> NodeReport:
    return NodeReport(
        **{name: raw[name] for name in _REPORT if name in raw},
        seconds=dict(raw["seconds"]),
        failed=tuple(raw["failed"]),
    )
