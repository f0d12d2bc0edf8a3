"""The findings of a probe, and their JSON.

``{format, interface, mac, address, seconds, architectures, faults, notes}``; the format is 1, and only grows:

- ``architectures``: ``{number, name, outcome, steps, boot, notes}``. ``outcome``: boots, not offered, stops,
  unknown. ``boot``: ``{kernel, arguments, initrds}`` or null.
- ``steps``, one a stage (firmware, http, ipxe): ``{stage, architecture, offers, asked, takes, loads, end}``.
  ``end``: how its script ends, or null.
- ``offers``: ``{server, source, kind, seconds, address, siaddr, file, option_66, vendor_class, menu}``.
  ``kind``: dhcp, proxy. ``asked``, on port 4011: ``{server, item, answered, siaddr, file}``.
- ``takes``: ``{uri, server, said_by}`` or null.
- ``loads``: ``{role, uri, state, size, contents, detail}``. ``state``: found, missing, refused, silent,
  unresolved, unknown.
- ``faults``: ``{code, severity, architecture, stage, message, remedy}``. ``severity``: error, warning.
  ``architecture`` and ``stage`` say whom it stops, and are null where it is the network's.

A token in a URI is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.netboot.probe.faults import Severity
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS
from ectools.redact import redact_tokens

if TYPE_CHECKING:
    from ectools.netboot.probe.diagnose.trace import BootStage, BootTrace
    from ectools.netboot.probe.faults import BootFault
    from ectools.netboot.probe.simulate.choose import Choice
    from ectools.netboot.probe.wire.offers import Answer

REPORT_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """The findings of a probe.

    ``address`` is this host's on the interface, None where it has none; ``seconds`` the window for offers.
    """

    interface: str
    mac: str
    address: str | None
    seconds: float
    boot_traces: tuple[BootTrace, ...]
    faults: tuple[BootFault, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether there is a fault that is more than a warning."""
        return any(fault.severity is Severity.ERROR for fault in self.faults)


def build_json(report: ProbeReport) -> dict[str, Any]:
    """The object that the module's text describes."""
    return {
        "format": REPORT_FORMAT,
        "interface": report.interface,
        "mac": report.mac,
        "address": report.address,
        "seconds": report.seconds,
        "architectures": [_show_trace(boot_trace) for boot_trace in report.boot_traces],
        "faults": [_show_fault(fault) for fault in report.faults],
        "notes": [redact_tokens(note) for note in report.notes],
    }


def _show_trace(boot_trace: BootTrace) -> dict[str, Any]:
    boot = boot_trace.boot
    return {
        "number": boot_trace.architecture.number,
        "name": boot_trace.architecture.name,
        "outcome": boot_trace.outcome.value,
        "steps": [_show_stage(stage) for stage in boot_trace.stages],
        "boot": None
        if boot is None
        else {
            "kernel": redact_tokens(boot.kernel),
            "arguments": redact_tokens(boot.arguments),
            "initrds": [redact_tokens(each) for each in boot.initrds],
        },
        "notes": [redact_tokens(note) for note in boot_trace.notes],
    }


def _show_stage(stage: BootStage) -> dict[str, Any]:
    target = stage.choice.target
    return {
        "stage": stage.client.stage.value,
        "architecture": stage.client.architecture.number,
        "offers": [_show_offer(offer) for offer in stage.choice.offers],
        "asked": _show_asked(stage.choice),
        "takes": None
        if target is None
        else {
            "uri": redact_tokens(target.uri),
            "server": None if target.server is None else str(target.server),
            "said_by": str(target.by.server),
        },
        "loads": [
            {
                "role": file.role.value,
                "uri": file.fetched.shown,
                "state": file.fetched.state.value,
                "size": file.fetched.size,
                "contents": None if file.contents is None else file.contents.text,
                "detail": redact_tokens(file.fetched.detail),
            }
            for file in stage.files
        ],
        "end": None if stage.end is None else stage.end.value,
    }


def _show_asked(choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "server": str(question.server),
            "item": question.item,
            "answered": question.answer is not None,
            "siaddr": None if question.answer is None else str(question.answer.message.siaddr),
            "file": None if question.answer is None else _file(question.answer),
        }
        for question in choice.asked
    ]


def _show_offer(offer: Answer) -> dict[str, Any]:
    message = offer.message
    return {
        "server": str(offer.server),
        "source": str(offer.source),
        "kind": "proxy" if offer.is_proxy else "dhcp",
        "seconds": round(offer.seconds, 3),
        "address": None if message.yiaddr == NO_ADDRESS else str(message.yiaddr),
        "siaddr": None if message.siaddr == NO_ADDRESS else str(message.siaddr),
        "file": _file(offer),
        "option_66": message.tftp_server_name,
        "vendor_class": message.vendor_class.decode("utf-8", "backslashreplace") or None,
        "menu": [item.text for item in offer.option43.menu],
    }


def _file(answer: Answer) -> str | None:
    name = answer.message.boot_file
    return None if name is None else redact_tokens(name)


def _show_fault(fault: BootFault) -> dict[str, Any]:
    return {
        "code": fault.code.value,
        "severity": fault.severity.value,
        "architecture": None if fault.client is None else fault.client.architecture.number,
        "stage": None if fault.client is None else fault.client.stage.value,
        "message": redact_tokens(fault.message),
        "remedy": fault.advice,
    }
