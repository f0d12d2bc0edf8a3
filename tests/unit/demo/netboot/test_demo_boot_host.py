"""The boot host's settings and commands, and how its server comes up or does not."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ectools.demo.netboot import boot_host as boot_host_module
from ectools.demo.netboot.boot_host import DemoBootHost, hears_tftp, show_command
from ectools.demo.netboot.lab import Lab, LabError
from ectools.demo.payload import Payload
from ectools.netboot.settings.load import load_server_settings
from ectools.netboot.settings.model import IpxeFile, StockIpxe


@pytest.fixture
def host(tmp_path: Path) -> DemoBootHost:
    return DemoBootHost(tmp_path)


def test_the_settings_can_be_served(host: DemoBootHost) -> None:
    text = host.write_settings(None)
    assert (host.directory / "netboot.json").read_text() == f"{text}\n"
    settings = load_server_settings(host.directory / "netboot.json", environment={})
    assert (str(settings.listen_ip), settings.hostname, settings.interface) == (
        *("192.168.77.2", "192.168.77.2"),
        "lan0",
    )
    assert isinstance(settings.ipxe.x86_64, StockIpxe)
    host.write_settings(Path("/x/ipxe.efi"))
    settings = load_server_settings(host.directory / "netboot.json", environment={})
    assert settings.ipxe.x86_64 == IpxeFile(path=Path("/x/ipxe.efi"))


def test_the_commands_make_a_release_of_the_payload_current(host: DemoBootHost, tmp_path: Path) -> None:
    """By the real commands; only the boot binary is another one's matter."""
    for name in ("kernel", "initrd"):
        (tmp_path / name).write_bytes(name.encode())
    host.write_settings(None)
    host.lay_out_artifacts(Payload.load(tmp_path), mark="0123")
    pack, stage, ipxe = host.list_commands()
    assert "SHA256SUMS.txt" in host.run_command(pack)
    assert "current now" in host.run_command(stage)
    current = tmp_path / "state/current"
    assert "ec.mark=0123" in (current / "release.json").read_text()
    assert ipxe == ("netboot", "ipxe", "--config", "netboot.json")
    assert show_command(ipxe) == "ectools netboot ipxe --config netboot.json"


class Server:
    """Says that it is ready, or ends with a status, or does neither."""

    def __init__(self, *, ready: bool, status: int | None) -> None:
        self._ready, self._status = ready, status
        self.argv: list[str] = []
        self.killed = False
        self.pid = os.getpid()

    def launch(
        self, argv: list[str], *, stdout: Any, stderr: Any, cwd: Path, end_with_parent: bool
    ) -> Server:
        assert cwd.is_dir()
        assert end_with_parent
        self.argv = argv
        stderr.write(b"a port is taken\n")
        stdout.write(b'{"port": 8080}\n' if self._ready else b'{"po')
        return self

    def poll(self) -> int | None:
        return self._status

    def kill(self) -> None:
        self.killed = True


def start(
    monkeypatch: pytest.MonkeyPatch, host: DemoBootHost, server: Server, *, hears: Sequence[bool] = (True,)
) -> object:
    answers = iter(hears)
    monkeypatch.setattr(boot_host_module, "hears_tftp", lambda _pid: next(answers))
    monkeypatch.setattr(boot_host_module, "launch", server.launch)
    return host.start(Lab(host.directory, tag="t"), end_with_parent=True)


def test_a_server_is_there_when_it_says_so(monkeypatch: pytest.MonkeyPatch, host: DemoBootHost) -> None:
    server = Server(ready=True, status=None)
    # HTTP says so first, and TFTP is what the firmware asks for.
    assert start(monkeypatch, host, server, hears=(False, False, True)) is server
    assert server.argv == [
        *("nsenter", "--net=/run/netns/ec-boot-t", "--", sys.executable, "-m", "ectools.cli.main"),
        *("netboot", "serve", "--config", "netboot.json", "--json", "--log-format", "json"),
    ]
    assert json.loads((host.directory / "ready.json").read_text()) == {"port": 8080}


def test_tftp_is_heard_where_its_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        ports = SimpleNamespace(tftp=heard.getsockname()[1])
        monkeypatch.setattr(boot_host_module, "load_protocols", lambda: SimpleNamespace(ports=ports))
        assert hears_tftp(os.getpid())
    assert not hears_tftp(os.getpid())


@pytest.mark.parametrize(
    ("status", "seconds", "words"), [(2, 60.0, "exit status 2"), (None, 0.0, "it does not come up")]
)
def test_a_server_that_does_not_come_up_is_told_with_its_words(
    monkeypatch: pytest.MonkeyPatch, host: DemoBootHost, status: int | None, seconds: float, words: str
) -> None:
    monkeypatch.setattr(boot_host_module, "_COMMAND_SECONDS", seconds)
    server = Server(ready=False, status=status)
    with pytest.raises(LabError) as caught:
        start(monkeypatch, host, server)
    assert caught.value.message == f"ectools netboot serve --config netboot.json: {words}\na port is taken"
    assert server.killed
