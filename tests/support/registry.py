"""Debian's docker-registry, for the tests of one module: without logins, with a password, or with tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from support.free_port import choose_port
from support.needs import give_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START_SECONDS = 60
USER, PASSWORD = "publisher", "not-a-secret"
# bcrypt of it, with the least rounds.
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuVPNOToLP9MHdthRCXkVoiIF0qNKnk2G\n"


@dataclass(frozen=True)
class Registry:
    """A registry; ``host`` is its name and port, ``directory`` where its data are."""

    host: str
    directory: Path

    def address(self, name: str) -> str:
        """Of a repository, for ``--to`` and ``release.source``."""
        return f"oci+http://{self.host}/{name}"


def write_login(path: Path, host: str, *, user: str = USER, password: str = PASSWORD) -> Path:
    """A login in a file, as docker and podman write it."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def start_registry(directory: Path, *, auth: dict[str, Any] | None = None) -> Iterator[Registry]:
    """A registry below an empty directory, for the length of the block."""
    program = shutil.which("docker-registry")
    if program is None:
        give_up("docker-registry is not on PATH; Debian: apt install docker-registry")
    host = f"127.0.0.1:{choose_port()}"
    config = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}, "level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": host},
        **({} if auth is None else {"auth": auth}),
    }
    path = directory / "config.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(path)], stdout=log, stderr=log, cwd=directory)
        try:
            _await_answer(host, process, directory / "log")
            yield Registry(host=host, directory=directory)
        finally:
            process.kill()
            process.wait()


def _await_answer(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            if urllib3.request("GET", f"http://{host}/v2/", retries=False).status in (200, 401):
                return
        time.sleep(0.05)
    raise AssertionError(f"docker-registry is not up: {log.read_text()[-2000:]}")


def password_auth(directory: Path) -> dict[str, Any]:
    """For ``start_registry``: who knows PASSWORD."""
    path = directory / "htpasswd"
    path.write_text(_HTPASSWD)
    return {"htpasswd": {"realm": "test", "path": str(path)}}


@dataclass
class TokenService:
    """Who gives out tokens for a registry. ``asked`` are the scopes; ``refused``: how many it gives out that
    the registry takes no more.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    refused: int = 0


@contextlib.contextmanager
def start_token_service(directory: Path) -> Iterator[tuple[TokenService, dict[str, Any]]]:
    """A service of tokens, and what ``start_registry`` is told of it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    bundle = directory / "tokens.pem"
    bundle.write_bytes(certificate.public_bytes(Encoding.PEM))
    service = TokenService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            scope = query.get("scope", [""])[0]
            service.asked.append(scope)
            login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {login}":
                self.send_response(401)
                self.end_headers()
                return
            service.refused, is_old = max(0, service.refused - 1), service.refused > 0
            token = _sign_token(key, certificate, scope, is_old=is_old)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"token": token}).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}/token"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    auth = {"realm": service.url, "service": "test", "issuer": "test", "rootcertbundle": str(bundle)}
    try:
        yield service, {"token": auth}
    finally:
        server.shutdown()
        server.server_close()


def _sign_token(key: rsa.RSAPrivateKey, certificate: x509.Certificate, scope: str, *, is_old: bool) -> str:
    """A token as the registry wants it (Docker Registry v2 Bearer token specification)."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    access = [{"type": kind, "name": name, "actions": actions.split(",")}] if scope else []
    now = int(time.time()) - (86400 if is_old else 0)
    claims = {
        "iss": "test",
        "aud": "test",
        "sub": USER,
        "jti": "1",
        "access": access,
        "iat": now,
        "nbf": now - 60,
        "exp": now + 600,
    }
    chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
    head = {"typ": "JWT", "alg": "RS256", "x5c": chain}
    text = b".".join(_encode(json.dumps(part).encode()) for part in (head, claims))
    return (text + b"." + _encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256()))).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
