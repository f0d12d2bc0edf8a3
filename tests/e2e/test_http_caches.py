"""nginx as a cache in front of a boot server: files of a release come from it once they were there, whole and
in ranges, also while the boot server is gone; scripts never do, and neither does what takes a token.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.boot_http import wait_until
from support.boot_service import (
    TOKEN,
    boot_service,
    choose_port,
    require_boot_services,
    stage,
    write_fleet_settings,
    write_tokens,
)
from support.needs import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAC = "02:00:00:00:00:01"
BIG = os.urandom(9 << 20) + b"the end"
CONFIG = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error; {user}
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  proxy_cache_path {directory}/cache keys_zone=releases:8m max_size=20g inactive=30d use_temp_path=off;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {upstream}; }}
    location /releases/ {{
      proxy_pass {upstream};
      proxy_cache releases;
      proxy_cache_key $uri$slice_range;
      slice 4m;
      proxy_set_header Range $slice_range;
      proxy_http_version 1.1;
      proxy_cache_lock on;
      proxy_cache_use_stale error timeout;
      add_header X-Cache $upstream_cache_status;
    }}
  }}
}}
"""


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


@contextlib.contextmanager
def start_nginx(directory: Path, upstream: str) -> Iterator[int]:
    nginx = require_tool("nginx", "install nginx (Debian: nginx-light)")
    directory.mkdir()
    port = choose_port("127.0.0.1")
    config = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONFIG.format(directory=directory, port=port, upstream=upstream, user=user))
    argv = [nginx, "-p", str(directory), "-c", str(config)]
    with (directory / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: can_connect(port), f"nginx is up: {(directory / 'log').read_text()}")
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


def test_a_rack_boots_from_its_cache_while_the_boot_server_is_gone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    release = stage(tmp_path / "state", {"bzImage": b"kernel", "initrd": BIG})
    nodes = {"nuc": {"match": {"mac": [MAC]}}}
    settings_file = write_fleet_settings(tmp_path, {"nodes": nodes})
    initrd = f"/releases/{release.id}/initrd"
    with boot_service(settings_file) as service:
        upstream = f"http://{service.address}:{service.port}"
        with start_nginx(tmp_path / "nginx", upstream) as port:
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
            assert (status, headers["x-cache"], body == BIG) == (200, "HIT", True)
            status, headers, body = get(port, initrd, {"Range": "bytes=5000000-9000000"})
            assert (status, body) == (206, BIG[5000000:9000001])
            assert headers["content-range"] == f"bytes 5000000-9000000/{len(BIG)}"
            status, _, body = get(port, initrd, {"Range": "bytes=-7"})
            assert (status, body) == (206, b"the end")
            assert get(port, script)[0] == 502
    assert second[2] != b""


def test_what_takes_a_token_is_in_no_cache(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    release = stage(tmp_path / "state", {"bzImage": b"kernel", "initrd": b"secret"})
    settings_file = write_fleet_settings(tmp_path, {})
    raw = json.loads(settings_file.read_text())
    raw |= {"chainTokenFile": str(write_tokens(tmp_path, TOKEN)), "protectedFiles": ["initrd"]}
    settings_file.write_text(json.dumps(raw))
    with (
        boot_service(settings_file) as service,
        start_nginx(tmp_path / "nginx", f"http://{service.address}:{service.port}") as port,
    ):
        path = f"/releases/{release.id}/initrd"
        status, headers, body = get(port, f"{path}?token={TOKEN}")
        assert (status, headers["cache-control"], body) == (200, "no-cache", b"secret")
        assert get(port, path)[0] == 403
