"""Signatures made by the real programs where they are there, and by their formats where not."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.releases import build_settings, check_whole, release_files, write_archive
from support.signing import Minisign, make, openssh, openssl

from ectools.errors import EcError
from ectools.netboot.release.stage import stage
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError, verify_signature

if TYPE_CHECKING:
    pass

DATA = b"0" * 64 + b"  archive.tar.gz\n"


KINDS = [
    "minisign hashed",
    "minisign legacy",
    "openssl rsa",
    "openssl ec",
    "openssl ed25519",
    "openssh ed25519",
    "openssh ecdsa",
    "openssh rsa",
]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_pinned_key_and_only_what_it_signed(kind: str, tmp_path: Path) -> None:
    form, public, sign = make(kind, tmp_path / "ours")
    _, other, _ = make(kind, tmp_path / "other")
    signature = sign(DATA)
    verify_signature(form, data=DATA, signature=signature, public_key=public)
    for data, signed, key in (
        (DATA + b"x", signature, public),
        (DATA, signature, other),
        (DATA, sign(b"something else"), public),
        (DATA, signature[:-4], public),
        (DATA, b"", public),
        (DATA, signature, b""),
        (DATA, signature, b"nonsense"),
        (DATA, b"\xff\xfe", public),
    ):
        with pytest.raises(SignatureError):
            verify_signature(form, data=data, signature=signed, public_key=key)


@pytest.mark.parametrize("kind", ["minisign hashed", "openssl ed25519", "openssh ed25519"])
def test_no_byte_of_a_signature_can_be_changed(kind: str, tmp_path: Path) -> None:
    form, public, sign = make(kind, tmp_path / "ours")
    signature = sign(DATA)
    for place in range(0, len(signature), 3):
        bad = signature[:place] + bytes([signature[place] ^ 0x10]) + signature[place + 1 :]
        if form is SignatureFormat.MINISIGN and bad.split(b"\n")[1:] == signature.split(b"\n")[1:]:
            continue  # the untrusted comment is not signed
        with pytest.raises(SignatureError):
            verify_signature(form, data=DATA, signature=bad, public_key=public)


def test_the_trusted_comment_is_signed() -> None:
    key = Minisign()
    bad = key.sign(DATA).replace(b"timestamp:1700000000", b"timestamp:1800000000")
    with pytest.raises(SignatureError, match="not what the key"):
        verify_signature(SignatureFormat.MINISIGN, data=DATA, signature=bad, public_key=key.public())


def test_a_signature_for_another_purpose(tmp_path: Path) -> None:
    public, sign = openssh(tmp_path, "ed25519", namespace="git")
    with pytest.raises(SignatureError, match="namespace 'file'"):
        verify_signature(SignatureFormat.OPENSSH, data=DATA, signature=sign(DATA), public_key=public)


def test_a_weak_key(tmp_path: Path) -> None:
    public, sign = openssl(tmp_path, "rsa1024")
    with pytest.raises(SignatureError, match="1024 bits"):
        verify_signature(SignatureFormat.OPENSSL, data=DATA, signature=sign(DATA), public_key=public)


@settings(deadline=None)
@given(st.sampled_from(SignatureFormat), st.binary(max_size=200))
def test_no_bytes_do_more_than_raise(form: SignatureFormat, junk: bytes) -> None:
    armoured = (
        b"-----BEGIN SSH SIGNATURE-----\n"
        + base64.b64encode(b"SSHSIG" + junk)
        + b"\n-----END SSH SIGNATURE-----"
    )
    key = Minisign().public() if form is SignatureFormat.MINISIGN else ED25519_PUBLIC[form]
    for signature, public in ((junk, key), (armoured, key), (junk, junk)):
        with pytest.raises(SignatureError):
            verify_signature(form, data=DATA, signature=signature, public_key=public)


ED25519_PUBLIC = {
    SignatureFormat.OPENSSH: b"ssh-ed25519 "
    b"AAAAC3NzaC1lZDI1NTE5AAAAIIMgpRl32MOMqKSSfGcN9YIeRJdhlF4V6e+yahUJ0jDq",
    SignatureFormat.OPENSSL: b"-----BEGIN PUBLIC KEY-----\n"
    b"MCowBQYDK2VwAyEAgyClGXfYw4yopJJ8Zw31gh5El2GUXhXp77JqFQnSMOo=\n-----END PUBLIC KEY-----\n",
}


@pytest.mark.parametrize("kind", ["minisign hashed", "openssl ec", "openssh ed25519"])
def test_a_release_that_is_not_signed_by_the_pinned_key_is_not_staged(kind: str, tmp_path: Path) -> None:
    form, public, sign = make(kind, tmp_path / "ours")
    (tmp_path / "key.pub").write_bytes(public)
    archive = write_archive(tmp_path, release_files())
    settings = build_settings(
        tmp_path / "state",
        release_tarball=str(archive),
        **{
            "release_signature.format": str(form),
            "release_signature.publicKeyFile": str(tmp_path / "key.pub"),
        },
    )
    with pytest.raises(EcError, match=r"there is no SHA256SUMS.txt, and a signature of it is required"):
        stage(settings)
    sums = subprocess.run(["sha256sum", archive.name], cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / "SHA256SUMS.txt").write_bytes(sums)
    with pytest.raises(
        SignatureError, match=r"there is no SHA256SUMS.txt.*sig, and release.signature pins a key"
    ):
        stage(settings)
    suffix = ".minisig" if form is SignatureFormat.MINISIGN else ".sig"
    (tmp_path / f"SHA256SUMS.txt{suffix}").write_bytes(sign(b"other sums"))
    with pytest.raises(SignatureError, match=r"key\.pub"):
        stage(settings)
    assert check_whole(tmp_path / "state") is None
    (tmp_path / f"SHA256SUMS.txt{suffix}").write_bytes(sign(sums))
    stage(settings)
    assert check_whole(tmp_path / "state")


def test_cryptography_is_told_to_do_without_the_legacy_provider() -> None:
    """Before it is loaded: it asks once. Where OpenSSL has none, tests/systems verify a signature really."""
    script = "import os, sys, ectools.netboot.signature as s; "
    script += "assert not any(name.startswith('cryptography') for name in sys.modules); "
    script += "print(os.environ['CRYPTOGRAPHY_OPENSSL_NO_LEGACY'])"
    env = {name: value for name, value in os.environ.items() if name != "CRYPTOGRAPHY_OPENSSL_NO_LEGACY"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
