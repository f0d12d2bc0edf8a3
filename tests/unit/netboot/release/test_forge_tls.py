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
from support.forge import API, DOWNLOADS, Forge, body, redirect, start_forge, status

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


def test_a_private_ca(staged_dir: Path, tmp_path: Path) -> None:
    context, certificate = build_tls(tmp_path)
    with start_forge(DATA, tls=context) as forge:
        assert "release.caFile names a private CA's" in reject(staged_dir, forge, "verify failed").render()
        missing = str(tmp_path / "none.pem")
        reject(staged_dir, forge, "release.caFile: .*none.pem: cannot be read", release_caFile=missing)
        done = fetch(staged_dir, forge, release_caFile=str(certificate))
        assert done.outcome is StageOutcome.STAGED


def test_a_forge_that_names_another_host(staged_dir: Path) -> None:
    """Forgejo makes the addresses of a release's files of its ROOT_URL."""
    with start_forge(DATA) as gone:
        pass
    with start_forge(DATA) as forge:
        forge.answers[f"{API}/latest"] = gone.answers[f"{API}/latest"]
        error = reject(staged_dir, forge, "given up after 3 attempts in a row")
        assert gone.url in error.message
        assert "not by release.host (Forgejo: ROOT_URL, its storage): this machine must reach it" in str(
            error.hint
        )
        with start_forge(DATA) as portal:
            portal.answers[f"{DOWNLOADS}/SHA256SUMS.txt"] = [body(b"<html><title>Log in</title>")]
            forge.answers[f"{API}/latest"] = portal.answers[f"{API}/latest"]
            error = reject(staged_dir, forge, "a web page, titled 'Log in', and a file was expected")
            assert "a portal in front of the forge" in str(error.hint)


def test_a_login_page_in_the_archives_place(staged_dir: Path) -> None:
    """It is shorter than what was announced, and that is not what is to be said of it."""
    with start_forge(DATA) as forge:
        page = body(b"<!DOCTYPE html><title>Sign in</title>", **{"Content-Type": "text/html"})
        forge.on_archive(redirect("/user/login"))
        forge.answers["/user/login"] = [page]
        error = reject(
            staged_dir, forge, r"titled 'Sign in', from http://.*/user/login, and a file was expected"
        )
        assert "the token needs read access" in str(error.hint)


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
