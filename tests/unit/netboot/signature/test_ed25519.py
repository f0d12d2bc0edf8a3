"""Ed25519 by RFC 8032's own vectors, and each form that is taken by OpenSSL and by nobody who is careful."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ectools.netboot.signature import SignatureError
from ectools.netboot.signature.ed25519 import check_public_key, verify

# Section 7.1, tests 2 and 3: public key, message, signature.
VECTORS = [
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]
PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
SIGN = 1 << 255


def load_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def write(number: int) -> bytes:
    return number.to_bytes(32, "little")


@pytest.mark.parametrize(("public", "data", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(public: str, data: str, signature: str) -> None:
    key = load_key(bytes.fromhex(public))
    check_public_key(key)
    verify(key, bytes.fromhex(signature), bytes.fromhex(data))
    for changed in (bytes.fromhex(signature), bytes.fromhex(data) + b"\0"), (bytes(64), bytes.fromhex(data)):
        with pytest.raises(InvalidSignature):
            verify(key, *changed)


def test_s_below_the_order_alone() -> None:
    public, data, signature = map(bytes.fromhex, VECTORS[0])
    s = int.from_bytes(signature[32:], "little")
    with pytest.raises(InvalidSignature):
        verify(load_key(public), signature[:32] + write(s + ORDER), data)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(0, id="order 4"),
        pytest.param(1, id="the neutral element"),
        pytest.param(PRIME - 1, id="order 2"),
        pytest.param(SIGN, id="order 4, the other sign"),
        pytest.param(SIGN | 1, id="a sign where x is 0"),
        pytest.param(PRIME + 3, id="y plus the prime"),
    ],
)
def test_a_point_that_is_not_taken(point: int) -> None:
    with pytest.raises(SignatureError) as caught:
        check_public_key(load_key(write(point)))
    assert caught.value.message == "the pinned Ed25519 key is none that is safe: anybody could sign for it"
    assert caught.value.hint == (
        "no program makes such a key: get the publisher's again, from somewhere trusted"
    )
    public, data, signature = map(bytes.fromhex, VECTORS[0])
    with pytest.raises(InvalidSignature):
        verify(load_key(public), write(point) + signature[32:], data)


def test_anybody_signs_for_the_neutral_element_where_only_openssl_looks() -> None:
    # R = A = the neutral element and S = 0: S·B = R + h·A, whatever the data.
    key, forged = load_key(write(1)), write(1) + write(0)
    key.verify(forged, b"any data")
    with pytest.raises(InvalidSignature):
        verify(key, forged, b"any data")
