"""A publisher who signs releases, a boot server that may say anything, and follow.sh between them.

The programs are the real ones: bash, curl, openssl, minisign, ssh-keygen. In place of ``systemctl`` and
``kexec`` stand two that write down what they are told.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import platform
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.needs import require_tool

from ectools.archive.file_record import FileRecord
from ectools.netboot.depot.channel import ChannelPointer, seal_pointer
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.boot_statement import BootStatement
from ectools.netboot.release.manifest import BootEntry
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SUFFIXES, find_public_key, make_signature

SCRIPT = Path(__file__).parents[2] / "nix/modules/follow.sh"
SYSTEM = "ec-runner-x86_64-netboot"
TOKEN, NEXT_TOKEN = "a-token-of-the-boot-that-runs-000", "a-token-of-the-boot-that-comes-00"
STORE_PATH = "/nix/store/" + "r" * 32 + "-runs"
RUNS, NEXT = "sha256-" + "a" * 32, "sha256-" + "b" * 32
FORMS = (SignatureFormat.MINISIGN, SignatureFormat.OPENSSH, SignatureFormat.OPENSSL)

Answer = bytes | Callable[["socketserver.StreamRequestHandler"], None]
"""A body, or what writes the whole answer."""

_PROGRAM = '#!/bin/sh\nprintf "%s\\n" "$*" >> "{said}"\n{more}\n'


def require_node_programs() -> None:
    """What follow.sh calls, real here."""
    for tool in ("curl", "openssl", "minisign", "ssh-keygen"):
        require_tool(tool, f"install {tool}")


@dataclass
class Publisher:
    """A key of one of the formats, and what is signed by it."""

    form: SignatureFormat = SignatureFormat.OPENSSL

    def __post_init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        if self.form is SignatureFormat.MINISIGN:
            raw = key.private_bytes_raw() + key.public_key().public_bytes_raw()
            text = base64.b64encode(b"Ed\0\0B2" + bytes(48) + os.urandom(8) + raw + bytes(32))
            self.private = b"untrusted comment: minisign key\n" + text + b"\n"
        else:
            kind = PrivateFormat.OpenSSH if self.form is SignatureFormat.OPENSSH else PrivateFormat.PKCS8
            self.private = key.private_bytes(Encoding.PEM, kind, NoEncryption())
        self.public = find_public_key(self.form, self.private)

    def sign(self, data: bytes) -> bytes:
        return make_signature(self.form, data=data, private_key=self.private)

    def point(self, tag: str, **fields: object) -> bytes:
        """The pointer of the channel stable."""
        given = {"channel": "stable", "counter": 50, "tag": tag, "sums": "0" * 64, "moved_at": 1, **fields}
        return seal_pointer(ChannelPointer(**given), form=self.form, private_key=self.private)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Build:
    """A release: what a statement says of it, and its files."""

    id: str
    tag: str
    counter: int
    store_path: str
    system: str = SYSTEM
    architecture: str = field(default_factory=platform.machine)

    @property
    def kernel(self) -> bytes:
        return f"the kernel of {self.tag}".encode() * 1000

    @property
    def initrd(self) -> bytes:
        return f"the initrd of {self.tag}".encode() * 1001

    @property
    def arguments(self) -> tuple[str, ...]:
        return (f"init={self.store_path}/init", "loglevel=4")

    def state(self, arguments: tuple[str, ...] | None = None) -> bytes:
        """Its statement."""
        files = {"bzImage": self.kernel, "initrd": self.initrd}
        return BootStatement(
            system=self.system,
            architecture=KernelArchitecture(self.architecture),
            tag=self.tag,
            counter=self.counter,
            boot=BootEntry(kernel="bzImage", arguments=arguments or self.arguments, initrds=("initrd",)),
            files={
                name: FileRecord(size=len(data), sha256=hashlib.sha256(data).hexdigest())
                for name, data in files.items()
            },
        ).render()


@dataclass
class BootHost:
    """What a boot server says: path → answer. It begins as an honest one, that leads from RUNS to NEXT."""

    publisher: Publisher
    store_path: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    assignment: dict[str, str] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.now = Build(id=RUNS, tag="boot-v2026.03.02", counter=1772409600, store_path=self.store_path)
        self.then = Build(
            id=NEXT, tag="boot-v2026.03.09", counter=1773014400, store_path="/nix/store/" + "n" * 32 + "-next"
        )
        self.put(self.now)
        self.put(self.then)
        self.answers["/channels/stable"] = self.publisher.point(self.then.tag)
        self.assignment = {
            "node": "n",
            "group": "g",
            "slots": "",
            "state": "healthy",
            "boot": "network",
            "system": SYSTEM,
            "runs": RUNS,
            "release": NEXT,
        }

    def put(self, build: Build, *, at: str | None = None) -> None:
        """Let a release be served, signed."""
        base, statement = f"/releases/{at or build.id}", build.state()
        self.answers[f"{base}/bzImage"] = build.kernel
        self.answers[f"{base}/initrd"] = build.initrd
        self.state(statement, self.publisher.sign(statement), at=at or build.id)

    def state(self, statement: bytes, signature: bytes | None, *, at: str = NEXT) -> None:
        """Let this be a release's statement."""
        name = f"/releases/{at}/boot-statement.txt"
        self.answers[name] = statement
        suffix = SUFFIXES[self.publisher.form]
        self.answers.pop(name + suffix, None)
        if signature is not None:
            self.answers[name + suffix] = signature

    def list_next(self, *, takes: bool) -> bytes:
        """What there is to be started: as the files lie there, with their own hashes."""
        lines = [f"release {self.assignment['release']}", f"system {SYSTEM}"]
        for kind, name in (("kernel", "bzImage"), ("initrd", "initrd")):
            path = f"/releases/{self.assignment['release']}/{name}"
            body = self.answers[path]
            data = body if isinstance(body, bytes) else getattr(self.then, kind)
            lines.append(f"{kind} {hashlib.sha256(data).hexdigest()} {len(data)} {path}")
        lines += [f"argument {each}" for each in (*self.then.arguments, *self.extra)]
        if takes:
            lines.append("boot 1-n")
            lines.append(f"argument every_channel.report={self.url}/report?boot={NEXT_TOKEN}")
            lines.append(f"argument every_channel.release={self.assignment['release']}")
            lines.append("argument every_channel.healthy_within=600")
        return "".join(f"{line}\n" for line in (*lines, "end")).encode()

    def answer(self, handler: socketserver.StreamRequestHandler, target: str) -> None:
        path, query = urlsplit(target).path, urlsplit(target).query
        self.asked.append(path + ("?take" if "take=yes" in query else ""))
        found = self.answers.get(path)
        if found is None and path == "/assignment":
            found = "".join(f"{name}={value}\n" for name, value in self.assignment.items()).encode()
        if found is None and path == "/next":
            found = self.list_next(takes="take=yes" in query)
        if found is None and path == "/report":
            found = b""
        if callable(found):
            found(handler)
        elif found is None:
            send(handler, b"not found", status="404 Not Found")
        else:
            send(handler, found)


def send(
    handler: socketserver.StreamRequestHandler,
    body: bytes,
    *,
    status: str = "200 OK",
    fields: tuple[str, ...] = (),
    length: int | None = None,
) -> None:
    """An answer of HTTP; ``length`` is what it says that it has."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    head = "".join(f"{line}\r\n" for line in (*lines, "Connection: close", ""))
    handler.wfile.write(head.encode() + body)


@contextlib.contextmanager
def serve(host: BootHost) -> Iterator[BootHost]:
    """The boot server, on a free port of 127.0.0.1."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = self.rfile.readline(1 << 16).decode().split()
            length = 0
            while (line := self.rfile.readline(1 << 16)) not in (b"\r\n", b"\n", b""):
                name, _, value = line.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            self.rfile.read(length)
            with contextlib.suppress(OSError, IndexError):
                host.answer(self, request[1])

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            """Clients hang up as they like."""

    with Server(("127.0.0.1", 0), Handler) as listening:
        host.url = f"http://127.0.0.1:{listening.server_address[1]}"
        threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield host
        finally:
            listening.shutdown()


class RunningNode:
    """follow.sh as it runs. ``systemctl`` and ``kexec``: what these were told, a line a call."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _read(self, name: str) -> list[str]:
        path = self._directory / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def systemctl(self) -> list[str]:
        return self._read("systemctl-said")

    @property
    def kexec(self) -> list[str]:
        return self._read("kexec-said")

    @property
    def out(self) -> str:
        return (self._directory / "out").read_text()

    def loaded(self, name: str) -> bytes:
        """``kernel`` or ``initrd``, as kexec was given it."""
        return (self._directory / f"loaded-{name}").read_bytes()


@contextlib.contextmanager
def follow(
    directory: Path,
    host: BootHost,
    *words: str,
    token: str = TOKEN,
    from_disk: bool = False,
    **environment: str,
) -> Iterator[RunningNode]:
    """The script. ``words`` are further ones of the kernel's command line, ``token`` that of the boot.

    Booted ``from_disk``, the machine has these from disk-boot.sh, and keeps what it does in ``disk``.
    """
    directory.mkdir(exist_ok=True)
    state = directory / "state"
    if not os.path.lexists(state):
        state.mkdir(mode=0o700)
    keep = f'for file in kernel initrd; do cp "$(dirname "$5")/$file" "{directory}/loaded-$file"; done'
    for name, more in (("systemctl", ""), ("kexec", f'case "$*" in --load*) {keep};; esac')):
        (directory / name).write_text(_PROGRAM.format(said=directory / f"{name}-said", more=more))
        (directory / name).chmod(0o755)
    booted = directory / "booted-system"
    if not booted.is_symlink():
        booted.symlink_to(host.store_path)
    (directory / "key").write_bytes(host.publisher.public)
    said = " ".join(["quiet", f"every_channel.report={host.url}/report?boot={token}", *words])
    (directory / "cmdline").write_text("quiet\n" if from_disk else f"{said}\n")
    (directory / "arguments").write_text(f"{said}\n")
    (directory / "disk").mkdir(exist_ok=True)
    of_disk = {
        "FOLLOW_DISK_BOOT": str(directory / "arguments"),
        "FOLLOW_INSTALLED": str(SCRIPT.with_name("follow-installed.sh")),
        "FOLLOW_STATE": str(directory / "disk"),
        "FOLLOW_ESP": str(directory / "esp"),
        "FOLLOW_TRIES": "2",
        "FOLLOW_RUNNING": str(booted),
    }
    given = {
        "PATH": f"{directory}:{os.environ['PATH']}",
        "FOLLOW_SECONDS": "0.05",
        "FOLLOW_UNITS": "",
        "FOLLOW_KEXEC": "yes",
        "FOLLOW_REBOOT": "",
        "FOLLOW_SIGNATURE": host.publisher.form.value,
        "FOLLOW_KEYS": str(directory / "key"),
        "FOLLOW_CHANNEL": "stable",
        "FOLLOW_DIRECTORY": str(state),
        "FOLLOW_BOOTED": str(booted),
        **(of_disk if from_disk else {}),
        **environment,
    }
    bash = shutil.which("bash")
    assert bash is not None
    with (directory / "out").open("a") as out:
        process = subprocess.Popen(
            [bash, str(SCRIPT), str(directory / "cmdline")],
            env={**os.environ, **given},
            stdout=out,
            stderr=out,
            process_group=0,
        )
    try:
        yield RunningNode(directory)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
