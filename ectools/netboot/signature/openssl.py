"""``openssl dgst -sha256 -sign KEY`` (RSA, ECDSA) and ``openssl pkeyutl -sign -rawin`` (Ed25519)."""

from __future__ import annotations

import base64
import contextlib
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
# id-RSASSA-PSS (RFC 8017, appendix A.2), as DER has it.
_RSA_PSS = bytes.fromhex("06092a864886f70d01010a")


def verify(data: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises SignatureError. The signature is binary and detached, the key PEM (``BEGIN PUBLIC KEY``)."""
    _check_kind(public_key, "the pinned public key")
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
                if key.key_size < MIN_RSA_BITS:
                    raise SignatureError(
                        f"the pinned RSA key has {key.key_size} bits; {MIN_RSA_BITS} are needed"
                    )
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
            check_rsa_bits(key.key_size)
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


def check_rsa_bits(bits: int) -> None:
    """Raises SignatureError for a private key whose signatures neither boot hosts nor nodes take."""
    if bits < MIN_RSA_BITS:
        raise SignatureError(f"the private RSA key has {bits} bits; {MIN_RSA_BITS} are needed")


def _check_kind(pem: bytes, what: str) -> None:
    """Raises SignatureError for a key of RSA-PSS alone, with which openssl on a node checks nothing else."""
    body = b"".join(line.strip() for line in pem.splitlines() if not line.startswith(b"-"))
    with contextlib.suppress(ValueError):
        if _RSA_PSS in base64.b64decode(body)[:64]:
            raise SignatureError(
                f"{what} is one of RSA-PSS, and signatures here are of RSA (PKCS #1 v1.5)",
                hint="make another: openssl genpkey -algorithm ed25519",
            )


def _load_private(private_key: bytes) -> PrivateKeyTypes:
    _check_kind(private_key, "the private key")
    try:
        return load_pem_private_key(private_key, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError("not a private key in PEM, or an encrypted one") from error
