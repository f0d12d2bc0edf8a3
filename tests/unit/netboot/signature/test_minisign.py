"""minisign's files, and what all three programs share: what is made, taken, and told of the rest."""

from __future__ import annotations

import base64
from hashlib import blake2b

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.signature_cases import DATA, ID, MINISIGN, OPENSSH, OPENSSL, SEED, fail, fail_sign
from support.signing import Minisign

from ectools.netboot.signature import (
    MAX_KEY_BYTES,
    MAX_SIGNATURE_BYTES,
    SUFFIXES,
    SignatureError,
    decode_base64,
    make_signature,
    minisign,
    verify_signature,
)


def test_names_and_sizes() -> None:
    assert SUFFIXES == {MINISIGN: ".minisig", OPENSSH: ".sig", OPENSSL: ".sig"}
    assert (MAX_SIGNATURE_BYTES, MAX_KEY_BYTES) == (65536, 65536)


def test_base64_in_its_one_form() -> None:
    assert decode_base64(b"AAA=") == b"\0\0"
    for wrong in (b"AAB=", b"AAA", b"AA A=", b"AAA=\n", b"AAA==", b"\xff"):
        with pytest.raises(ValueError, match=r"^"):
            decode_base64(wrong)


def minisign_private(
    *,
    head: bytes = b"Ed\0\0B2" + bytes(48),
    seed: bytes = SEED,
    public: bytes | None = None,
    rest: bytes = bytes(32),
) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    raw = head + ID + seed + (key.public_key().public_bytes_raw() if public is None else public) + rest
    return b"untrusted comment: x\n" + base64.b64encode(raw) + b"\n"


def minisign_public(kind: bytes = b"Ed", more: bytes = b"") -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    return b"untrusted comment: x\n" + base64.b64encode(kind + ID + key + more) + b"\n"


def test_a_signature_of_minisign_is_made_so() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    signed = key.sign(blake2b(DATA).digest())
    comment = b"file:SHA256SUMS.txt\thashed"
    assert make_signature(MINISIGN, data=DATA, private_key=minisign_private()) == b"\n".join(
        (
            b"untrusted comment: signature from ectools",
            base64.b64encode(b"ED" + ID + signed),
            b"trusted comment: " + comment,
            base64.b64encode(key.sign(signed + comment)),
            b"",
        )
    )


def test_private_keys_of_minisign_that_are_none() -> None:
    for wrong in (
        minisign_private(head=b"Xd\0\0B2" + bytes(48)),
        minisign_private(head=b"Ed\0\0B3" + bytes(48)),
        minisign_private(rest=bytes(31)),
        minisign_private(rest=bytes(33)),
        b"",
    ):
        assert fail_sign(MINISIGN, wrong).message == "not a private key of minisign"
    error = fail_sign(MINISIGN, minisign_private(head=b"EdScB2" + bytes(48)))
    assert error.message == "the private key of minisign is encrypted"
    assert error.hint == "make one with `minisign -G -W`, or sign SHA256SUMS.txt with minisign itself"
    for damaged in (minisign_private(seed=bytes(32)), minisign_private(public=bytes(32))):
        assert fail_sign(MINISIGN, damaged).message == (
            "the private key of minisign is damaged: it is not that of its public key"
        )
    assert fail_sign(MINISIGN, b"\xff").message == "the private key is not text"
    assert fail_sign(MINISIGN, b"!").message == "the private key has a line that is not base64"


def test_public_keys_of_minisign_that_are_none() -> None:
    signature = make_signature(MINISIGN, data=DATA, private_key=minisign_private())
    assert verify_signature(MINISIGN, data=DATA, signature=signature, public_key=minisign_public()) is None
    # Its last line alone, and as Windows ends lines.
    for same in (
        minisign_public().splitlines()[1],
        minisign_public().replace(b"\n", b"\r\n"),
        b"\n" + minisign_public() + b"\n\n",
    ):
        verify_signature(MINISIGN, data=DATA, signature=signature, public_key=same)
    for wrong in (minisign_public(b"ED"), minisign_public(more=b"x"), b""):
        assert fail(MINISIGN, signature, wrong).message == (
            "the pinned public key is not minisign's: a line of 56 characters was expected"
        )
    assert fail(MINISIGN, signature, b"\xff").message == "the public key is not text"
    assert fail(MINISIGN, signature, b"!").message == "the public key has a line that is not base64"


def test_signatures_of_minisign_that_are_none() -> None:
    lines = make_signature(MINISIGN, data=DATA, private_key=minisign_private()).split(b"\n")[:4]
    crlf = b"\r\n".join(lines)
    verify_signature(MINISIGN, data=DATA, signature=crlf, public_key=minisign_public())
    four = "not a signature of minisign: four lines were expected"
    kind = "not a signature of minisign: its second line is of an unknown kind"
    raw = base64.b64decode(lines[1])
    cases = [
        (lines[:3], four),
        ([*lines, b"x"], four),
        ([b"comment: x", *lines[1:]], four),
        ([*lines[:2], b"trusted comment:x", lines[3]], four),
        ([lines[0], base64.b64encode(b"EX" + raw[2:]), *lines[2:]], kind),
        ([lines[0], base64.b64encode(raw + b"x"), *lines[2:]], kind),
        ([lines[0], b"!", *lines[2:]], "the signature has a line that is not base64"),
        ([*lines[:3], b"!"], "the signature has a line that is not base64"),
        ([b"\xff"], "the signature is not text"),
    ]
    for bad, words in cases:
        assert fail(MINISIGN, b"\n".join(bad), minisign_public()).message == words


def test_another_key_of_minisign_is_told_by_its_id() -> None:
    signature = make_signature(MINISIGN, data=DATA, private_key=minisign_private())
    other = Minisign()
    shown = base64.b64decode(other.public().splitlines()[1])[2:10][::-1].hex().upper()
    error = fail(MINISIGN, signature, other.public())
    assert error.message == f"signed by the key 0706050403020100, and the pinned one is {shown}"
    assert error.hint == "if the publisher changed keys, pin the new one"
    assert fail(MINISIGN, signature, minisign_public(), b"other").message == (
        "not what the key 0706050403020100 signed"
    )


@pytest.mark.parametrize(
    ("comment", "seconds"),
    [
        (b"timestamp:7", 7),
        (b"file:x\ttimestamp:7\thashed", 7),
        (b"timestamp:99999999999", 99999999999),
        (b"timestamp:999999999990", None),
        (b"xtimestamp:7", None),
        (b"file:x timestamp:7", None),
        (b"timestamp:7 hashed", None),
        (b"timestamp:", None),
        (b"", None),
    ],
)
@pytest.mark.parametrize("hashed", [True, False])
def test_when_minisign_signed(comment: bytes, seconds: int | None, hashed: bool) -> None:
    key = Minisign(hashed=hashed)
    signature = key.sign(DATA, comment)
    assert verify_signature(MINISIGN, data=DATA, signature=signature, public_key=key.public()) == seconds


PUBLISHED_KEY = b"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
PUBLISHED_SIGNATURE = b"""untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
"""
"""Of the file ``test``, by minisign's author (https://github.com/jedisct1/rust-minisign-verify, README)."""


def test_what_minisign_itself_signed() -> None:
    assert minisign.verify(b"test", PUBLISHED_SIGNATURE, PUBLISHED_KEY) == 1556193335
    for data, signature in (
        (b"Test", PUBLISHED_SIGNATURE),
        (b"test", PUBLISHED_SIGNATURE.replace(b"1556193335", b"1556193336")),
    ):
        with pytest.raises(SignatureError, match=r"^not what the key E7620F1842B4E81F signed$"):
            minisign.verify(data, signature, PUBLISHED_KEY)


def test_what_is_signed_here_names_no_time() -> None:
    signature = minisign.sign(DATA, minisign_private())
    assert minisign.verify(DATA, signature, minisign_public()) is None
