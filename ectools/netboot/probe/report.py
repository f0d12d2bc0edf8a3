"""What a probe found, and its JSON.

``{format, interface, mac, address, seconds, architectures, faults, notes}``; the format is 1, and only grows:

- ``architectures``: ``{number, name, outcome, steps, boot, notes}``. ``outcome``: boots, not offered, stops,
  unknown. ``boot``: ``{kernel, arguments, initrds}`` or null.
- ``steps``, one a stage (firmware, http, ipxe): ``{stage, architecture, offers, asked, takes, loads, end}``.
  ``end``: how its script ends, or null.
- ``offers``: ``{server, source, kind, seconds, address, siaddr, file, option_66, vendor_class, menu}``.
  ``kind``: dhcp, proxy. ``asked``, on port 4011: ``{server, item, answered, siaddr, file}``.
- ``takes``: ``{uri, server, said_by}`` or null.
- ``loads``: ``{role, uri, state, size, contents, detail}``. ``state``: found, missing, refused, silent,
  unknown.
- ``faults``: ``{code, severity, architecture, stage, message, remedy}``. ``severity``: error, warning.
  ``architecture`` and ``stage`` say whom it stops, and are null where it is the network's.

A token in a URI is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.netboot.probe.faults import Severity
from ectools.netboot.probe.simulate.fetcher import hide_token
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS

if TYPE_CHECKING:
    from ectools.netboot.probe.diagnose.trace import Step, Walk
    from ectools.netboot.probe.faults import Fault
    from ectools.netboot.probe.simulate.choose import Choice
    from ectools.netboot.probe.wire.offers import Answer

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """``address`` is this host's on the interface, None where it has none; ``seconds`` the window."""

    interface: str
    mac: str
    address: str | None
    seconds: float
    walks: tuple[Walk, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether there is a fault that is more than a warning."""
        return any(fault.severity is Severity.ERROR for fault in self.faults)


def build_json(report: Report) -> dict[str, Any]:
    """The object that the module's text describes."""
    return {
        "format": FORMAT,
        "interface": report.interface,
        "mac": report.mac,
        "address": report.address,
        "seconds": report.seconds,
        "architectures": [_show_walk(walk) for walk in report.walks],
        "faults": [_show_fault(fault) for fault in report.faults],
        "notes": [hide_token(note) for note in report.notes],
    }


def _show_walk(walk: Walk) -> dict[str, Any]:
    boot = walk.boot
    return {
        "number": walk.architecture.number,
        "name": walk.architecture.name,
        "outcome": walk.outcome.value,
        "steps": [_show_step(step) for step in walk.steps],
        "boot": None
        if boot is None
        else {
            "kernel": hide_token(boot.kernel),
            "arguments": hide_token(boot.arguments),
            "initrds": [hide_token(each) for each in boot.initrds],
        },
        "notes": [hide_token(note) for note in walk.notes],
    }


def _show_step(step: Step) -> dict[str, Any]:
    target = step.choice.target
    return {
        "stage": step.client.stage.value,
        "architecture": step.client.architecture.number,
        "offers": [_show_offer(offer) for offer in step.choice.offers],
        "asked": _show_asked(step.choice),
        "takes": None
        if target is None
        else {
            "uri": hide_token(target.uri),
            "server": None if target.server is None else str(target.server),
            "said_by": str(target.by.server),
        },
        "loads": [
            {
                "role": load.role.value,
                "uri": load.fetched.shown,
                "state": load.fetched.state.value,
                "size": load.fetched.size,
                "contents": None if load.contents is None else load.contents.text,
                "detail": hide_token(load.fetched.detail),
            }
            for load in step.loads
        ],
        "end": None if step.end is None else step.end.value,
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
        "menu": [item.text for item in offer.vendor.menu],
    }


def _file(answer: Answer) -> str | None:
    name = answer.message.boot_file
    return None if name is None else hide_token(name)


def _show_fault(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code.value,
        "severity": fault.severity.value,
        "architecture": None if fault.client is None else fault.client.architecture.number,
        "stage": None if fault.client is None else fault.client.stage.value,
        "message": hide_token(fault.message),
        "remedy": fault.advice,
    }
