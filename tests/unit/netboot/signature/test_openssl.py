"""OpenSSL's signatures and keys: what is made, what is taken, and what is told of the rest."""

from __future__ import annotations

import base64
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support.needs import require_tool
from support.signature_cases import DATA, OPENSSL, fail, fail_sign

from ectools.netboot.signature import (
    SignatureError,
    make_signature,
    openssl,
    verify_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


@pytest.fixture(scope="module")
def weak_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2040)


def pem_private(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def pem_public(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


KEYS: dict[str, Callable[[], PrivateKeyTypes]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_of_openssl_is_the_same_twice(kind: str) -> None:
    key = KEYS[kind]()
    one, two = (make_signature(OPENSSL, data=DATA, private_key=pem_private(key)) for _ in range(2))
    assert one == two
    assert verify_signature(OPENSSL, data=DATA, signature=one, public_key=pem_public(key)) is None
    assert fail(OPENSSL, one, pem_public(key), b"other").message == "not what the pinned key signed"
    assert fail(OPENSSL, one, pem_public(KEYS[kind]())).message == "not what the pinned key signed"
    assert fail_sign(OPENSSL, pem_private(key, b"secret")).message == (
        "not a private key in PEM, or an encrypted one"
    )


def test_keys_of_openssl_that_are_none(weak_rsa: rsa.RSAPrivateKey) -> None:
    error = fail(OPENSSL, b"x", b"nonsense")
    assert error.message == "the pinned public key is not PEM: BEGIN PUBLIC KEY was expected"
    assert error.hint == "openssl pkey -in PRIVATE.pem -pubout"
    assert fail_sign(OPENSSL, pem_private(weak_rsa)).message == (
        "the private RSA key has 2040 bits; 2048 are needed"
    )
    assert fail(OPENSSL, b"x", pem_public(weak_rsa)).message == (
        "the pinned RSA key has 2040 bits; 2048 are needed"
    )
    other = dsa.generate_private_key(1024)
    assert re.fullmatch(
        "the pinned public key is of a kind not supported: RSA, ECDSA, Ed25519 are",
        fail(OPENSSL, b"x", pem_public(other)).message,
    )
    assert fail_sign(OPENSSL, pem_private(other)).message == (
        "the private key is of a kind not supported: RSA, ECDSA, Ed25519 are"
    )
    assert fail_sign(OPENSSL, b"nonsense").message == "not a private key in PEM, or an encrypted one"


def test_a_key_for_another_padding_is_refused_where_it_is_first_used() -> None:
    require_tool("openssl", "install openssl")
    argv = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]
    private = subprocess.run(argv, capture_output=True, check=True).stdout
    public = subprocess.run(
        ["openssl", "pkey", "-pubout"], input=private, capture_output=True, check=True
    ).stdout
    told = "is for RSA-PSS, which is not supported: RSA, ECDSA, Ed25519 are"
    assert fail_sign(OPENSSL, private).message == f"the private key {told}"
    assert fail(OPENSSL, b"x", public).message == f"the pinned public key {told}"


def test_a_curve_that_is_not_supported_is_told_as_any_other_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    def rename_curve(der: bytes, title: bytes) -> bytes:
        # The OIDs of prime256v1, and of prime192v3 (X9.62).
        other = der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030103"))
        assert other != der
        return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (title, base64.encodebytes(other), title)

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert fail(OPENSSL, b"x", rename_curve(public, b"PUBLIC KEY")).message == (
        "the pinned public key is not PEM: BEGIN PUBLIC KEY was expected"
    )
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert fail_sign(OPENSSL, rename_curve(private, b"PRIVATE KEY")).message == (
        "not a private key in PEM, or an encrypted one"
    )


def test_ed25519_by_the_vector_of_rfc_8032() -> None:
    """Section 7.1, test 2: the signature is the 64 bytes of the RFC, without a frame."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = openssl.sign(b"\x72", pem_private(key))
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    openssl.verify(b"\x72", signature, pem_public(key))


def test_ecdsa_by_the_vector_of_rfc_6979() -> None:
    """Appendix A.2.5, P-256 with SHA-256 and the message ``sample``: its number that is not random."""
    key = ec.derive_private_key(
        0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1()
    )
    signature = openssl.sign(b"sample", pem_private(key))
    assert signature == encode_dss_signature(
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )
    openssl.verify(b"sample", signature, pem_public(key))
    with pytest.raises(SignatureError, match=r"^not what the pinned key signed$"):
        openssl.verify(b"test", signature, pem_public(key))
