"""What is signed has one signature in one form, and no key is one for which anybody can sign."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.signing import Minisign, make

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError, verify_signature

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"0" * 64 + b"  archive.tar.gz\n"

# Edwards25519 as RFC 8032 has it (section 5.1), in slow and plain arithmetic: the peer of the table tested.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
IDENTITY = (0, 1)
BASE_Y = 4 * pow(5, -1, P) % P

Point = tuple[int, int]


def find_x(y: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for x in (root, root * pow(2, (P - 1) // 4, P) % P):
        if x * x % P == square:
            return x
    return None


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def multiply(number: int, point: Point) -> Point:
    result = IDENTITY
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def find_small_order() -> set[Point]:
    """The eight points whose order divides 8: what is left of any point times the large order."""
    found: set[Point] = set()
    y = 2
    while len(found) < 8:
        if (x := find_x(y)) is not None:
            left = multiply(L, (x, y))
            found |= {multiply(number, left) for number in range(8)}
        y += 1
    return found


def list_encodings(point: Point) -> list[bytes]:
    """Each way to write a point in 32 bytes that OpenSSL may read as it."""
    x, y = point
    signs = (0, 1) if x == 0 else (x & 1,)
    forms = [form for form in (y, y + P) if form < 1 << 255]
    return [(form | sign << 255).to_bytes(32, "little") for form in forms for sign in signs]


SMALL = [raw for point in sorted(find_small_order()) for raw in list_encodings(point)]


def write_public(form: SignatureFormat, raw: bytes) -> bytes:
    key = Ed25519PublicKey.from_public_bytes(raw)
    if form is SignatureFormat.MINISIGN:
        return base64.b64encode(b"Ed" + bytes(8) + raw)
    if form is SignatureFormat.OPENSSH:
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def pack(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def armour(body: bytes) -> bytes:
    lines = b"-----BEGIN SSH SIGNATURE-----\n%b\n-----END SSH SIGNATURE-----\n"
    return lines % base64.b64encode(body)


def unarmour(signature: bytes) -> bytes:
    return base64.b64decode(b"".join(signature.splitlines()[1:-1]))


def split(packed: bytes) -> list[bytes]:
    fields = []
    while packed:
        size = int.from_bytes(packed[:4], "big")
        fields.append(packed[4 : 4 + size])
        packed = packed[4 + size :]
    return fields


def write_signature(form: SignatureFormat, raw: bytes, public: bytes) -> bytes:
    """A signature's file; of minisign and OpenSSH for a ``raw`` that is one of anything."""
    if form is SignatureFormat.MINISIGN:
        lines = (b"untrusted comment: x", base64.b64encode(b"ED" + bytes(8) + raw), b"trusted comment: x")
        return b"\n".join((*lines, base64.b64encode(raw)))
    if form is SignatureFormat.OPENSSH:
        fields = (pack(b"ssh-ed25519", public), b"file", b"", b"sha512", pack(b"ssh-ed25519", raw))
        return armour(b"SSHSIG" + (1).to_bytes(4, "big") + pack(*fields))
    return raw


def test_there_are_eight_points_of_small_order() -> None:
    assert len(find_small_order()) == 8
    assert len(SMALL) == 14


@pytest.mark.parametrize("form", SignatureFormat)
@pytest.mark.parametrize("public", SMALL, ids=bytes.hex)
def test_a_key_for_which_anybody_can_sign(form: SignatureFormat, public: bytes) -> None:
    # R = B and S = 1: right for whatever data where the key is the identity, for one in 2, 4 or 8 elsewhere.
    base = BASE_Y.to_bytes(32, "little")
    signature = write_signature(form, base + (1).to_bytes(32, "little"), public)
    key = write_public(form, public)
    with pytest.raises(SignatureError, match="anybody could sign for it"):
        verify_signature(form, data=DATA, signature=signature, public_key=key)


def test_openssl_takes_such_a_signature() -> None:
    """Why the keys above are looked at here."""
    base = BASE_Y.to_bytes(32, "little")
    identity = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    identity.verify(base + (1).to_bytes(32, "little"), b"anything")


@pytest.mark.parametrize("form", SignatureFormat)
@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("more", [2, 3, 18])
def test_a_key_that_is_not_written_in_its_one_form(form: SignatureFormat, more: int, sign: int) -> None:
    public = (P + more | sign << 255).to_bytes(32, "little")
    with pytest.raises(SignatureError, match="anybody could sign for it"):
        verify_signature(
            form,
            data=DATA,
            signature=write_signature(form, bytes(64), public),
            public_key=write_public(form, public),
        )


def test_a_signature_in_another_form() -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = key.sign(DATA)
    verify_signature(SignatureFormat.OPENSSL, data=DATA, signature=signature, public_key=public)
    number = int.from_bytes(signature[32:], "little")
    for other in (
        signature[:32] + (number + L).to_bytes(32, "little"),
        *(raw + signature[32:] for raw in SMALL),
        signature + b"\0",
        signature[:63],
    ):
        with pytest.raises(SignatureError, match="not what the pinned key signed"):
            verify_signature(SignatureFormat.OPENSSL, data=DATA, signature=other, public_key=public)


@pytest.mark.parametrize("kind", ["openssh ed25519", "openssh ecdsa", "openssh rsa"])
def test_nothing_can_be_added_to_a_signature_of_openssh(kind: str, tmp_path: Path) -> None:
    form, public, sign = make(kind, tmp_path / "ours")
    signature = sign(DATA)
    head, fields = unarmour(signature)[:10], split(unarmour(signature)[10:])
    assert unarmour(signature) == head + pack(*fields)
    verify_signature(form, data=DATA, signature=armour(head + pack(*fields)), public_key=public)
    algorithm, raw = split(fields[4])
    longer = [
        head + pack(*fields) + b"x",
        head + pack(*fields, b""),
        head + pack(*fields[:4], fields[4] + b"x"),
        head + pack(*fields[:4], fields[4] + pack(b"")),
        head + pack(*fields[:4], pack(algorithm, raw + b"x")),
        head + pack(*fields[:4], pack(algorithm, b"\0" + raw)),
    ]
    if kind == "openssh ecdsa":
        r, s = split(raw)
        longer += [
            head + pack(*fields[:4], pack(algorithm, pack(b"\0" + r, s))),
            head + pack(*fields[:4], pack(algorithm, pack(r, s, b""))),
            head + pack(*fields[:4], pack(algorithm, pack(b"", s))),
        ]
    for body in longer:
        with pytest.raises(SignatureError):
            verify_signature(form, data=DATA, signature=armour(body), public_key=public)


def test_base64_has_one_form() -> None:
    key = Minisign()
    lines = key.sign(DATA).splitlines()
    # 74 bytes: the last digit before the = has two bits that say nothing.
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = digits.index(lines[1][-2:-1])
    assert lines[1].endswith(b"=")
    assert last % 4 == 0
    lines[1] = lines[1][:-2] + digits[last + 1 : last + 2] + b"="
    with pytest.raises(SignatureError, match="not base64"):
        verify_signature(
            SignatureFormat.MINISIGN, data=DATA, signature=b"\n".join(lines), public_key=key.public()
        )
