"""A text and its signature in one file; what is signed is what other programs sign and check."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.needs import require_tool

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError, find_public_key
from ectools.netboot.signature.dsse import encode_pae, open_envelope, seal_envelope

if TYPE_CHECKING:
    from pathlib import Path

KIND = "application/vnd.in-toto+json"
TEXT = b'{"_type": "https://in-toto.io/Statement/v1"}\n'


def run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def make_key(form: SignatureFormat, directory: Path) -> tuple[bytes, Path]:
    """A private key, and the file of its public one, by the program itself."""
    key, public = directory / "key", directory / "key.pub"
    match form:
        case SignatureFormat.MINISIGN:
            run(require_tool("minisign", "Debian: minisign"), "-G", "-W", "-p", public, "-s", key)
        case SignatureFormat.OPENSSH:
            program = require_tool("ssh-keygen", "Debian: openssh-client")
            run(program, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
        case SignatureFormat.OPENSSL:
            program = require_tool("openssl", "Debian: openssl")
            run(program, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
            run(program, "pkey", "-in", key, "-pubout", "-out", public)
    return key.read_bytes(), public


def check_by_program(form: SignatureFormat, directory: Path, public: Path) -> None:
    """The file ``pae`` and its signature ``sig``, by the program whose key it is."""
    pae, sig = directory / "pae", directory / "sig"
    match form:
        case SignatureFormat.MINISIGN:
            run("minisign", "-V", "-m", pae, "-x", sig, "-p", public)
        case SignatureFormat.OPENSSH:
            signers = directory / "signers"
            signers.write_bytes(b"publisher " + public.read_bytes())
            argv = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "publisher", "-n", "file", "-s", sig]
            subprocess.run(argv, check=True, capture_output=True, input=pae.read_bytes())
        case SignatureFormat.OPENSSL:
            run("openssl", "dgst", "-sha256", "-verify", public, "-signature", sig, pae)


@pytest.mark.parametrize("form", SignatureFormat)
def test_an_envelope_is_checked_by_stock_programs(form: SignatureFormat, tmp_path: Path) -> None:
    private, public = make_key(form, tmp_path)
    data = seal_envelope(KIND, TEXT, form=form, private_key=private)
    assert seal_envelope(KIND, TEXT, form=form, private_key=private) == data
    found = find_public_key(form, private)
    assert open_envelope(data, KIND, form=form, public_key=public.read_bytes(), where="it") == TEXT
    assert open_envelope(data, KIND, form=form, public_key=found, where="it") == TEXT
    envelope = json.loads(data)
    payload = base64.b64decode(envelope["payload"])
    (tmp_path / "pae").write_bytes(
        b"DSSEv1 %d %s %d %s" % (len(KIND), envelope["payloadType"].encode(), len(payload), payload)
    )
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    check_by_program(form, tmp_path, public)
    for changed in (
        {**envelope, "payload": base64.b64encode(payload + b" ").decode()},
        {**envelope, "signatures": []},
        {**envelope, "signatures": [{"sig": base64.b64encode(b"x").decode()}]},
    ):
        with pytest.raises(SignatureError, match="is not signed by the pinned key"):
            open_envelope(json.dumps(changed).encode(), KIND, form=form, public_key=found, where="it")


def test_what_is_no_envelope() -> None:
    good = {"payloadType": KIND, "payload": "", "signatures": []}
    for data in (
        *(b"", b"[]", b"{", b'"x"'),
        *(
            json.dumps({**good, **changed}).encode()
            for changed in (
                {"payloadType": "text/plain"},
                {"payload": "?"},
                {"payload": 1},
                {"signatures": {}},
                {"signatures": [{}]},
                {"signatures": [{"sig": "?"}]},
                {"signatures": [{"sig": ""}] * 9},
                {"signatures": [{"sig": base64.b64encode(bytes(70000)).decode()}]},
            )
        ),
    ):
        with pytest.raises(SignatureError, match="is no DSSE envelope"):
            open_envelope(data, KIND, form=SignatureFormat.OPENSSL, public_key=b"", where="it")


def test_what_is_signed_says_its_kind() -> None:
    # The example of the protocol (secure-systems-lab/dsse, protocol.md, "Test vectors").
    assert encode_pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
