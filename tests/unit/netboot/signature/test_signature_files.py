"""The files of each program: what is made, what is taken, and what is said of the rest."""

from __future__ import annotations

import base64
import re
from hashlib import blake2b
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support.signing import Minisign

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import (
    MAX_KEY_BYTES,
    MAX_SIGNATURE_BYTES,
    SUFFIXES,
    SignatureError,
    decode_base64,
    make_signature,
    verify_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

DATA = b"what is signed"
MINISIGN, OPENSSH, OPENSSL = SignatureFormat.MINISIGN, SignatureFormat.OPENSSH, SignatureFormat.OPENSSL
ID = bytes(range(8))
SEED = bytes(range(32))


@pytest.fixture(scope="module")
def weak_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2040)


@pytest.fixture(scope="module")
def good_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def fail(form: SignatureFormat, signature: bytes, public_key: bytes, data: bytes = DATA) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        verify_signature(form, data=data, signature=signature, public_key=public_key)
    return caught.value


def fail_sign(form: SignatureFormat, private_key: bytes) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        make_signature(form, data=DATA, private_key=private_key)
    return caught.value


def test_names_and_sizes() -> None:
    assert SUFFIXES == {MINISIGN: ".minisig", OPENSSH: ".sig", OPENSSL: ".sig"}
    assert (MAX_SIGNATURE_BYTES, MAX_KEY_BYTES) == (65536, 65536)


def test_base64_in_its_one_form() -> None:
    assert decode_base64(b"AAA=") == b"\0\0"
    for wrong in (b"AAB=", b"AAA", b"AA A=", b"AAA=\n", b"AAA==", b"\xff"):
        with pytest.raises(ValueError, match=r"^"):
            decode_base64(wrong)


# minisign


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


# OpenSSH


def ssh_public(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[union-attr]


def ssh_private(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def pack(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def armour(body: bytes) -> bytes:
    return b"-----BEGIN SSH SIGNATURE-----\n" + base64.b64encode(body) + b"\n-----END SSH SIGNATURE-----\n"


def sign_ssh(
    key: Ed25519PrivateKey,
    *,
    namespace: bytes = b"file",
    hash_name: bytes = b"sha512",
    reserved: bytes = b"",
    algorithm: bytes = b"ssh-ed25519",
    head: bytes = b"SSHSIG\0\0\0\1",
) -> bytes:
    """PROTOCOL.sshsig, by hand."""
    from hashlib import new

    digest = new(hash_name.decode(), DATA).digest()
    raw = key.sign(b"SSHSIG" + pack(b"file", reserved, hash_name, digest))
    public = base64.b64decode(ssh_public(key).split()[1])
    return armour(head + pack(public, namespace, reserved, hash_name, pack(algorithm, raw)))


def test_a_signature_of_openssh_is_made_so() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    made = make_signature(OPENSSH, data=DATA, private_key=ssh_private(key))
    assert made.replace(b"\n", b"") == sign_ssh(key).replace(b"\n", b"")
    lines = made.split(b"\n")
    assert (lines[0], lines[-2:]) == (b"-----BEGIN SSH SIGNATURE-----", [b"-----END SSH SIGNATURE-----", b""])
    assert {len(line) for line in lines[1:-3]} == {70}
    assert 0 < len(lines[-3]) <= 70


def test_what_openssh_leaves_open_is_signed_too() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    for signature in (
        sign_ssh(key, hash_name=b"sha256"),
        sign_ssh(key, reserved=b"x"),
        sign_ssh(key).replace(b"\n", b"\r\n"),
        sign_ssh(key) + b"\n \n",
    ):
        verify_signature(OPENSSH, data=DATA, signature=signature, public_key=ssh_public(key) + b" comment")


def test_signatures_of_openssh_that_are_none() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    public = ssh_public(key)
    cases = [
        (sign_ssh(key, namespace=b"git"), "signed for b'git'; the namespace 'file' was expected"),
        (
            sign_ssh(key, hash_name=b"sha1"),
            "made with the hash b'sha1'; sha256 and sha512 are supported",
        ),
        (sign_ssh(key, algorithm=b"x"), "made by a kind of key not supported (b'x')"),
        (sign_ssh(key, head=b"SSHSIG\0\0\0\2"), "not a signature of OpenSSH of version 1"),
        (sign_ssh(key, head=b"SSHSIX\0\0\0\1"), "not a signature of OpenSSH of version 1"),
        (armour(b"SSHSIG\0\0\0\1"), "not a signature of OpenSSH: it is truncated"),
        (armour(b"SSHSIG\0\0\0\1\0\0\0\5four"), "not a signature of OpenSSH: it is truncated"),
        (b"x" + sign_ssh(key), "not a signature of OpenSSH: BEGIN SSH SIGNATURE was expected"),
        (sign_ssh(key) + b"x", "not a signature of OpenSSH: BEGIN SSH SIGNATURE was expected"),
        (
            sign_ssh(key).replace(b"U1NI", b"!"),
            "not a signature of OpenSSH: BEGIN SSH SIGNATURE was expected",
        ),
        (sign_ssh(Ed25519PrivateKey.generate()), "signed by another key than the pinned one"),
    ]
    for signature, words in cases:
        assert fail(OPENSSH, signature, public).message == words
    assert fail(OPENSSH, sign_ssh(key), public, b"other").message == "not what the pinned key signed"
    for wrong in (b"", b"ssh-ed25519", b"ssh-ed25519 AAAA", b"nonsense AAAA"):
        assert fail(OPENSSH, sign_ssh(key), wrong).message == (
            "the pinned public key is not OpenSSH's: a line like `ssh-ed25519 AAAA…` was expected"
        )


def test_rsa_of_openssh(good_rsa: rsa.RSAPrivateKey, weak_rsa: rsa.RSAPrivateKey) -> None:
    from hashlib import sha512

    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    made = make_signature(OPENSSH, data=DATA, private_key=ssh_private(good_rsa))
    verify_signature(OPENSSH, data=DATA, signature=made, public_key=ssh_public(good_rsa))
    weak = make_signature(OPENSSH, data=DATA, private_key=ssh_private(weak_rsa))
    assert fail(OPENSSH, weak, ssh_public(weak_rsa)).message == (
        "made by a kind of key not supported (b'rsa-sha2-512')"
    )
    signed = b"SSHSIG" + pack(b"file", b"", b"sha512", sha512(DATA).digest())
    public = base64.b64decode(ssh_public(good_rsa).split()[1])
    for algorithm, by, fails in (
        (b"rsa-sha2-256", SHA256(), False),
        (b"rsa-sha2-512", SHA512(), False),
        (b"rsa-sha2-512", SHA256(), True),
        (b"ssh-rsa", SHA512(), True),
    ):
        raw = good_rsa.sign(signed, PKCS1v15(), by)
        body = b"SSHSIG\0\0\0\1" + pack(public, b"file", b"", b"sha512", pack(algorithm, raw))
        if fails:
            fail(OPENSSH, armour(body), ssh_public(good_rsa))
        else:
            verify_signature(OPENSSH, data=DATA, signature=armour(body), public_key=ssh_public(good_rsa))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_ecdsa_of_openssh(curve: ec.EllipticCurve) -> None:
    from hashlib import sha512

    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA384

    hashes = {256: SHA256(), 384: SHA384(), 521: SHA512()}
    key = ec.generate_private_key(curve)
    signed = b"SSHSIG" + pack(b"file", b"", b"sha512", sha512(DATA).digest())
    public = base64.b64decode(ssh_public(key).split()[1])

    def mpint(number: int) -> bytes:
        return number.to_bytes(number.bit_length() // 8 + 1, "big")

    def build(algorithm: bytes, size: int, *, pad: bytes = b"") -> bytes:
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes[size])))
        inner = pack(algorithm, pack(pad + mpint(r), mpint(s)))
        return armour(b"SSHSIG\0\0\0\1" + pack(public, b"file", b"", b"sha512", inner))

    name = ssh_public(key).split()[0]
    size = curve.key_size
    verify_signature(OPENSSH, data=DATA, signature=build(name, size), public_key=ssh_public(key))
    other = next(number for number in hashes if number != size)
    assert fail(OPENSSH, build(name, other), ssh_public(key)).message == "not what the pinned key signed"
    assert "is malformed" in fail(OPENSSH, build(name, size, pad=b"\0"), ssh_public(key)).message
    assert (
        "not supported (b'ssh-ed25519')"
        in fail(OPENSSH, build(b"ssh-ed25519", size), ssh_public(key)).message
    )
    # It would differ from run to run.
    assert fail_sign(OPENSSH, ssh_private(key)).message == (
        "the private key is of a kind not supported: Ed25519 and RSA are"
    )


def test_private_keys_of_openssh_that_are_none() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    for wrong in (b"", b"nonsense", pem_private(key)):
        assert fail_sign(OPENSSH, wrong).message == "not a private key of OpenSSH, or an encrypted one"


# OpenSSL


def pem_private(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def pem_public(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


KEYS: dict[str, Callable[[], PrivateKeyTypes]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_of_openssl_is_the_same_twice(kind: str) -> None:
    key = KEYS[kind]()
    one, two = (make_signature(OPENSSL, data=DATA, private_key=pem_private(key)) for _ in range(2))
    assert one == two
    assert verify_signature(OPENSSL, data=DATA, signature=one, public_key=pem_public(key)) is None
    assert fail(OPENSSL, one, pem_public(key), b"other").message == "not what the pinned key signed"
    assert fail(OPENSSL, one, pem_public(KEYS[kind]())).message == "not what the pinned key signed"
    assert fail_sign(OPENSSL, pem_private(key, b"secret")).message == (
        "not a private key in PEM, or an encrypted one"
    )


def test_keys_of_openssl_that_are_none(weak_rsa: rsa.RSAPrivateKey) -> None:
    error = fail(OPENSSL, b"x", b"nonsense")
    assert error.message == "the pinned public key is not PEM: BEGIN PUBLIC KEY was expected"
    assert error.hint == "openssl pkey -in PRIVATE.pem -pubout"
    weak = make_signature(OPENSSL, data=DATA, private_key=pem_private(weak_rsa))
    assert fail(OPENSSL, weak, pem_public(weak_rsa)).message == (
        "the pinned RSA key has 2040 bits; 2048 are needed"
    )
    other = dsa.generate_private_key(1024)
    assert re.fullmatch(
        "the pinned public key is of a kind not supported: RSA, ECDSA, Ed25519 are",
        fail(OPENSSL, b"x", pem_public(other)).message,
    )
    assert fail_sign(OPENSSL, pem_private(other)).message == (
        "the private key is of a kind not supported: RSA, ECDSA, Ed25519 are"
    )
    assert fail_sign(OPENSSL, b"nonsense").message == "not a private key in PEM, or an encrypted one"
