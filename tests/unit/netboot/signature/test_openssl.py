"""OpenSSL's signatures and keys: what is made, what is taken, and what is told of the rest."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import (
    SignatureError,
    make_signature,
    verify_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

DATA = b"what is signed"
MINISIGN, OPENSSH, OPENSSL = SignatureFormat.MINISIGN, SignatureFormat.OPENSSH, SignatureFormat.OPENSSL
ID = bytes(range(8))
SEED = bytes(range(32))


@pytest.fixture(scope="module")
def weak_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2040)


def fail(form: SignatureFormat, signature: bytes, public_key: bytes, data: bytes = DATA) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        verify_signature(form, data=data, signature=signature, public_key=public_key)
    return caught.value


def fail_sign(form: SignatureFormat, private_key: bytes) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        make_signature(form, data=DATA, private_key=private_key)
    return caught.value


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
    weak = make_signature(OPENSSL, data=DATA, private_key=pem_private(weak_rsa))
    assert fail(OPENSSL, weak, pem_public(weak_rsa)).message == (
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
