"""One architecture, from the first frame of its firmware to the kernel: what it loads, and what stops it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ectools.ipxe.language import join_uri
from ectools.netboot.boot_files.binary import Autoexec, inspect_binary
from ectools.netboot.probe.clients.client import Client, Stage, first_client, ipxe_client
from ectools.netboot.probe.diagnose.trace import Outcome, Step, Walk
from ectools.netboot.probe.faults import Code, Severity
from ectools.netboot.probe.simulate.choose import Ask, Choice, Target, choose_firmware, choose_http
from ectools.netboot.probe.simulate.choose_ipxe import choose_ipxe
from ectools.netboot.probe.simulate.contents import Kind, find_embedded_script
from ectools.netboot.probe.simulate.ipxe import run_script
from ectools.netboot.probe.simulate.ipxe_trace import End, Trace
from ectools.netboot.probe.simulate.requested_file import Load, Role, look_at
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS
from ectools.netboot.protocols import Binary

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.probe.simulate.fetcher import Fetch, FindDigest
    from ectools.netboot.probe.wire.offers import Answer
    from ectools.netboot.protocols import Architecture

_PROGRAM_BYTES = 4 * 1024 * 1024
"""An iPXE has about 1 MiB; only a whole one tells what it knows."""

AskClient = Callable[[Client, "IPv4Address", "int | None"], "Answer | None"]
"""(client, server, menu item) → the answer of port 4011."""


def follow(
    architecture: Architecture,
    offers: Mapping[Client, tuple[Answer, ...]],
    *,
    fetch: Fetch | None,
    ask: AskClient | None,
    mac: str,
    find_digest: FindDigest | None = None,
) -> Walk:
    """Go the whole way. Without ``fetch`` it ends where the first file would be asked for."""
    walker = _Walker(architecture, offers, fetch=fetch, ask=ask, mac=mac, find_digest=find_digest)
    walker.go()
    return walker.walk


class _Walker:
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
        self.walk = Walk(architecture=architecture)
        self._offers, self._fetch, self._ask, self._mac = offers, fetch, ask, mac
        self._find_digest = find_digest
        self._heard_by_ipxe: Choice | None = None

    def go(self) -> None:
        step = self._choose(first_client(self.walk.architecture))
        if step.choice.target is None:
            self._tell_nothing_offered(step)
            return
        if self._fetch is None:
            self.walk.outcome = Outcome.UNKNOWN
            return
        program = self._load_program(step, step.choice.target, self._fetch)
        if program is None:
            return
        if step.client.is_uefi:
            self._run_uefi_program(step, program, self._fetch)
        else:
            self._run_ipxe_stage(program, self._fetch, causes=())

    def _choose(self, client: Client) -> Step:
        offers = self._offers.get(client, ())
        ask = self._bind_ask(client)
        if client.stage is Stage.HTTP:
            choice = choose_http(client, offers)
        elif client.stage is Stage.IPXE:
            choice = choose_ipxe(client, offers, ask)
        else:
            choice = choose_firmware(client, offers, ask)
        step = Step(client=client, choice=choice)
        self.walk.steps.append(step)
        self.walk.faults += choice.faults
        self.walk.notes += choice.notes
        for each in offers:
            self.walk.notes += [f"{each.source} sent a malformed packet: {note}" for note in each.notes]
        return step

    def _bind_ask(self, client: Client) -> Ask | None:
        ask = self._ask
        return None if ask is None else lambda server, item: ask(client, server, item)

    def _tell_nothing_offered(self, step: Step) -> None:
        if step.choice.faults:
            return
        if any("was not asked" in note for note in step.choice.notes):
            self.walk.outcome = Outcome.UNKNOWN
            return
        self.walk.outcome = Outcome.NOT_OFFERED
        if any(not each.is_proxy for each in step.choice.offers):
            self.walk.add_fault(Code.NO_BOOT_ANSWER, "an address is offered, and nobody says what to boot")
        elif step.choice.offers:
            self.walk.add_fault(Code.NO_DHCP_ANSWER, "a proxy answers, and nobody offers an address")

    def _load_program(self, step: Step, target: Target, fetch: Fetch) -> Load | None:
        """The first program, whole where it is small; None where it is not there or does not run."""
        load = look_at(Role.PROGRAM, fetch(target.uri, limit=_PROGRAM_BYTES))
        step.loads.append(load)
        if not load.found or load.contents is None:
            self.walk.tell_missing(load)
            return None
        if not load.contents.runs_on(self.walk.architecture):
            self.walk.tell_wrong_architecture(load)
            return None
        return load

    def _run_uefi_program(self, step: Step, program: Load, fetch: Fetch) -> None:
        """iPXE for UEFI: its built-in script, else autoexec.ipxe, else what DHCP says."""
        if not program.fetched.whole:
            self.walk.notes.append(f"{program.fetched.shown} is too large to look into")
            self.walk.outcome = Outcome.UNKNOWN
            return
        facts = inspect_binary(program.fetched.head)
        if not facts.is_ipxe:
            self.walk.notes.append(
                f"{program.fetched.shown} is no iPXE: what it loads next is not known here"
            )
            self.walk.outcome = Outcome.UNKNOWN
            return
        embedded = find_embedded_script(program.fetched.head) if facts.embedded else None
        if embedded is not None:
            self.walk.notes.append(f"{program.fetched.shown} has a script built in, which comes first")
            self._run_script(step, embedded, program.fetched.uri, fetch)
            return
        autoexec = self._find_autoexec(step, program, fetch)
        reads_it = facts.autoexec is Autoexec.TFTP_AND_HTTP or (
            facts.autoexec is Autoexec.TFTP and step.client.stage is not Stage.HTTP
        )
        causes: list[tuple[Code, str]] = []
        if autoexec is None:
            causes.append((Code.NO_AUTOEXEC, f"there is no autoexec.ipxe beside {program.fetched.shown}"))
        elif reads_it:
            self._run_script(step, autoexec.fetched.head, autoexec.fetched.uri, fetch)
            return
        if not reads_it:
            how = "HTTP" if step.client.stage is Stage.HTTP else "TFTP"
            message = f"{program.fetched.shown} is {facts.title}, which fetches no autoexec.ipxe over {how}"
            causes.append((Code.OLD_IPXE, message))
        self._run_ipxe_stage(program, fetch, causes=tuple(causes))

    def _find_autoexec(self, step: Step, program: Load, fetch: Fetch) -> Load | None:
        """Beside the binary, else in the root, as iPXE looks for it (interface/efi/efi_autoexec.c)."""
        for name in ("autoexec.ipxe", "/autoexec.ipxe"):
            load = look_at(Role.SCRIPT, fetch(join_uri(program.fetched.uri, name)))
            if load not in step.loads and load.found:
                step.loads.append(load)
            # One of no length is not used.
            if load.found and load.contents is not None and load.contents.kind is not Kind.EMPTY:
                return load
        return None

    def _run_ipxe_stage(self, program: Load, fetch: Fetch, *, causes: tuple[tuple[Code, str], ...]) -> None:
        """iPXE asks DHCP. ``causes`` say why it has to; they are faults only where that leads nowhere."""
        step = self._choose(ipxe_client(self.walk.architecture))
        target = step.choice.target
        if target is None:
            for code, message in causes:
                self.walk.add_fault(code, message)
            if not step.choice.faults:
                self.walk.add_fault(Code.NO_BOOT_ANSWER, "nobody tells iPXE what to load next")
            return
        if target.uri == program.fetched.uri:
            self._tell_loop(program, causes)
            return
        load = look_at(Role.SCRIPT, fetch(target.uri))
        step.loads.append(load)
        if not load.found or load.contents is None:
            self.walk.tell_missing(load)
        elif load.contents.is_ipxe_script:
            self._run_script(step, load.fetched.head, load.fetched.uri, fetch)
        elif load.contents.kind in (Kind.UEFI, Kind.LINUX, Kind.OTHER):
            self._tell_other_program(load, program, causes)
        else:
            self.walk.tell_unreadable(load)

    def _tell_loop(self, program: Load, causes: tuple[tuple[Code, str], ...]) -> None:
        for code, message in causes:
            self.walk.add_fault(code, message)
        message = f"iPXE is given {program.fetched.shown} again, the file that it came from"
        severity = Severity.ERROR
        if self.walk.architecture.binary is Binary.BIOS:
            # It is compressed, so that a script in it cannot be seen.
            message += ", and loads itself for ever, unless a script is built into it"
            severity = Severity.WARNING
            self.walk.outcome = Outcome.UNKNOWN
        self.walk.add_fault(Code.LOOP, message, severity=severity)

    def _tell_other_program(self, load: Load, program: Load, causes: tuple[tuple[Code, str], ...]) -> None:
        if load.fetched.head[:4096] == program.fetched.head[:4096]:
            self._tell_loop(program, causes)
        elif load.contents is not None and load.contents.runs_on(self.walk.architecture):
            self.walk.notes.append(f"{load.fetched.shown} is no script: what it loads next is not known here")
            self.walk.outcome = Outcome.UNKNOWN
        else:
            self.walk.tell_wrong_architecture(load)

    def _run_script(self, step: Step, script: bytes, uri: str, fetch: Fetch) -> None:
        settings = self._build_settings(step, uri)
        end, trace = run_script(script, uri, settings=settings, fetch=fetch, find_digest=self._find_digest)
        step.loads += [load for load in trace.loads if load not in step.loads]
        step.end = end
        self.walk.notes += [note for note in trace.notes if note not in self.walk.notes]
        self.walk.boot = trace.boot
        booted = end is End.BOOT
        self.walk.outcome = Outcome.BOOTS if booted else Outcome.STOPS
        # With several mirrors, one that has the file is enough.
        severity = Severity.WARNING if booted else Severity.ERROR
        for load in trace.loads:
            if not load.found:
                self.walk.tell_missing(load, severity=severity)
            elif load.role is Role.SCRIPT and load.is_unreadable:
                self.walk.tell_unreadable(load)
        for wrong in trace.mismatches:
            message = f"{wrong.uri} has the SHA-256 {wrong.digest}; the script expects {wrong.expected}"
            self.walk.add_fault(Code.WRONG_SHA256, message, severity=severity)
        self._check_next_server(step, trace)
        if end is End.PROGRAM:
            self.walk.outcome = Outcome.UNKNOWN
        elif (
            not booted
            and not trace.mismatches
            and all(load.found and not load.is_unreadable for load in trace.loads)
        ):
            self._tell_end(end, uri)

    def _tell_end(self, end: End, uri: str) -> None:
        if end is End.MENU:
            self.walk.add_fault(Code.MENU, f"{uri}: the script {end}")
        elif end is End.LOCAL:
            self.walk.outcome = Outcome.UNKNOWN
        else:
            self.walk.add_fault(Code.NO_KERNEL_NAMED, f"{uri}: the script {end}, and boots no kernel")

    def _check_next_server(self, step: Step, trace: Trace) -> None:
        """``${next-server}`` is the DHCP server's where that sets it, however much a proxy says."""
        choice = self._settings_choice(step)
        proxy, lease = choice.proxy, choice.lease
        if not trace.used & {"next-server", "net0/next-server"} or proxy is None or lease is None:
            return
        if lease.message.siaddr not in (NO_ADDRESS, proxy.boot_server):
            self.walk.add_fault(
                Code.NEXT_SERVER_IS_ROUTER,
                f"the script uses ${{next-server}}, which the DHCP server sets to {lease.message.siaddr},"
                f" not to the boot server {proxy.boot_server}",
            )

    def _settings_choice(self, step: Step) -> Choice:
        """What iPXE's own DHCP would say: a script that a firmware's iPXE runs has asked for itself."""
        if step.client.stage is Stage.IPXE:
            return step.choice
        if self._heard_by_ipxe is None:
            client = ipxe_client(self.walk.architecture)
            self._heard_by_ipxe = choose_ipxe(client, self._offers.get(client, ()), self._bind_ask(client))
        return self._heard_by_ipxe

    def _build_settings(self, step: Step, uri: str) -> dict[str, str]:
        """iPXE's variables, as far as a network gives them (https://ipxe.org/cfg)."""
        choice = self._settings_choice(step)
        settings = {"mac": self._mac, "net0/mac": self._mac, "platform": "efi", "buildarch": "x86_64"}
        if self.walk.architecture.binary is Binary.BIOS:
            settings |= {"platform": "pcbios", "buildarch": "i386"}
        elif self.walk.architecture.binary is not Binary.X86_64:
            settings["buildarch"] = self.walk.architecture.binary.value
        settings |= {"cwuri": uri, "cwduri": uri.rpartition("/")[0] + "/", "uuid": "0" * 8}
        if choice.proxy is not None:
            settings |= _name_boot("proxydhcp/", choice.proxy) | _name_boot("", choice.proxy)
        if choice.lease is not None:
            lease = choice.lease.message
            address = {"ip": str(lease.yiaddr), "dhcp-server": str(choice.lease.server)}
            settings |= address | {f"net0/{name}": value for name, value in address.items()}
            settings |= _name_boot("", choice.lease) | _name_boot("net0/", choice.lease)
        return settings


def _name_boot(prefix: str, answer: Answer) -> dict[str, str]:
    found = {}
    if answer.message.siaddr != NO_ADDRESS:
        found[f"{prefix}next-server"] = str(answer.message.siaddr)
    if answer.message.boot_file:
        found[f"{prefix}filename"] = answer.message.boot_file
    return found
