"""A boot server with a fleet that is led: what its nodes ask for and say, and how its rollouts are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from support.boot_service import stage, write_fleet_settings

from ectools.netboot.release.pins import pin
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from pathlib import Path

    from support.boot_service import Service

    from ectools.netboot.release.manifest import Release

NODES = [f"node-{number}" for number in range(6)]


def rollout(sock: Path, *arguments: str, status: int = 0) -> Any:
    """What ``ectools rollout …`` prints as JSON, parsed; else its standard error."""
    argv = [sys.executable, "-m", "ectools.cli.main", "rollout", *arguments, "--socket", str(sock)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stderr


def prepare(directory: Path) -> tuple[Path, Release, Release]:
    """Settings of a fleet whose group names what it boots; that release, and the next."""
    state = directory / "state"
    state.mkdir()
    before, after = (
        stage(state, {"bzImage": f"kernel {number}".encode(), "initrd": b"initrd"}) for number in (1, 2)
    )
    pin(ReleaseStore(state), before.id)
    nodes = {name: {"group": "runners", "match": {"mac": [find_mac(name)]}} for name in NODES}
    fleet = {"groups": {"runners": {"release": before.id}}, "nodes": nodes}
    return write_fleet_settings(directory, fleet), before, after


def find_mac(node: str) -> str:
    return f"02:00:00:00:00:0{node[-1]}"


def boot_and_follow(service: Service, node: str, *, healthy: bool = True) -> tuple[str, str]:
    """The release that a node has booted and reported on, as its script has it do it; and the path at which
    it asks what it is to boot next.
    """
    release, token = ask_script(service, node)
    report(service, token, release, healthy=healthy)
    return release, f"/assignment?boot={token}"


def ask_script(service: Service, node: str) -> tuple[str, str]:
    """The release that a node's script names, and the token of the boot that it begins."""
    script = service.get(f"/netboot.ipxe?mac={find_mac(node)}&arch=x86_64").body.decode()
    release = re.search(r"/releases/(sha256-[0-9a-f]{32})/", script)
    token = re.search(r"every_channel\.report=\S*[?]boot=(\S+)", script)
    assert release is not None, script
    assert token is not None, script
    return release[1], token[1]


def report(service: Service, token: str, release: str, *, healthy: bool = True) -> None:
    """What a node says of its boot."""
    fields = {"stage": "up", "release": release, "healthy": "yes" if healthy else "no"}
    if not healthy:
        fields["failed"] = "a.service"
    body = urlencode(fields).encode()
    with service.connect() as client:
        head = (
            f"POST /report?boot={token} HTTP/1.1\r\nHost: boot\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        client.socket.sendall(head.encode() + body)
        assert client.read_response(method="POST").status == 200


def lock(service: Service, path: str, name: str) -> tuple[int, Any]:
    """What curl, which is as good a client as Zincati, is answered: the status, and the document."""
    url = f"http://{service.address}:{service.port}/v1/{path}"
    body = json.dumps({"client_params": {"id": name, "group": "runners"}})
    argv = ["curl", "--silent", "--header", "fleet-lock-protocol: true", "--data", body]
    argv += ["--write-out", "\n%{http_code}", url]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    text, _, status = out.rpartition("\n")
    return int(status), json.loads(text) if text.strip() else None
