"""A private CA beside the system's, made by openssl, with a server that shows its certificate."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.forge import Forge, body, start_forge
from support.needs import require_tool

from ectools.errors import InputError
from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.retry import RetryPolicy
from ectools.fetch.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTION = "release.caFile"


def openssl(directory: Path, *words: str) -> None:
    program = require_tool("openssl", "install openssl")
    subprocess.run([program, *words], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory: ``ca.pem``, ``ca.der`` and ``other.pem`` are CAs; ``server.*`` is signed by the first."""
    directory = tmp_path_factory.mktemp("authority")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("ca", "other"):
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl(
            directory, "req", "-x509", *new_key, *files, "-days", "2", "-subj", f"/CN=Private {name}", *usage
        )
    openssl(directory, "req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=forge")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2", "-extfile", "names")
    openssl(directory, "x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem")
    openssl(directory, "x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der")
    return directory


@pytest.fixture
def forge(authority: Path) -> Iterator[Forge]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    with start_forge(tls=context) as forge:
        forge.answers["/file"] = [body(b"content")]
        yield forge


def read(forge: Forge, ca_file: Path | None) -> bytes:
    trust = load_trust(ca_file, option=OPTION)
    client = HttpClient(forge.url, retry=RetryPolicy(attempts=1), trust=trust)
    return client.read(f"{forge.url}/file", limit=100, what="it")


@pytest.mark.parametrize("name", ["ca.pem", "ca.der", "both.pem", "server.pem"])
def test_what_is_trusted(forge: Forge, authority: Path, name: str) -> None:
    """A CA in either form, one among several, and the server's own certificate."""
    texts = [(authority / f"{each}.pem").read_text() for each in ("other", "ca")]
    (authority / "both.pem").write_text("The company's:\n" + "".join(texts))
    assert read(forge, authority / name) == b"content"


def test_another_ca_is_not(forge: Forge, authority: Path) -> None:
    file = authority / "other.pem"
    with pytest.raises(FetchError, match="certificate verify failed") as caught:
        read(forge, file)
    assert caught.value.hint == (
        f"the certificate is of no CA in {file} ({OPTION}), nor of one that this machine trusts"
    )


def test_without_one_the_option_is_named(forge: Forge) -> None:
    with pytest.raises(FetchError, match="certificate verify failed") as caught:
        read(forge, None)
    assert caught.value.hint == (
        f"the certificate must be one that this machine trusts; {OPTION} names a private CA's"
    )


def test_what_the_system_trusts_stays_trusted(
    forge: Forge, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    assert read(forge, authority / "other.pem") == b"content"


@pytest.mark.parametrize("content", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n", "key"])
def test_a_file_without_a_certificate(authority: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.pem"
    file.write_text((authority / "ca.key").read_text() if content == "key" else content)
    with pytest.raises(InputError, match=rf"^{OPTION}: {file}: holds no certificate that can be read: "):
        load_trust(file, option=OPTION)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{OPTION}: {tmp_path}/none: cannot be read: No such file"):
        load_trust(tmp_path / "none", option=OPTION)
