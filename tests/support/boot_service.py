"""``ectools netboot serve`` as a process, on a loopback address of its own, and what it serves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.boot_http import DEADLINE_SECONDS, Client, Response, Server, wait_until
from support.free_port import choose_port
from support.needs import require_root, require_tool
from support.staged import make_release, put_release

from ectools.netboot.release.publish import make_current
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ectools.netboot.release.manifest import Release

TOKEN, NEXT_TOKEN, SECRET = "f00d-token-one", "f00d-token-two", b"nobody is to see this"


@dataclass
class Service(Server):
    """A running boot server. ``settings_file`` and ``state_dir`` are its own."""

    address: str
    settings_file: Path
    state_dir: Path

    def connect(self, *, receive_buffer: int | None = None, source: str | None = None) -> Client:
        return Client(self.port, receive_buffer=receive_buffer, address=self.address, source=source)

    def events(self, words: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if words in line["event"]]

    def wait_for_event(self, words: str, *, count: int = 1) -> dict[str, Any]:
        wait_until(lambda: len(self.events(words)) >= count, f"{count} times {words!r} in the log")
        return self.events(words)[-1]

    def watch(self, path: str) -> Response:
        """The answer of the listener for those who watch the server."""
        listen = json.loads(self.settings_file.read_text())["fleet"]["listen"]
        address, _, port = listen.rpartition(":")
        with Client(int(port), address=address) as client:
            return client.request(path, {"Connection": "close"})

    def health(self) -> dict[str, Any]:
        body = json.loads(self.get("/healthz").body)
        assert isinstance(body, dict)
        return body

    def change(self, **options: Any) -> None:
        """Other settings, not yet read again."""
        raw = json.loads(self.settings_file.read_text())
        self.settings_file.write_text(json.dumps({**raw, **options}))

    def reload(self) -> None:
        """SIGHUP, and the end of what it causes."""
        words = ("have been read again", "the old ones stay in force")
        before = sum(len(self.events(each)) for each in words)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: sum(len(self.events(each)) for each in words) > before, "the reload is done")

    def find_dnsmasq(self) -> int:
        """dnsmasq's process."""
        pid = self._dnsmasq_starts()[-1]["pid"]
        assert isinstance(pid, int)
        return pid

    def wait_for_dnsmasq(self, count: int) -> None:
        """Until dnsmasq has been started so many times, and serves."""
        wait_until(lambda: len(self._dnsmasq_starts()) >= count, f"dnsmasq has started {count} times")

    def _dnsmasq_starts(self) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == "dnsmasq serves"]


def require_boot_services() -> None:
    """What dnsmasq takes to serve TFTP."""
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    require_root("firmware's TFTP port is 69")
    require_tool("setpriv", "install util-linux")


def choose_address() -> str:
    """A loopback address that is nobody else's: the port of TFTP is the same for all."""
    for _ in range(100):
        address = "127." + ".".join(str(1 + byte % 254) for byte in os.urandom(3))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            with contextlib.suppress(OSError):
                probe.bind((address, 69))
                return address
    raise AssertionError("no loopback address has a free port 69")


def make_state_dir(directory: Path) -> Path:
    """A state directory below ``directory``, with boot files as ``ectools netboot ipxe`` puts them there."""
    tftp = directory / "state" / "tftp"
    tftp.mkdir(parents=True)
    (tftp / "ec-ipxe.efi").write_bytes(b"a boot binary")
    (tftp / "autoexec.ipxe").write_bytes(b"#!ipxe\n")
    return tftp.parent


def stage(state_dir: Path, files: Mapping[str, bytes]) -> Release:
    """A release of these files, made current as staging does it."""
    release = make_release(files)
    store = ReleaseStore(state_dir)
    current = store.find_link_id("current")
    with store.lock():
        (state_dir / ".staging").mkdir(exist_ok=True)
        if current is None:
            put_release(state_dir, release, files)
        else:
            put_release(state_dir / ".staging" / "made", release, files)
            made = state_dir / ".staging" / "made" / "releases" / release.id
            made.rename(state_dir / "releases" / release.id)
            make_current(store, release.id)
    return release


def write_settings(directory: Path, **options: Any) -> Path:
    """A settings file for a loopback address of its own."""
    address = choose_address()
    raw = {
        "listenIP": address,
        "hostname": address,
        "httpPort": choose_port(address),
        "stateDir": str(directory / "state"),
        # A port of its own, as each of these servers needs one.
        "fleet": {"listen": f"{address}:{choose_port(address)}"},
        **options,
    }
    path = directory / "netboot.json"
    path.write_text(json.dumps(raw))
    return path


def write_fleet_settings(directory: Path, fleet: Mapping[str, Any], *, token: str | None = None) -> Path:
    """``write_settings`` with a fleet and a boot binary; ``token`` is what changes something over HTTP."""
    tftp = directory / "state" / "tftp"
    tftp.mkdir(parents=True, exist_ok=True)
    (tftp / "ec-ipxe.efi").write_bytes(b"a boot binary")
    path = write_settings(directory)
    raw = json.loads(path.read_text())
    raw["fleet"] |= fleet
    if token is not None:
        (directory / "token").write_text(token)
        raw["fleet"]["accessTokenFile"] = str(directory / "token")
    path.write_text(json.dumps(raw))
    return path


def write_tokens(directory: Path, *tokens: str) -> Path:
    path = directory / "chain-token"
    path.write_text("".join(f"{token}\n" for token in tokens))
    path.chmod(0o600)
    return path


def build_argv(settings_file: Path, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "ectools.cli.main", "netboot", "serve"),
        *("--config", str(settings_file), *arguments),
    ]


@contextlib.contextmanager
def boot_service(
    settings_file: Path,
    *,
    wrapper: Sequence[str] = (),
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """``ectools netboot serve``, ready; asked to stop at the block's end, and killed where it does not."""
    raw = json.loads(settings_file.read_text())
    log_file = settings_file.with_suffix(".log")
    argv = [*wrapper, *build_argv(settings_file, "--json", "--log-format", "json", *arguments)]
    with (
        log_file.open("w") as log,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(env or {})}
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log_file.read_text()
            ready = json.loads(line)
            yield Service(
                process,
                ready["port"],
                log_file,
                address=raw["listenIP"],
                settings_file=settings_file,
                state_dir=Path(raw["stateDir"]),
            )
        finally:
            # Twice: the second one drops the downloads that a failed test has left.
            for _ in range(2):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(DEADLINE_SECONDS)
            finally:
                process.kill()
