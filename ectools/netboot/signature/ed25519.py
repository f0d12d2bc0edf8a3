"""Ed25519 (RFC 8032) with what its verifiers leave open decided: each point and number has one form.

OpenSSL, on which ``cryptography`` stands, takes a public key of small order, by which anybody can make
signatures of some data, and points whose coordinate is written as itself plus the field's prime. libsodium,
and with it minisign, rejects both (crypto_sign_ed25519_verify_detached), and so does this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature

from ectools.netboot.signature import SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_PRIME = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_SIGN = 1 << 255
# The y of the eight points whose order divides 8: 1, -1, 0, and ± that of the points of order 8.
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL = frozenset({0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8})


def check_public_key(key: Ed25519PublicKey) -> None:
    """Raises SignatureError where the key can be nobody's: of small order, or not in its one form."""
    y = _read_point(key.public_bytes_raw())
    if y is None or y in _SMALL:
        raise SignatureError(
            "the pinned Ed25519 key is none that is safe: anybody could sign for it",
            hint="no program makes such a key: get the publisher's again, from somewhere trusted",
        )


def verify(key: Ed25519PublicKey, signature: bytes, data: bytes) -> None:
    """Raises InvalidSignature, also where R or S is not in its one form, or R is of small order."""
    y = _read_point(signature[:32])
    if y is None or y in _SMALL or int.from_bytes(signature[32:], "little") >= _ORDER:
        raise InvalidSignature
    key.verify(signature, data)


def _read_point(raw: bytes) -> int | None:
    """A point's y; None where it is not written in the one form (RFC 8032, section 5.1.3, steps 1 and 4)."""
    number = int.from_bytes(raw, "little")
    y = number & ~_SIGN
    # The x of these two is 0, which has no sign.
    if y >= _PRIME or (number & _SIGN and y in (1, _PRIME - 1)):
        return None
    return y
