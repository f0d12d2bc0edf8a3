"""``ssh-keygen -Y sign -n file`` (openssh-portable, PROTOCOL.sshsig)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from ectools.errors import cut
from ectools.netboot.signature import SignatureError, decode_base64, ed25519
from ectools.netboot.signature.openssl import MIN_RSA_BITS, check_rsa_bits

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization import SSHPrivateKeyTypes

NAMESPACE = b"file"

_MAGIC = b"SSHSIG"
_ARMOUR = re.compile(rb"-----BEGIN SSH SIGNATURE-----\r?\n(.*?)-----END SSH SIGNATURE-----\s*", re.DOTALL)
_CURVE_HASH: dict[str, HashAlgorithm] = {"secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()}
_RSA_HASH: dict[bytes, HashAlgorithm] = {b"rsa-sha2-256": SHA256(), b"rsa-sha2-512": SHA512()}


def verify(data: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises SignatureError. ``public_key`` is a line of an id_….pub file: type, base64, comment."""
    words = public_key.split()
    try:
        pinned = decode_base64(words[1])
        key = load_ssh_public_key(b" ".join(words[:2]))
    except (IndexError, ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(
            "the pinned public key is not OpenSSH's: a line like `ssh-ed25519 AAAA…` was expected"
        ) from error
    if isinstance(key, Ed25519PublicKey):
        ed25519.check_public_key(key)
    fields = _Fields(_unarmour(signature))
    fields.expect(_MAGIC + (1).to_bytes(4, "big"))
    signer, namespace, reserved, hash_name, blob = (fields.take() for _ in range(5))
    fields.expect(b"")
    if signer != pinned:
        raise SignatureError("signed by another key than the pinned one")
    if namespace != NAMESPACE:
        raise SignatureError(
            f"signed for {cut(repr(namespace))}; the namespace {NAMESPACE.decode()!r} was expected"
        )
    if hash_name not in (b"sha256", b"sha512"):
        raise SignatureError(f"made with the hash {cut(repr(hash_name))}; sha256 and sha512 are supported")
    signed = _build_signed(data, hash_name, reserved)
    inner = _Fields(blob)
    algorithm, raw = inner.take(), inner.take()
    inner.expect(b"")
    try:
        _verify_raw(key, algorithm=algorithm, raw=raw, signed=signed)
    except InvalidSignature as error:
        raise SignatureError("not what the pinned key signed") from error


def sign(data: bytes, private_key: bytes) -> bytes:
    """Armoured, with SHA-512. Raises SignatureError. The key is an OpenSSH private key (Ed25519, RSA)."""
    key = _load_private(private_key)
    signed = _build_signed(data, b"sha512", b"")
    match key:
        case Ed25519PrivateKey():
            algorithm, raw = b"ssh-ed25519", key.sign(signed)
        case RSAPrivateKey():
            check_rsa_bits(key.key_size)
            algorithm, raw = b"rsa-sha2-512", key.sign(signed, padding.PKCS1v15(), SHA512())
        case _:
            # ECDSA's would differ from run to run.
            raise SignatureError("the private key is of a kind not supported: Ed25519 and RSA are")
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    fields = (base64.b64decode(line.split()[1]), NAMESPACE, b"", b"sha512", _pack(algorithm) + _pack(raw))
    body = base64.b64encode(_MAGIC + (1).to_bytes(4, "big") + b"".join(map(_pack, fields)))
    lines = [body[start : start + 70] for start in range(0, len(body), 70)]
    return b"\n".join([b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""])


def find_public(private_key: bytes) -> bytes:
    """The line of the public key's file. Raises SignatureError."""
    key = _load_private(private_key)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"


def _load_private(private_key: bytes) -> SSHPrivateKeyTypes:
    try:
        return load_ssh_private_key(private_key, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError("not a private key of OpenSSH, or an encrypted one") from error


def _build_signed(data: bytes, hash_name: bytes, reserved: bytes) -> bytes:
    digest = hashlib.new(hash_name.decode(), data).digest()
    return _MAGIC + b"".join(map(_pack, (NAMESPACE, reserved, hash_name, digest)))


def _verify_raw(key: object, *, algorithm: bytes, raw: bytes, signed: bytes) -> None:
    match key:
        case Ed25519PublicKey() if algorithm == b"ssh-ed25519":
            ed25519.verify(key, raw, signed)
        case RSAPublicKey() if algorithm in _RSA_HASH and key.key_size >= MIN_RSA_BITS:
            key.verify(raw, signed, padding.PKCS1v15(), _RSA_HASH[algorithm])
        case EllipticCurvePublicKey() if (
            algorithm.startswith(b"ecdsa-sha2-") and key.curve.name in _CURVE_HASH
        ):
            numbers = _Fields(raw)
            r, s = (_read_positive(numbers.take()) for _ in range(2))
            numbers.expect(b"")
            key.verify(encode_dss_signature(r, s), signed, ECDSA(_CURVE_HASH[key.curve.name]))
        case _:
            raise SignatureError(f"made by a kind of key not supported ({cut(repr(algorithm))})")


def _unarmour(signature: bytes) -> bytes:
    matched = _ARMOUR.fullmatch(signature)
    try:
        if matched:
            return decode_base64(b"".join(matched[1].split()))
    except ValueError:
        pass
    raise SignatureError("not a signature of OpenSSH: BEGIN SSH SIGNATURE was expected")


def _read_positive(field: bytes) -> int:
    """An mpint (RFC 4251, section 5), which has one form, and no sign here."""
    if not field or field[0] & 0x80 or (field[0] == 0 and not field[1:2] >= b"\x80"):
        raise SignatureError("not a signature of OpenSSH: a number in it is malformed")
    return int.from_bytes(field, "big")


def _pack(field: bytes) -> bytes:
    return len(field).to_bytes(4, "big") + field


class _Fields:
    """Takes length-prefixed strings (RFC 4251, section 5) one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self) -> bytes:
        size = int.from_bytes(self._data[:4], "big")
        if len(self._data) < 4 + size:
            raise SignatureError("not a signature of OpenSSH: it is truncated")
        field, self._data = self._data[4 : 4 + size], self._data[4 + size :]
        return field

    def expect(self, start: bytes) -> None:
        """Pass ``start``; empty: nothing may be left."""
        if not (self._data.startswith(start) if start else not self._data):
            raise SignatureError("not a signature of OpenSSH of version 1")
        self._data = self._data[len(start) :]
