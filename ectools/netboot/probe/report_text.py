"""The report for people: who answered, what each client would load, what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.probe.diagnose.trace import Outcome
from ectools.netboot.probe.faults import Severity
from ectools.netboot.probe.simulate.fetcher import State, hide_token
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS

if TYPE_CHECKING:
    from ectools.netboot.probe.diagnose.trace import Step, Walk
    from ectools.netboot.probe.faults import Fault
    from ectools.netboot.probe.report import Report
    from ectools.netboot.probe.simulate.requested_file import Load
    from ectools.netboot.probe.wire.offers import Answer

_BOLD, _RED, _GREEN, _YELLOW, _DIM = "1", "31", "32", "33", "2"
_OUTCOMES = {
    Outcome.BOOTS: _GREEN,
    Outcome.NOT_OFFERED: _DIM,
    Outcome.STOPS: _RED,
    Outcome.UNKNOWN: _YELLOW,
}
_STATES = {State.FOUND: _GREEN, State.UNKNOWN: _YELLOW}


class _Pen:
    """Colours, or none."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def show_report(report: Report, *, colour: bool) -> str:
    """The lines, without a newline at the end. What servers sent is escaped."""
    pen = _Pen(colour=colour)
    address = report.address or "no address"
    lines = [f"{report.interface} ({address}), as {report.mac}, {report.seconds:g} s for answers", ""]
    for walk in report.walks:
        lines += [*_show_walk(walk, pen), ""]
    for note in dict.fromkeys(report.notes):
        lines.append(f"note: {_clean(note)}")
    if report.notes:
        lines.append("")
    lines += _show_faults(report, pen)
    return "\n".join(lines)


def _show_walk(walk: Walk, pen: _Pen) -> list[str]:
    title = f"{walk.architecture.number:>2} {walk.architecture.name}"
    lines = [f"{pen.paint(title, _BOLD)}: {pen.paint(walk.outcome, _OUTCOMES[walk.outcome])}"]
    for step in walk.steps:
        lines += _show_step(step, pen)
    if walk.boot is not None:
        lines.append(f"     boots {_clean(walk.boot.kernel)} {_clean(walk.boot.arguments)}".rstrip())
    lines += [f"     note: {_clean(note)}" for note in dict.fromkeys(walk.notes)]
    return lines


def _show_step(step: Step, pen: _Pen) -> list[str]:
    lines = [f"  {step.client.stage}"]
    lines += [f"     {_show_offer(offer)}" for offer in step.choice.offers]
    if not step.choice.offers:
        lines.append("     no answer")
    for question in step.choice.asked:
        item = "" if question.item is None else f" for item {question.item}"
        said = pen.paint("no answer", _RED)
        if question.answer is not None:
            said = _show_boot(question.answer) or "an answer without a file"
        lines.append(f"     port 4011 of {question.server}{item}: {said}")
    lines += [f"     {_show_load(load, pen)}" for load in step.loads]
    if step.end is not None:
        lines.append(f"     the script {step.end}")
    return lines


def _show_offer(offer: Answer) -> str:
    message = offer.message
    who = f"{'proxy' if offer.is_proxy else 'DHCP'} {offer.server}"
    if offer.source != offer.server:
        who += f" (through {offer.source})"
    parts = [] if message.yiaddr == NO_ADDRESS else [f"offers {message.yiaddr}"]
    if message.vendor_class:
        parts.append(_clean(message.vendor_class.decode("utf-8", "backslashreplace")))
    if boot := _show_boot(offer):
        parts.append(boot)
    if message.tftp_server_name:
        parts.append(f"option 66 {_clean(message.tftp_server_name)}")
    if offer.vendor.menu:
        parts.append("menu: " + ", ".join(_clean(item.text) for item in offer.vendor.menu))
    return f"{who}: {', '.join(parts) or 'nothing'}"


def _show_boot(answer: Answer) -> str:
    message = answer.message
    parts = [] if message.siaddr == NO_ADDRESS else [f"siaddr {message.siaddr}"]
    if message.boot_file:
        parts.append(f"file {_clean(message.boot_file)}")
    return ", ".join(parts)


def _show_load(load: Load, pen: _Pen) -> str:
    fetched = load.fetched
    state = pen.paint(fetched.state, _STATES.get(fetched.state, _RED))
    parts = [] if load.contents is None else [load.contents.text]
    if fetched.size is not None:
        parts.append(f"{fetched.size} bytes")
    if fetched.detail:
        parts.append(_clean(fetched.detail))
    return f"{_clean(fetched.uri)}: {state}" + (f" ({', '.join(parts)})" if parts else "")


def _show_faults(report: Report, pen: _Pen) -> list[str]:
    if not report.faults:
        unseen = any(walk.outcome is Outcome.UNKNOWN for walk in report.walks)
        return [pen.paint(f"no fault found{' in what could be seen' if unseen else ''}", _GREEN)]
    # The same fault of several clients is told once, with whom it stops.
    groups: dict[tuple[str, str, str, str], list[Fault]] = {}
    for fault in sorted(report.faults, key=lambda each: each.severity is Severity.WARNING):
        groups.setdefault((fault.severity, fault.code, fault.message, fault.advice), []).append(fault)
    lines = []
    for (severity, code, message, advice), faults in groups.items():
        whom = ", ".join(dict.fromkeys(each.client.title for each in faults if each.client is not None))
        painted = pen.paint(severity, _RED if severity == Severity.ERROR else _YELLOW)
        lines.append(f"{painted} {pen.paint(code, _BOLD)}: {_clean(message)}")
        if whom:
            lines.append(f"  stops: {whom}")
        lines.append(f"  to do: {advice}")
    return lines


def _clean(text: str) -> str:
    """Printable, and without a token: a server's words must not steer the terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in hide_token(text))
