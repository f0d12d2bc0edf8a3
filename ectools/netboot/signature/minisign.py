"""minisign's files (https://jedisct1.github.io/minisign/, "Signature format")."""

from __future__ import annotations

import base64
import re
from hashlib import blake2b

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ectools.netboot.signature import SignatureError, decode_base64, ed25519

_KEY_ID, _KEY, _SIGNATURE, _CHECKSUM = 8, 32, 64, 32
_PRIVATE_HEAD = 2 + 2 + 2 + 32 + 8 + 8
_LEGACY, _HASHED = b"Ed", b"ED"
_TRUSTED = "trusted comment: "
_TIMESTAMP = re.compile(rb"(?:^|\t)timestamp:([0-9]{1,11})(?=\t|$)")


def verify(data: bytes, signature: bytes, public_key: bytes) -> int | None:
    """When it was signed, in seconds since 1970, where the trusted comment says so. Raises SignatureError.

    Both kinds are taken: of the data (legacy), and of their BLAKE2b-512. The trusted comment is signed too,
    and checked.
    """
    key_id, key = _parse_key(public_key)
    kind, signer, by_key, comment, of_all = _parse_signature(signature)
    if signer != key_id:
        raise SignatureError(
            f"signed by the key {_show(signer)}, and the pinned one is {_show(key_id)}",
            hint="if the publisher changed keys, pin the new one",
        )
    try:
        ed25519.verify(key, by_key, blake2b(data).digest() if kind == _HASHED else data)
        ed25519.verify(key, of_all, by_key + comment)
    except InvalidSignature as error:
        raise SignatureError(f"not what the key {_show(key_id)} signed") from error
    matched = _TIMESTAMP.search(comment)
    return int(matched[1]) if matched else None


def sign(data: bytes, private_key: bytes) -> bytes:
    """As ``minisign -S`` does, but for the time, which two runs would not share. Raises SignatureError."""
    key_id, key = _parse_private(private_key)
    by_key = key.sign(blake2b(data).digest())
    comment = b"file:SHA256SUMS.txt\thashed"
    lines = (
        b"untrusted comment: signature from ectools",
        base64.b64encode(_HASHED + key_id + by_key),
        _TRUSTED.encode() + comment,
        base64.b64encode(key.sign(by_key + comment)),
    )
    return b"\n".join(lines) + b"\n"


def find_public(private_key: bytes) -> bytes:
    """The public key's file. Raises SignatureError."""
    key_id, key = _parse_private(private_key)
    raw = _LEGACY + key_id + key.public_key().public_bytes_raw()
    return b"untrusted comment: minisign public key\n" + base64.b64encode(raw) + b"\n"


def _parse_private(text: bytes) -> tuple[bytes, Ed25519PrivateKey]:
    """``Ed``, key derivation, ``B2``, salt and limits; then id, seed, public key and a checksum."""
    lines = _split(text, "the private key")
    raw = _decode(lines[-1], "the private key") if lines else b""
    if len(raw) != _PRIVATE_HEAD + _KEY_ID + 2 * _KEY + _CHECKSUM or raw[:2] != _LEGACY or raw[4:6] != b"B2":
        raise SignatureError("not a private key of minisign")
    if raw[2:4] != b"\0\0":
        raise SignatureError(
            "the private key of minisign is encrypted",
            hint="make one with `minisign -G -W`, or sign SHA256SUMS.txt with minisign itself",
        )
    start = _PRIVATE_HEAD + _KEY_ID
    key = Ed25519PrivateKey.from_private_bytes(raw[start : start + _KEY])
    # minisign leaves the checksum of a key that is not encrypted empty.
    if key.public_key().public_bytes_raw() != raw[start + _KEY : start + 2 * _KEY]:
        raise SignatureError("the private key of minisign is damaged: it is not that of its public key")
    return raw[_PRIVATE_HEAD:start], key


def _parse_key(text: bytes) -> tuple[bytes, Ed25519PublicKey]:
    lines = _split(text, "the public key")
    raw = _decode(lines[-1], "the public key") if lines else b""
    if len(raw) != 2 + _KEY_ID + _KEY or raw[:2] != _LEGACY:
        raise SignatureError("the pinned public key is not minisign's: a line of 56 characters was expected")
    key = Ed25519PublicKey.from_public_bytes(raw[2 + _KEY_ID :])
    ed25519.check_public_key(key)
    return raw[2 : 2 + _KEY_ID], key


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
        return decode_base64(line.strip().encode())
    except ValueError as error:
        raise SignatureError(f"{what} has a line that is not base64") from error


def _show(key_id: bytes) -> str:
    return key_id[::-1].hex().upper()  # as minisign prints it
