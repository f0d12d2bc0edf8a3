"""Boots as JSON, as they stand in the store: ``NodeBoot`` → a mapping, and back.

What a later version has added is ignored, and what an earlier one did not have is the model's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.netboot.boots.model import STAGES, BootState, NodeBoot, NodeReport

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOT = (
    *("id", "token_hash", "machine", "release", "system", "node", "group", "tag", "client", "within", "why"),
    *("ended", "store_path"),
)
_REPORT = ("release", "system", "healthy", "journal", "clock")


def encode_boot(boot: NodeBoot) -> dict[str, Any]:
    """What ``decode_boot`` reads. Nothing of it is the token."""
    return {
        **{name: getattr(boot, name) for name in _BOOT},
        "state": boot.state.value,
        "stages": {stage.value: at for stage, at in boot.stages.items()},
        "report": None if boot.report is None else encode_report(boot.report),
    }


def encode_report(report: NodeReport) -> dict[str, Any]:
    return {
        **{name: getattr(report, name) for name in _REPORT},
        "seconds": dict(report.seconds),
        "failed": list(report.failed),
    }


def decode_boot(raw: Mapping[str, Any]) -> NodeBoot:
    """Raises ValueError: it is no boot that this program has written."""
    try:
        return NodeBoot(
            **{name: raw[name] for name in _BOOT if name in raw},
            state=BootState(raw["state"]),
            stages={stage: float(raw["stages"][stage]) for stage in STAGES if stage in raw["stages"]},
            report=None if raw.get("report") is None else _decode_report(raw["report"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no boot: {error}") from error


def _decode_report(raw: Mapping[str, Any]) -> NodeReport:
    return NodeReport(
        **{name: raw[name] for name in _REPORT if name in raw},
        seconds=dict(raw["seconds"]),
        failed=tuple(raw["failed"]),
    )
