"""The probe's report as text: who answered, what each client would load, what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.probe.diagnose.trace import BootOutcome
from ectools.netboot.probe.faults import Severity
from ectools.netboot.probe.simulate.fetcher import FetchState
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS
from ectools.redact import redact_tokens

if TYPE_CHECKING:
    from ectools.netboot.probe.diagnose.trace import BootStage, BootTrace
    from ectools.netboot.probe.faults import BootFault
    from ectools.netboot.probe.report import ProbeReport
    from ectools.netboot.probe.simulate.requested_file import RequestedFile
    from ectools.netboot.probe.wire.offers import Answer

_BOLD, _RED, _GREEN, _YELLOW, _DIM = "1", "31", "32", "33", "2"
_OUTCOMES = {
    BootOutcome.BOOTS: _GREEN,
    BootOutcome.NOT_OFFERED: _DIM,
    BootOutcome.STOPS: _RED,
    BootOutcome.UNKNOWN: _YELLOW,
}
_STATES = {FetchState.FOUND: _GREEN, FetchState.UNKNOWN: _YELLOW}


class _Pen:
    """SGR colours of ECMA-48, or none."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def show_report(report: ProbeReport, *, colour: bool) -> str:
    """The report's lines, without a newline at the end. What servers sent is escaped."""
    pen = _Pen(colour=colour)
    address = report.address or "no address"
    lines = [f"{report.interface} ({address}), as {report.mac}, {report.seconds:g} s for answers", ""]
    for boot_trace in report.boot_traces:
        lines += [*_show_trace(boot_trace, pen), ""]
    for note in dict.fromkeys(report.notes):
        lines.append(f"note: {_clean(note)}")
    if report.notes:
        lines.append("")
    lines += _show_faults(report, pen)
    return "\n".join(lines)


def _show_trace(boot_trace: BootTrace, pen: _Pen) -> list[str]:
    title = f"{boot_trace.architecture.number:>2} {boot_trace.architecture.name}"
    lines = [f"{pen.paint(title, _BOLD)}: {pen.paint(boot_trace.outcome, _OUTCOMES[boot_trace.outcome])}"]
    for stage in boot_trace.stages:
        lines += _show_stage(stage, pen)
    if boot_trace.boot is not None:
        lines.append(
            f"     boots {_clean(boot_trace.boot.kernel)} {_clean(boot_trace.boot.arguments)}".rstrip()
        )
    lines += [f"     note: {_clean(note)}" for note in dict.fromkeys(boot_trace.notes)]
    return lines


def _show_stage(stage: BootStage, pen: _Pen) -> list[str]:
    lines = [f"  {stage.client.stage}"]
    lines += [f"     {_show_offer(offer)}" for offer in stage.choice.offers]
    if not stage.choice.offers:
        lines.append("     no answer")
    for question in stage.choice.asked:
        item = "" if question.item is None else f" for item {question.item}"
        said = pen.paint("no answer", _RED)
        if question.answer is not None:
            said = _show_boot(question.answer) or "an answer without a file"
        lines.append(f"     port 4011 of {question.server}{item}: {said}")
    lines += [f"     {_show_file(file, pen)}" for file in stage.files]
    if stage.end is not None:
        lines.append(f"     the script {stage.end}")
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
    if offer.option43.menu:
        parts.append("menu: " + ", ".join(_clean(item.text) for item in offer.option43.menu))
    return f"{who}: {', '.join(parts) or 'nothing'}"


def _show_boot(answer: Answer) -> str:
    message = answer.message
    parts = [] if message.siaddr == NO_ADDRESS else [f"siaddr {message.siaddr}"]
    if message.boot_file:
        parts.append(f"file {_clean(message.boot_file)}")
    return ", ".join(parts)


def _show_file(file: RequestedFile, pen: _Pen) -> str:
    fetched = file.fetched
    state = pen.paint(fetched.state, _STATES.get(fetched.state, _RED))
    parts = [] if file.contents is None else [file.contents.text]
    if fetched.size is not None:
        parts.append(f"{fetched.size} bytes")
    if fetched.detail:
        parts.append(_clean(fetched.detail))
    return f"{_clean(fetched.uri)}: {state}" + (f" ({', '.join(parts)})" if parts else "")


def _show_faults(report: ProbeReport, pen: _Pen) -> list[str]:
    if not report.faults:
        unseen = any(boot_trace.outcome is BootOutcome.UNKNOWN for boot_trace in report.boot_traces)
        return [pen.paint(f"no fault found{' in what could be seen' if unseen else ''}", _GREEN)]
    # The same fault of several clients is one entry, with whom it stops.
    groups: dict[tuple[str, str, str, str], list[BootFault]] = {}
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
    """``text`` without a token, and with escapes for what is not printable: it goes to a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in redact_tokens(text))
