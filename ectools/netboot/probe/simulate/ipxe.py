"""An interpreter of iPXE scripts without a machine: commands are gone through, files asked for.

A command that concerns the machine (``sleep``, a hash) is taken to succeed; ``||``, ``&&``,
``goto`` and variables are as in iPXE (https://ipxe.org/scripting, https://ipxe.org/cmd), so that mirrors,
retries and their ends are found as a client finds them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from ectools.ipxe.language import (
    LACKS_VARIABLE,
    SCRIPT_VARIABLE,
    UNBOOTED_VARIABLE,
    ScriptLine,
    find_labels,
    join_uri,
    name_image,
    read_lines,
    split_commands,
    split_options,
)
from ectools.netboot.probe.simulate.contents import ContentKind
from ectools.netboot.probe.simulate.ipxe_nic import SimulatedNic, name_nic
from ectools.netboot.probe.simulate.ipxe_trace import KernelBoot, Mismatch, ScriptEnd, ScriptTrace
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role, guess_role
from ectools.netboot.probe.simulate.resolve import parse_name_servers
from ectools.redact import redact_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.probe.simulate.fetcher import Fetch, FindDigest

_MAX_STEPS = 20_000
_MAX_DEPTH = 16
_MAX_VALUE = 4096
_ANY = "\0any\0"
"""A value that only a machine has: equal to whatever it is compared with."""


def run_script(
    script: bytes,
    uri: str,
    *,
    settings: Mapping[str, str],
    fetch: Fetch,
    find_digest: FindDigest | None = None,
) -> tuple[ScriptEnd, ScriptTrace]:
    """The end and the trace of the script that stands at ``uri``. ``settings``: iPXE's variables, by name.

    With ``find_digest``, what ``sha256sum`` compares is compared; else it is taken to be right.
    """
    machine = _Machine(settings, fetch, find_digest)
    try:
        end = machine.run(script, uri, depth=0)
    except _OutOfStepsError:
        end = ScriptEnd.ENDLESS
    return (ScriptEnd.DONE if end is None else end), machine.trace


class _OutOfStepsError(Exception):
    """A script took ``_MAX_STEPS`` lines and has not ended."""


@dataclass
class _Position:
    """A line of a script; ``labels`` are where ``goto`` leads."""

    uri: str
    lines: list[ScriptLine]
    labels: dict[str, int]
    at: int = 0
    depth: int = 0


@dataclass
class _Image:
    """A file that was loaded, and the command line that it was given."""

    file: RequestedFile
    headers: Mapping[str, str]
    arguments: str = ""


class _Machine:
    """iPXE's state: variables, images, what is selected to boot."""

    def __init__(self, settings: Mapping[str, str], fetch: Fetch, find_digest: FindDigest | None) -> None:
        self._settings = {**name_nic(settings.get("mac", _ANY)), **settings}
        self._nic = SimulatedNic()
        self._fetch, self._find_digest = fetch, find_digest
        self._digests: dict[str, str] = {}
        self._images: dict[str, _Image] = {}
        self._selected: _Image | None = None
        self._headers: dict[str, str] = {}
        self._steps = 0
        self.trace = ScriptTrace()

    def run(self, script: bytes, uri: str, *, depth: int) -> ScriptEnd | None:
        """How a script or one that it chained ended; None where it came to its end without a failure."""
        lines = list(read_lines(script.decode("utf-8", "replace")))
        here = _Position(uri=uri, lines=lines, labels=find_labels(lines), depth=depth)
        while here.at < len(lines):
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise _OutOfStepsError
            line = lines[here.at]
            here.at += 1
            outcome = False if line.is_unfinished else self._run_line(line.words, here)
            if isinstance(outcome, ScriptEnd):
                return outcome
            if outcome is _Jump.EXIT:
                return None
            if outcome in (False, _Jump.EXIT_FAILED):
                return ScriptEnd.FAILED
        return None

    def _run_line(self, words: Sequence[str], here: _Position) -> CommandOutcome:
        """The outcome of a line: commands joined by ||, && and ; run from left to right."""
        outcome: CommandOutcome = True
        for terminator, command in split_commands(words):
            if (terminator == "||" and outcome is True) or (terminator == "&&" and outcome is False):
                continue
            outcome = self._run_command(command, here)
            if not isinstance(outcome, bool):
                return outcome
        return outcome

    def _run_command(self, words: list[str], here: _Position) -> CommandOutcome:
        if not words:
            return True
        # A variable may be empty, and then no word is left; or hold blanks, and stays one word.
        expanded = [self._expand(word) for word in words]
        name, arguments = expanded[0], [word for word in expanded[1:] if word]
        handler = _COMMANDS.get(name)
        if handler is not None:
            return handler(self, arguments, here)
        if name not in _HARMLESS:
            self.trace.add_note(f"the command {name!r} is not known here, and taken to succeed")
        return True

    def _expand(self, text: str) -> str:
        for _ in range(32):
            found = SCRIPT_VARIABLE.search(text)
            if found is None:
                break
            text = text[: found.start()] + self._look_up(found[1]) + text[found.end() :]
        return text[:_MAX_VALUE]

    def _look_up(self, name: str) -> str:
        name, _, form = name.partition(":")
        name = self._nic.find_setting(name)
        self.trace.used.add(name)
        value = self._settings.get(name, "")
        if form in ("hexhyp", "hexraw") and value:
            return value.replace(":", "-" if form == "hexhyp" else "")
        return value

    # The commands, each by its words and the position; they return how it went.

    def configure(self, words: list[str], _here: _Position) -> CommandOutcome:
        return self._nic.configure(words)

    def ifclose(self, words: list[str], _here: _Position) -> CommandOutcome:
        return self._nic.close(words)

    def set(self, words: list[str], _here: _Position) -> CommandOutcome:
        if words:
            # A type may be named: set tries:int32 0.
            name, value = words[0].partition(":")[0], " ".join(words[1:])
            self._settings[name] = value
            if name == UNBOOTED_VARIABLE:
                return ScriptEnd.LOCAL if value == "disk" else ScriptEnd.HELD
            if name == LACKS_VARIABLE:
                self.trace.lacks = value
            if name.rpartition("/")[2] == "dns":
                self._fetch = functools.partial(self._fetch, names=parse_name_servers(value))
        return bool(words)

    def clear(self, words: list[str], _here: _Position) -> CommandOutcome:
        for word in words:
            self._settings.pop(word, None)
        return True

    def inc(self, words: list[str], _here: _Position) -> CommandOutcome:
        if not words:
            return False
        by = words[1] if len(words) > 1 else "1"
        try:
            value = int(self._settings.get(words[0]) or "0", 0) + int(by, 0)
        except ValueError:
            return False
        self._settings[words[0]] = str(value)[:32]
        return True

    def isset(self, words: list[str], _here: _Position) -> CommandOutcome:
        return bool(words)

    def iseq(self, words: list[str], _here: _Position) -> CommandOutcome:
        first, second = (*words, "", "")[:2]
        if first == second or _ANY in first or _ANY in second:
            return True
        uri = self._digests.get(first)
        mismatch = None if uri is None else Mismatch(uri=uri, digest=first, expected=second)
        if mismatch is not None and mismatch not in self.trace.mismatches:
            self.trace.mismatches.append(mismatch)
        return False

    def goto(self, words: list[str], here: _Position) -> CommandOutcome:
        if not words or words[0] not in here.labels:
            return False
        here.at = here.labels[words[0]]
        return _Jump.GOTO

    def exit(self, words: list[str], _here: _Position) -> CommandOutcome:
        return _Jump.EXIT if not words or words[0] == "0" else _Jump.EXIT_FAILED

    def hash(self, words: list[str], _here: _Position) -> CommandOutcome:
        options, rest = split_options(words)
        name = options.get("--set") or options.get("-s")
        if name:
            self._settings[name] = _ANY
        return bool(rest) and rest[0] in self._images

    def sha256(self, words: list[str], here: _Position) -> CommandOutcome:
        options, rest = split_options(words)
        image = self._images.get(rest[0]) if rest else None
        name = options.get("--set") or options.get("-s")
        if self._find_digest is None or image is None or not name:
            return self.hash(words, here)
        digest = self._find_digest(image.file.fetched.uri, image.headers)
        if digest is None:
            return self.hash(words, here)
        self._digests[digest] = image.file.fetched.uri
        self._settings[name] = digest
        return True

    def prompt(self, words: list[str], _here: _Position) -> CommandOutcome:
        # Nobody presses a key: with a time it runs out, without one it waits.
        options, _ = split_options(words)
        return False if "--timeout" in options or "-t" in options else ScriptEnd.MENU

    def choose(self, words: list[str], _here: _Position) -> CommandOutcome:
        options, rest = split_options(words)
        default = options.get("--default") or options.get("-d")
        timed = "--timeout" in options or "-t" in options
        if not (default and timed and rest):
            return ScriptEnd.MENU
        self.trace.add_note(f"a menu: after its time, {default!r} is taken")
        self._settings[rest[0]] = default
        return True

    def params(self, _words: list[str], _here: _Position) -> CommandOutcome:
        self._headers = {}
        return True

    def param(self, words: list[str], _here: _Position) -> CommandOutcome:
        options, rest = split_options(words)
        if ("--header" in options or "-H" in options) and len(rest) > 1:
            self._headers[rest[0]] = " ".join(rest[1:])
        return True

    def imgfree(self, words: list[str], _here: _Position) -> CommandOutcome:
        for name in words or list(self._images):
            self._images.pop(name, None)
        return True

    def imgargs(self, words: list[str], _here: _Position) -> CommandOutcome:
        if not words or words[0] not in self._images:
            return False
        self._images[words[0]].arguments = " ".join(words[1:])
        return True

    def kernel(self, words: list[str], here: _Position) -> CommandOutcome:
        image = self._acquire(Role.KERNEL, words, here)
        self._selected = image
        return image is not None

    def initrd(self, words: list[str], here: _Position) -> CommandOutcome:
        return self._acquire(Role.INITRD, words, here) is not None

    def imgfetch(self, words: list[str], here: _Position) -> CommandOutcome:
        return self._acquire(None, words, here) is not None

    def boot(self, words: list[str], here: _Position) -> CommandOutcome:
        image = self._acquire(Role.SCRIPT, words, here) if words else self._selected
        return image is not None and self._execute(image, here)

    def _execute(self, image: _Image, here: _Position) -> CommandOutcome:
        contents = image.file.contents
        if contents is None or image.file.is_unreadable or here.depth >= _MAX_DEPTH:
            return False
        if contents.kind is ContentKind.SCRIPT:
            fetched = image.file.fetched
            end = self.run(fetched.head, fetched.uri, depth=here.depth + 1)
            return (end is None) if end in (None, ScriptEnd.FAILED) else end
        if contents.kind is ContentKind.LINUX or image.file.role is Role.KERNEL:
            others = [each.file for each in self._images.values() if each is not image]
            initrds = [file.fetched.uri for file in others if file.role in (Role.INITRD, Role.FILE)]
            self.trace.boot = KernelBoot(
                kernel=image.file.fetched.uri, arguments=image.arguments, initrds=tuple(initrds)
            )
            return ScriptEnd.BOOT
        return ScriptEnd.PROGRAM

    def _acquire(self, role: Role | None, words: list[str], here: _Position) -> _Image | None:
        """The image that the words name, fetched where there is none of that name; None where it fails."""
        options, rest = split_options(words)
        if not rest:
            return None
        image = self._images.get(rest[0])
        if image is None:
            uri, _, parameters = rest[0].partition("##")
            uri = join_uri(here.uri, uri)
            if not self._nic.is_open:
                self.trace.add_note(f"{redact_tokens(uri)} is fetched while no NIC is open")
                return None
            headers = dict(self._headers) if parameters else {}
            fetched = self._fetch(uri, headers)
            file = RequestedFile(role=role or guess_role(uri), fetched=fetched)
            self.trace.add_file(file)
            if not file.found:
                return None
            image = _Image(file=file, headers=headers)
            name = options.get("--name") or options.get("-n") or name_image(uri)
            self._images[name] = image
        if len(rest) > 1:
            image.arguments = " ".join(rest[1:])
        return image


class _Jump(Enum):
    """What ends a line, whatever is joined to it: ``goto``, and ``exit`` with its status."""

    GOTO = auto()
    EXIT = auto()
    EXIT_FAILED = auto()


CommandOutcome = bool | ScriptEnd | _Jump
_Command = Callable[[_Machine, list[str], _Position], CommandOutcome]


def _end(end: ScriptEnd) -> _Command:
    return lambda _machine, _words, _here: end


_COMMANDS: dict[str, _Command] = {
    **dict.fromkeys(("boot", "chain", "imgexec"), _Machine.boot),
    **dict.fromkeys(("kernel", "imgselect", "imgload"), _Machine.kernel),
    **dict.fromkeys(("initrd", "module"), _Machine.initrd),
    **dict.fromkeys(("imgfetch", "imgget"), _Machine.imgfetch),
    **dict.fromkeys(("dhcp", "ifconf", "iflinkwait", "ifopen"), _Machine.configure),
    **dict.fromkeys(("sha512sum", "sha1sum", "md5sum"), _Machine.hash),
    **dict.fromkeys(("sanboot", "fcoe"), _end(ScriptEnd.LOCAL)),
    **dict.fromkeys(("reboot", "poweroff"), _end(ScriptEnd.REBOOT)),
    **dict.fromkeys(("login", "config"), _end(ScriptEnd.MENU)),
    "shell": _end(ScriptEnd.SHELL),
    "choose": _Machine.choose,
    "clear": _Machine.clear,
    "exit": _Machine.exit,
    "goto": _Machine.goto,
    "ifclose": _Machine.ifclose,
    "imgargs": _Machine.imgargs,
    "imgfree": _Machine.imgfree,
    "inc": _Machine.inc,
    "iseq": _Machine.iseq,
    "isset": _Machine.isset,
    "param": _Machine.param,
    "params": _Machine.params,
    "prompt": _Machine.prompt,
    "set": _Machine.set,
    "sha256sum": _Machine.sha256,
}
_HARMLESS = frozenset(
    {
        *("colour", "console", "cpair", "cpuid", "echo", "ifstat", "imgstat", "imgtrust", "imgverify"),
        *("item", "menu", "neighbour", "nslookup", "ntp", "route", "show", "sleep", "sync", "time"),
        *("vcreate", "vdestroy"),
    }
)
