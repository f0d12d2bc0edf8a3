"""Signatures of published checksums, made and checked as three programs do.

``minisign`` · ``openssh`` (ssh-keygen -Y) · ``openssl`` · ``ed25519`` below all three · ``dsse`` a text
and its signature in one file · ``key_file`` a private key, read.
"""

from __future__ import annotations

import base64
import os
from typing import assert_never

from ectools.errors import EcError
from ectools.netboot.settings.model import SignatureFormat

MAX_SIGNATURE_BYTES = 64 << 10
MAX_KEY_BYTES = 64 << 10


class SignatureError(EcError):
    """A signature is missing, cannot be read, or is not by the pinned key."""


# cryptography does not load where OpenSSL has no legacy provider, unless it is told to do without it;
# no algorithm here is that provider's.
os.environ.setdefault("CRYPTOGRAPHY_OPENSSL_NO_LEGACY", "1")

SUFFIXES = {
    SignatureFormat.MINISIGN: ".minisig",
    SignatureFormat.OPENSSH: ".sig",
    SignatureFormat.OPENSSL: ".sig",
}
"""What the signature's file name adds to that of the signed file."""


def decode_base64(text: bytes) -> bytes:
    """Bytes of base64 in its one form, without spaces (RFC 4648, section 3.5). Raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw) != text:
        raise ValueError("base64 whose last bits are not zero")
    return raw


def make_signature(kind: SignatureFormat, *, data: bytes, private_key: bytes) -> bytes:
    """The signature's file; the same key and data give the same. Raises SignatureError.

    ``private_key`` is the content of the key's file, which must not be encrypted.
    """
    # As below.
    from ectools.netboot.signature import minisign, openssh, openssl

    match kind:
        case SignatureFormat.MINISIGN:
            return minisign.sign(data, private_key)
        case SignatureFormat.OPENSSH:
            return openssh.sign(data, private_key)
        case SignatureFormat.OPENSSL:
            return openssl.sign(data, private_key)
        case _:
            assert_never(kind)


def find_public_key(kind: SignatureFormat, private_key: bytes) -> bytes:
    """The public key's file, of a private one that is not encrypted. Raises SignatureError."""
    # As above.
    from ectools.netboot.signature import minisign, openssh, openssl

    match kind:
        case SignatureFormat.MINISIGN:
            return minisign.find_public(private_key)
        case SignatureFormat.OPENSSH:
            return openssh.find_public(private_key)
        case SignatureFormat.OPENSSL:
            return openssl.find_public(private_key)
        case _:
            assert_never(kind)


def verify_signature(
    kind: SignatureFormat, *, data: bytes, signature: bytes, public_key: bytes
) -> int | None:
    """Raises SignatureError where ``signature`` is not that of ``data`` by the key.

    ``public_key`` is the content of the pinned key's file. Returns when it was signed, in seconds since 1970,
    where the signature says so, which only minisign's do.
    """
    # Imported here: a release without a signature needs no cryptography.
    from ectools.netboot.signature import minisign, openssh, openssl

    match kind:
        case SignatureFormat.MINISIGN:
            return minisign.verify(data, signature, public_key)
        case SignatureFormat.OPENSSH:
            openssh.verify(data, signature, public_key)
        case SignatureFormat.OPENSSL:
            openssl.verify(data, signature, public_key)
        case _:
            assert_never(kind)
    return None
