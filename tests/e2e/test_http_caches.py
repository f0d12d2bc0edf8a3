"""nginx and Varnish as caches in front of a boot server: files of a release come from them once they were
there, whole and in ranges, also while the boot server is gone; scripts never do, nor what takes a token.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_http import wait_until
from support.boot_service import (
    TOKEN,
    Service,
    boot_service,
    require_boot_services,
    stage,
    write_fleet_settings,
    write_tokens,
)
from support.free_port import choose_port
from support.needs import require_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MAC = "02:00:00:00:00:01"
BIG = os.urandom(9 << 20) + b"the end"
SCALING = Path(__file__).parents[2] / "docs/SCALING.md"
NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error; {user}
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  {configuration}
}}
"""


def read_configuration(language: str, replaced: Mapping[str, str]) -> str:
    """The document's, but for addresses and places."""
    found = re.search(rf"^```{language}\n(.*?)^```", SCALING.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    text = found[1]
    for before, after in replaced.items():
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


def build_nginx(directory: Path, upstream: str, port: int) -> Sequence[str]:
    nginx = require_tool("nginx", "install nginx (Debian: nginx-light)")
    places = {
        "/var/cache/nginx/boot": f"{directory}/cache",
        "listen 80": f"listen 127.0.0.1:{port}",
        "boot.example.org": upstream,
    }
    config = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = read_configuration("nginx", places)
    config.write_text(NGINX.format(directory=directory, user=user, configuration=configuration))
    return [nginx, "-p", str(directory), "-c", str(config)]


def build_varnish(directory: Path, upstream: str, port: int) -> Sequence[str]:
    varnish = require_tool("varnishd", "install varnish")
    host, _, its_port = upstream.rpartition(":")
    config = directory / "boot.vcl"
    config.write_text(read_configuration("vcl", {"boot.example.org": host, '"80"': f'"{its_port}"'}))
    storage = ["-s", f"file,{directory}/boot,64m"]
    return [
        varnish,
        "-F",
        "-j",
        "none",
        "-n",
        f"{directory}/work",
        "-a",
        f"127.0.0.1:{port}",
        *storage,
        "-f",
        str(config),
    ]


CACHES = [
    pytest.param(build_nginx, id="nginx"),
    # It compiles its configuration: a compiler comes with it.
    pytest.param(build_varnish, id="varnish", marks=pytest.mark.full),
]


@contextlib.contextmanager
def start_cache(
    build: Callable[[Path, str, int], Sequence[str]], directory: Path, service: Service
) -> Iterator[int]:
    """Its port. In front of the boot server."""
    directory.mkdir()
    port = choose_port()
    argv = build(directory, f"{service.address}:{service.port}", port)
    log = directory / "log"
    with log.open("wb") as stream, subprocess.Popen(argv, stdout=stream, stderr=stream) as process:
        try:
            wait_until(lambda: process.poll() is not None or can_connect(port), "the cache is up")
            assert process.poll() is None, log.read_text()
            yield port
        finally:
            process.terminate()


def can_connect(port: int) -> bool:
    with contextlib.suppress(OSError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
        return True
    return False


def get(
    port: int, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("cache", CACHES)
def test_a_rack_boots_from_its_cache_while_the_boot_server_is_gone(tmp_path: Path, cache: Any) -> None:
    (tmp_path / "state").mkdir()
    release = stage(tmp_path / "state", {"bzImage": b"kernel", "initrd": BIG})
    nodes = {"nuc": {"match": {"mac": [MAC]}}}
    settings_file = write_fleet_settings(tmp_path, {"nodes": nodes})
    initrd = f"/releases/{release.id}/initrd"
    with boot_service(settings_file) as service:
        with start_cache(cache, tmp_path / "cache", service) as port:
            script = f"/netboot.ipxe?mac={MAC}&arch=x86_64"
            first, second = (get(port, script) for _ in range(2))
            assert first[1]["cache-control"] == "no-store"
            assert b"every_channel.report=" in first[2]
            assert get(port, "/netboot.ipxe")[1]["cache-control"] == "no-cache"
            # Which boot asks makes no difference to what is kept.
            status, headers, body = get(port, f"{initrd}?boot=one")
            assert (status, headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
            assert hashlib.sha256(body).digest() == hashlib.sha256(BIG).digest()
            assert get(port, f"/releases/{release.id}/nothing")[1]["cache-control"] == "no-cache"
            service.process.terminate()
            service.process.wait()
            status, headers, body = get(port, f"{initrd}?boot=two")
            assert (status, body == BIG) == (200, True)
            status, headers, body = get(port, initrd, {"Range": "bytes=5000000-9000000"})
            assert (status, body) == (206, BIG[5000000:9000001])
            assert headers["content-range"] == f"bytes 5000000-9000000/{len(BIG)}"
            status, _, body = get(port, initrd, {"Range": "bytes=-7"})
            assert (status, body) == (206, b"the end")
            assert get(port, script)[0] in (502, 503)
    assert second[2] != b""


@pytest.mark.parametrize("cache", CACHES)
def test_what_takes_a_token_is_in_no_cache(tmp_path: Path, cache: Any) -> None:
    (tmp_path / "state").mkdir()
    release = stage(tmp_path / "state", {"bzImage": b"kernel", "initrd": b"secret"})
    settings_file = write_fleet_settings(tmp_path, {})
    raw = json.loads(settings_file.read_text())
    raw |= {"chainTokenFile": str(write_tokens(tmp_path, TOKEN)), "protectedFiles": ["initrd"]}
    settings_file.write_text(json.dumps(raw))
    with (
        boot_service(settings_file) as service,
        start_cache(cache, tmp_path / "cache", service) as port,
    ):
        path = f"/releases/{release.id}/initrd"
        status, headers, body = get(port, f"{path}?token={TOKEN}")
        assert (status, headers["cache-control"], body) == (200, "no-cache", b"secret")
        assert get(port, path)[0] == 403
