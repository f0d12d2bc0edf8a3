"""``openssl dgst -sha256 -sign KEY`` (RSA, ECDSA) and ``openssl pkeyutl -sign -rawin`` (Ed25519)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ectools.netboot.signature import SignatureError, ed25519

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

MIN_RSA_BITS = 2048
# id-RSASSA-PSS (RFC 4055): such a key signs with another padding than is checked here and on nodes.
_PSS = bytes.fromhex("06092a864886f70d01010a")


def verify(data: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises SignatureError. The signature is binary and detached, the key PEM (``BEGIN PUBLIC KEY``)."""
    try:
        key = load_pem_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(
            "the pinned public key is not PEM: BEGIN PUBLIC KEY was expected",
            hint="openssl pkey -in PRIVATE.pem -pubout",
        ) from error
    try:
        match key:
            case RSAPublicKey():
                check_rsa(key.key_size, "the pinned RSA key")
                _refuse_pss(public_key, "the pinned public key")
                key.verify(signature, data, padding.PKCS1v15(), SHA256())
            case EllipticCurvePublicKey():
                key.verify(signature, data, ECDSA(SHA256()))
            case Ed25519PublicKey():
                ed25519.check_public_key(key)
                ed25519.verify(key, signature, data)
            case _:
                raise SignatureError(
                    "the pinned public key is of a kind not supported: RSA, ECDSA, Ed25519 are"
                )
    except InvalidSignature as error:
        raise SignatureError("not what the pinned key signed") from error


def sign(data: bytes, private_key: bytes) -> bytes:
    """Detached and binary. Raises SignatureError. The key is PEM."""
    key = _load_private(private_key)
    match key:
        case RSAPrivateKey():
            check_rsa(key.key_size, "the private RSA key")
            _refuse_pss(private_key, "the private key")
            return key.sign(data, padding.PKCS1v15(), SHA256())
        case EllipticCurvePrivateKey():
            return key.sign(data, ECDSA(SHA256(), deterministic_signing=True))
        case Ed25519PrivateKey():
            return key.sign(data)
        case _:
            raise SignatureError("the private key is of a kind not supported: RSA, ECDSA, Ed25519 are")


def find_public(private_key: bytes) -> bytes:
    """The public key in PEM. Raises SignatureError."""
    key = _load_private(private_key)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def check_rsa(bits: int, whose: str) -> None:
    """Raises SignatureError where a key is too short."""
    if bits < MIN_RSA_BITS:
        raise SignatureError(f"{whose} has {bits} bits; {MIN_RSA_BITS} are needed")


def _refuse_pss(pem: bytes, whose: str) -> None:
    body = b"".join(line for line in pem.splitlines() if b"-" not in line and b":" not in line)
    try:
        head = base64.b64decode(body)[:64]
    except ValueError:
        return  # what reads it says so
    if _PSS in head:
        raise SignatureError(
            f"{whose} is for RSA-PSS, which is not supported: RSA, ECDSA, Ed25519 are",
            hint="openssl genpkey -algorithm ED25519",
        )


def _load_private(private_key: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(private_key, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError("not a private key in PEM, or an encrypted one") from error
