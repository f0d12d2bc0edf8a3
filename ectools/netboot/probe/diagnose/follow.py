"""One architecture, from the first frame of its firmware to the kernel: what it loads, and what stops it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ectools.ipxe.language import join_uri
from ectools.netboot.boot_files.binary import Autoexec
from ectools.netboot.probe.clients.client import Client, ClientStage, first_client, ipxe_client
from ectools.netboot.probe.diagnose.second_stage import find_second_stage
from ectools.netboot.probe.diagnose.trace import BootOutcome, BootStage, BootTrace
from ectools.netboot.probe.diagnose.variables import build_variables
from ectools.netboot.probe.faults import FaultCode, Severity
from ectools.netboot.probe.simulate.choose import Ask, BootTarget, Choice, choose_firmware, choose_http
from ectools.netboot.probe.simulate.choose_ipxe import choose_ipxe
from ectools.netboot.probe.simulate.contents import ContentKind
from ectools.netboot.probe.simulate.fetcher import FetchState
from ectools.netboot.probe.simulate.ipxe import run_script
from ectools.netboot.probe.simulate.ipxe_trace import ScriptEnd, ScriptTrace
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role
from ectools.netboot.probe.simulate.resolve import find_name_servers
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS
from ectools.netboot.protocols import Binary

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.boot_files.shim import ShimFacts
    from ectools.netboot.probe.simulate.fetcher import Fetch, FindDigest
    from ectools.netboot.probe.wire.offers import Answer
    from ectools.netboot.protocols import Architecture

_PROGRAM_BYTES = 4 * 1024 * 1024
"""An iPXE has about 1 MiB; only a whole one tells what it knows."""
_MAX_PROGRAMS = 4
"""Of a chain of shims, which may go round in a circle."""

_RELAYED_PROXY = (
    "let the relay forward to the boot host too (a second helper address), and list the clients' network"
    " there (proxyDhcp.subnets); or let the DHCP server name the boot host and the file (Network Boot)"
)

AskClient = Callable[[Client, "IPv4Address", "int | None"], "Answer | None"]
"""(client, server, menu item) → the answer of port 4011."""


def follow_client(
    architecture: Architecture,
    offers: Mapping[Client, tuple[Answer, ...]],
    *,
    fetch: Fetch | None,
    ask: AskClient | None,
    mac: str,
    find_digest: FindDigest | None = None,
) -> BootTrace:
    """The trace of one architecture. Without ``fetch`` it ends where the first file would be asked for."""
    follower = _Follower(architecture, offers, fetch=fetch, ask=ask, mac=mac, find_digest=find_digest)
    follower.follow()
    return follower.boot_trace


class _Follower:
    def __init__(
        self,
        architecture: Architecture,
        offers: Mapping[Client, tuple[Answer, ...]],
        *,
        fetch: Fetch | None,
        ask: AskClient | None,
        mac: str,
        find_digest: FindDigest | None,
    ) -> None:
        self.boot_trace = BootTrace(architecture=architecture)
        self._offers, self._fetch, self._ask, self._mac = offers, fetch, ask, mac
        self._find_digest = find_digest
        self._ipxe_choice: Choice | None = None

    def follow(self) -> None:
        stage = self._choose(first_client(self.boot_trace.architecture))
        if stage.choice.target is None:
            self._add_nothing_offered(stage)
            return
        if self._fetch is None:
            self.boot_trace.outcome = BootOutcome.UNKNOWN
            return
        program = self._load_program(stage, stage.choice.target, self._fetch)
        if program is None:
            return
        if stage.client.is_uefi:
            self._run_uefi_program(stage, program, self._fetch)
        else:
            self._run_ipxe_stage(program, self._fetch, causes=())

    def _choose(self, client: Client) -> BootStage:
        offers = self._offers.get(client, ())
        ask = self._bind_ask(client)
        if client.stage is ClientStage.HTTP:
            choice = choose_http(client, offers)
        elif client.stage is ClientStage.IPXE:
            choice = choose_ipxe(client, offers, ask)
        else:
            choice = choose_firmware(client, offers, ask)
        stage = BootStage(client=client, choice=choice)
        self.boot_trace.stages.append(stage)
        self.boot_trace.faults += choice.faults
        self.boot_trace.notes += choice.notes
        for each in offers:
            self.boot_trace.notes += [f"{each.source} sent a malformed packet: {note}" for note in each.notes]
        return stage

    def _bind_ask(self, client: Client) -> Ask | None:
        ask = self._ask
        return None if ask is None else lambda server, item: ask(client, server, item)

    def _add_nothing_offered(self, stage: BootStage) -> None:
        if stage.choice.faults:
            return
        if any("was not asked" in note for note in stage.choice.notes):
            self.boot_trace.outcome = BootOutcome.UNKNOWN
            return
        self.boot_trace.outcome = BootOutcome.NOT_OFFERED
        if any(not each.is_proxy for each in stage.choice.offers):
            self._add_no_answer(stage, "an address is offered, and nobody says what to boot")
        elif stage.choice.offers:
            self.boot_trace.add_fault(
                FaultCode.NO_DHCP_ANSWER, "a proxy answers, and nobody offers an address"
            )

    def _add_no_answer(self, stage: BootStage, message: str) -> None:
        relay = stage.choice.relay
        if relay is not None:
            message += f"; the address comes through the DHCP relay {relay}"
        remedy = None if relay is None else _RELAYED_PROXY
        self.boot_trace.add_fault(FaultCode.NO_BOOT_ANSWER, message, remedy=remedy)

    def _load_program(self, stage: BootStage, target: BootTarget, fetch: Fetch) -> RequestedFile | None:
        """The first program, whole where it is small; None where it is not there or does not run."""
        file = self._fetch_program(stage, target.uri, fetch)
        if file.contents is None:
            self.boot_trace.add_missing(file)
            return None
        if not file.contents.runs_on(self.boot_trace.architecture):
            self.boot_trace.add_wrong_architecture(file)
            return None
        return file

    def _fetch_program(self, stage: BootStage, uri: str, fetch: Fetch) -> RequestedFile:
        names = find_name_servers(stage.choice.lease, stage.choice.proxy)
        fetched = fetch(uri, limit=_PROGRAM_BYTES, names=names)
        file = RequestedFile(role=Role.PROGRAM, fetched=fetched)
        stage.files.append(file)
        return file

    def _run_uefi_program(self, stage: BootStage, program: RequestedFile, fetch: Fetch) -> None:
        """iPXE for UEFI: its built-in script, else autoexec.ipxe, else what DHCP says."""
        if not program.fetched.whole:
            self.boot_trace.notes.append(f"{program.fetched.shown} is too large to look into")
            self.boot_trace.outcome = BootOutcome.UNKNOWN
            return
        facts = program.fetched.binary
        if facts.shim is not None:
            self._run_shim(stage, program, facts.shim, fetch)
            return
        if not facts.is_ipxe:
            self.boot_trace.notes.append(
                f"{program.fetched.shown} is no iPXE: what it loads next is not known here"
            )
            self.boot_trace.outcome = BootOutcome.UNKNOWN
            return
        if facts.embedded is not None:
            self.boot_trace.notes.append(f"{program.fetched.shown} has a script built in, which comes first")
            self._run_script(stage, facts.embedded, program.fetched.uri, fetch)
            return
        autoexec = self._find_autoexec(stage, program, fetch)
        reads_it = facts.autoexec is Autoexec.TFTP_AND_HTTP or (
            facts.autoexec is Autoexec.TFTP and stage.client.stage is not ClientStage.HTTP
        )
        causes: list[tuple[FaultCode, str]] = []
        if autoexec is None:
            causes.append(
                (FaultCode.NO_AUTOEXEC, f"there is no autoexec.ipxe beside {program.fetched.shown}")
            )
        elif reads_it:
            self._run_script(stage, autoexec.fetched.head, autoexec.fetched.uri, fetch)
            return
        if not reads_it:
            how = "HTTP" if stage.client.stage is ClientStage.HTTP else "TFTP"
            message = f"{program.fetched.shown} is {facts.title}, which fetches no autoexec.ipxe over {how}"
            causes.append((FaultCode.OLD_IPXE, message))
        self._run_ipxe_stage(program, fetch, causes=tuple(causes))

    def _run_shim(self, stage: BootStage, program: RequestedFile, shim: ShimFacts, fetch: Fetch) -> None:
        """A shim starts what stands beside it, by the same protocol; Secure Boot is not seen here."""
        shown = program.fetched.shown
        request = find_second_stage(program.fetched.uri, shim, stage.choice)
        if request is None or sum(file.role is Role.PROGRAM for file in stage.files) > _MAX_PROGRAMS:
            self.boot_trace.notes.append(f"{shown} is a shim: what it loads next is not known here")
            self.boot_trace.outcome = BootOutcome.UNKNOWN
            return
        file = self._fetch_program(stage, request.uri, fetch)
        if file.contents is None and file.fetched.state in (FetchState.MISSING, FetchState.REFUSED):
            message = (
                f"{shown} is a shim, which starts {file.fetched.shown}: {file.fetched.detail}{request.why}"
            )
            self.boot_trace.add_fault(FaultCode.SECOND_STAGE_MISSING, message)
        elif file.contents is None:
            self.boot_trace.add_missing(file)
        elif not file.contents.runs_on(self.boot_trace.architecture):
            self.boot_trace.add_wrong_architecture(file)
        else:
            self._run_uefi_program(stage, file, fetch)

    def _find_autoexec(self, stage: BootStage, program: RequestedFile, fetch: Fetch) -> RequestedFile | None:
        """Beside the binary, else in the root, as iPXE looks for it (interface/efi/efi_autoexec.c)."""
        names = find_name_servers(stage.choice.lease, stage.choice.proxy)
        for name in ("autoexec.ipxe", "/autoexec.ipxe"):
            fetched = fetch(join_uri(program.fetched.uri, name), names=names)
            file = RequestedFile(role=Role.SCRIPT, fetched=fetched)
            if file not in stage.files and file.found:
                stage.files.append(file)
            # One of no length is not used.
            if file.contents is not None and file.contents.kind is not ContentKind.EMPTY:
                return file
        return None

    def _run_ipxe_stage(
        self, program: RequestedFile, fetch: Fetch, *, causes: tuple[tuple[FaultCode, str], ...]
    ) -> None:
        """iPXE asks DHCP. ``causes`` say why it has to; they are faults only where that leads nowhere."""
        stage = self._choose(ipxe_client(self.boot_trace.architecture))
        target = stage.choice.target
        if target is None:
            for code, message in causes:
                self.boot_trace.add_fault(code, message)
            if not stage.choice.faults:
                self._add_no_answer(stage, "nobody tells iPXE what to load next")
            return
        if target.uri == program.fetched.uri:
            self._report_loop(program, causes)
            return
        names = find_name_servers(stage.choice.lease, stage.choice.proxy)
        file = RequestedFile(role=Role.SCRIPT, fetched=fetch(target.uri, names=names))
        stage.files.append(file)
        if file.contents is None:
            self.boot_trace.add_missing(file)
        elif file.contents.is_ipxe_script:
            self._run_script(stage, file.fetched.head, file.fetched.uri, fetch)
        elif file.contents.kind in (ContentKind.UEFI, ContentKind.LINUX, ContentKind.OTHER):
            self._add_other_program(file, program, causes)
        else:
            self.boot_trace.add_unreadable(file)

    def _report_loop(self, program: RequestedFile, causes: tuple[tuple[FaultCode, str], ...]) -> None:
        for code, message in causes:
            self.boot_trace.add_fault(code, message)
        message = f"iPXE is given {program.fetched.shown} again, the file that it came from"
        severity = Severity.ERROR
        if self.boot_trace.architecture.binary is Binary.BIOS:
            # It is compressed, so that a script in it cannot be seen.
            message += ", and loads itself for ever, unless a script is built into it"
            severity = Severity.WARNING
            self.boot_trace.outcome = BootOutcome.UNKNOWN
        self.boot_trace.add_fault(FaultCode.LOOP, message, severity=severity)

    def _add_other_program(
        self, file: RequestedFile, program: RequestedFile, causes: tuple[tuple[FaultCode, str], ...]
    ) -> None:
        if file.fetched.head[:4096] == program.fetched.head[:4096]:
            self._report_loop(program, causes)
        elif file.contents is not None and file.contents.runs_on(self.boot_trace.architecture):
            self.boot_trace.notes.append(
                f"{file.fetched.shown} is no script: what it loads next is not known here"
            )
            self.boot_trace.outcome = BootOutcome.UNKNOWN
        else:
            self.boot_trace.add_wrong_architecture(file)

    def _run_script(self, stage: BootStage, script: bytes, uri: str, fetch: Fetch) -> None:
        choice = self._settings_choice(stage)
        variables = build_variables(choice, self.boot_trace.architecture, mac=self._mac, uri=uri)
        names = find_name_servers(choice.lease, choice.proxy)
        end, trace = run_script(
            script,
            uri,
            settings=variables,
            fetch=functools.partial(fetch, names=names),
            find_digest=self._find_digest and functools.partial(self._find_digest, names=names),
        )
        stage.files += [file for file in trace.files if file not in stage.files]
        stage.end = end
        self.boot_trace.notes += [note for note in trace.notes if note not in self.boot_trace.notes]
        self.boot_trace.boot = trace.boot
        booted = end is ScriptEnd.BOOT and self.boot_trace.runs_kernel(trace.files)
        self.boot_trace.outcome = BootOutcome.BOOTS if booted else BootOutcome.STOPS
        # With several mirrors, one that has the file is enough.
        severity = Severity.WARNING if booted else Severity.ERROR
        for file in trace.files:
            if not file.found:
                self.boot_trace.add_missing(file, severity=severity)
            elif file.role is Role.SCRIPT and file.is_unreadable:
                self.boot_trace.add_unreadable(file)
        for wrong in trace.mismatches:
            message = f"{wrong.uri} has the SHA-256 {wrong.digest}; the script expects {wrong.expected}"
            self.boot_trace.add_fault(FaultCode.WRONG_SHA256, message, severity=severity)
        self._check_next_server(stage, trace)
        if trace.lacks is not None and not booted:
            self.boot_trace.add_fault(
                FaultCode.NO_SYSTEM, f"{uri}: the release that is served has no system for {trace.lacks}"
            )
        elif end is ScriptEnd.PROGRAM:
            self.boot_trace.outcome = BootOutcome.UNKNOWN
        elif (
            end is not ScriptEnd.BOOT
            and not trace.mismatches
            and all(file.found and not file.is_unreadable for file in trace.files)
        ):
            self._add_script_end(end, uri)

    def _add_script_end(self, end: ScriptEnd, uri: str) -> None:
        if end is ScriptEnd.MENU:
            self.boot_trace.add_fault(FaultCode.MENU, f"{uri}: the script {end}")
        elif end is ScriptEnd.HELD:
            self.boot_trace.add_fault(FaultCode.HELD, f"{uri}: the script {end}")
        elif end is ScriptEnd.LOCAL:
            self.boot_trace.outcome = BootOutcome.UNKNOWN
        else:
            self.boot_trace.add_fault(
                FaultCode.NO_KERNEL_NAMED, f"{uri}: the script {end}, and boots no kernel"
            )

    def _check_next_server(self, stage: BootStage, trace: ScriptTrace) -> None:
        """``${next-server}`` is the DHCP server's where that sets it, however much a proxy says."""
        choice = self._settings_choice(stage)
        proxy, lease = choice.proxy, choice.lease
        if not trace.used & {"next-server", "net0/next-server"} or proxy is None or lease is None:
            return
        if lease.message.siaddr not in (NO_ADDRESS, proxy.boot_server):
            self.boot_trace.add_fault(
                FaultCode.NEXT_SERVER_IS_ROUTER,
                f"the script uses ${{next-server}}, which the DHCP server sets to {lease.message.siaddr},"
                f" not to the boot server {proxy.boot_server}",
            )

    def _settings_choice(self, stage: BootStage) -> Choice:
        """What iPXE's own DHCP would say: a script that a firmware's iPXE runs has asked for itself."""
        if stage.client.stage is ClientStage.IPXE:
            return stage.choice
        if self._ipxe_choice is None:
            client = ipxe_client(self.boot_trace.architecture)
            self._ipxe_choice = choose_ipxe(client, self._offers.get(client, ()), self._bind_ask(client))
        return self._ipxe_choice
