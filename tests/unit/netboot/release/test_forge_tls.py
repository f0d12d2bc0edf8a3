"""Staging from a forge over TLS, and through a proxy."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.fetching import DATA, fetch, reject
from support.forge import (
    API,
    Forge,
    redirect,
    start_forge,
    status,
)

from ectools.netboot.release.stage import StageOutcome

if TYPE_CHECKING:
    from pathlib import Path


def build_tls(tmp_path: Path, *, days: tuple[int, int] = (-1, 1)) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the certificate that it shows, good between two days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "forge")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, tmp_path / "key.pem")
    return context, path


@pytest.mark.parametrize("days", [(-9, -1), (1, 9)])
def test_a_certificate_of_another_time(
    days: tuple[int, int], staged_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = build_tls(tmp_path, days=days)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with start_forge(DATA, tls=context) as forge:
        assert "machine's clock" in reject(staged_dir, forge, "certificate verify failed").render()


def test_tls(staged_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, certificate = build_tls(tmp_path)
    with start_forge(DATA, tls=context) as forge, start_forge(DATA) as plain:
        error = reject(staged_dir, forge, "certificate verify failed")
        assert "certificate must be one that this machine trusts" in error.render()
        other = forge.url.replace("https", "http")
        reject(staged_dir, forge, "given up after 3 attempts", release_host=other)
        tls_to_plain = plain.url.replace("http", "https")
        assert "is this a port of TLS" in reject(staged_dir, forge, "SSL", release_host=tls_to_plain).render()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        answers = dict(forge.answers)
        forge.on_archive(redirect(f"{plain.url}/elsewhere"))
        reject(staged_dir, forge, "which is not encrypted: not followed")
        assert plain.seen == []
        forge.answers = dict(answers)
        forge.answers[f"{API}/latest"] = plain.answers[f"{API}/latest"]
        error = reject(staged_dir, forge, "is not encrypted, and 127.0.0.1 is asked over https: not fetched")
        assert "ROOT_URL" in error.render()
        assert plain.seen == []
        forge.answers = answers
        assert fetch(staged_dir, forge).outcome is StageOutcome.STAGED


@pytest.mark.usefixtures("no_proxies")
def test_through_a_proxy(forge: Forge, staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forge of the tests is the proxy too: it is asked for URLs of a host that nobody finds."""
    host = "http://forge.invalid"
    proxy = forge.url.replace("http://", "http://operator:p%40ss@")
    monkeypatch.setenv("http_proxy", proxy)
    reject(staged_dir, forge, r"forge.invalid/.*: not found", release_host=host)
    there = Forge(url=host, archive=forge.archive)
    there.publish()
    forge.answers = {host + path: answers for path, answers in there.answers.items()}
    assert fetch(staged_dir, forge, release_host=host).outcome is StageOutcome.STAGED
    _, headers = forge.seen[-1]
    assert headers["proxy-authorization"] == "Basic " + base64.b64encode(b"operator:p@ss").decode()
    forge.answers[f"{host}{API}/latest"] = [status(407)]
    assert "http_proxy" in reject(staged_dir, forge, "status 407", release_host=host).render()
    monkeypatch.setenv("http_proxy", "http://operator:p%40ss@127.0.0.1:1")
    error = reject(staged_dir, forge, r"through the proxy http://127\.0\.0\.1:1\)", release_host=host)
    assert "p%40ss" not in error.render()
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    reject(staged_dir, forge, "socks5", release_host=host)
