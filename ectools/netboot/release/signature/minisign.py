"""minisign's files (https://jedisct1.github.io/minisign/, "Signature format")."""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ectools.netboot.release.signature import SignatureError

_KEY_ID, _KEY, _SIGNATURE = 8, 32, 64
_LEGACY, _HASHED = b"Ed", b"ED"
_TRUSTED = "trusted comment: "


def verify(data: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises SignatureError. Both kinds are taken: of the data (legacy), and of their BLAKE2b-512.

    The trusted comment is signed too, and checked.
    """
    key_id, key = _parse_key(public_key)
    kind, signer, by_key, comment, of_all = _parse_signature(signature)
    if signer != key_id:
        raise SignatureError(
            f"signed by the key {_show(signer)}, and the pinned one is {_show(key_id)}",
            hint="if the publisher changed keys, pin the new one",
        )
    try:
        key.verify(by_key, blake2b(data).digest() if kind == _HASHED else data)
        key.verify(of_all, by_key + comment)
    except InvalidSignature as error:
        raise SignatureError(f"not what the key {_show(key_id)} signed") from error


def _parse_key(text: bytes) -> tuple[bytes, Ed25519PublicKey]:
    lines = _split(text, "the public key")
    raw = _decode(lines[-1], "the public key") if lines else b""
    if len(raw) != 2 + _KEY_ID + _KEY or raw[:2] != _LEGACY:
        raise SignatureError("the pinned public key is not minisign's: a line of 56 characters was expected")
    return raw[2 : 2 + _KEY_ID], Ed25519PublicKey.from_public_bytes(raw[2 + _KEY_ID :])


def _parse_signature(text: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Its kind, the key's id, the signature, the trusted comment, and the signature of these two."""
    lines = _split(text, "the signature")
    if len(lines) != 4 or not lines[0].startswith("untrusted comment:") or not lines[2].startswith(_TRUSTED):
        raise SignatureError("not a signature of minisign: four lines were expected")
    raw, of_all = (_decode(line, "the signature") for line in (lines[1], lines[3]))
    if len(raw) != 2 + _KEY_ID + _SIGNATURE or raw[:2] not in (_LEGACY, _HASHED):
        raise SignatureError("not a signature of minisign: its second line is of an unknown kind")
    return raw[:2], raw[2 : 2 + _KEY_ID], raw[2 + _KEY_ID :], lines[2].removeprefix(_TRUSTED).encode(), of_all


def _split(text: bytes, what: str) -> list[str]:
    try:
        return [line.removesuffix("\r") for line in text.decode().strip("\r\n").split("\n")]
    except UnicodeDecodeError as error:
        raise SignatureError(f"{what} is not text") from error


def _decode(line: str, what: str) -> bytes:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except binascii.Error as error:
        raise SignatureError(f"{what} has a line that is not base64") from error


def _show(key_id: bytes) -> str:
    return key_id[::-1].hex().upper()  # as minisign prints it
