"""OpenSSH's signatures (PROTOCOL.sshsig): what is made, what is taken, and what is told of the rest."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support.signature_cases import DATA, OPENSSH, SEED, fail, fail_sign

from ectools.netboot.signature import (
    SignatureError,
    make_signature,
    openssh,
    verify_signature,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


@pytest.fixture(scope="module")
def weak_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2040)


@pytest.fixture(scope="module")
def good_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


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
    unsupported = b"ssh-xyz " + base64.b64encode(pack(b"ssh-xyz"))
    for wrong in (b"", b"ssh-ed25519", b"ssh-ed25519 AAAA", b"nonsense AAAA", unsupported):
        assert fail(OPENSSH, sign_ssh(key), wrong).message == (
            "the pinned public key is not OpenSSH's: a line like `ssh-ed25519 AAAA…` was expected"
        )


def test_rsa_of_openssh(good_rsa: rsa.RSAPrivateKey, weak_rsa: rsa.RSAPrivateKey) -> None:
    from hashlib import sha512

    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    made = make_signature(OPENSSH, data=DATA, private_key=ssh_private(good_rsa))
    verify_signature(OPENSSH, data=DATA, signature=made, public_key=ssh_public(good_rsa))
    with pytest.raises(SignatureError, match=r"the private RSA key has [0-9]+ bits; 2048 are needed"):
        make_signature(OPENSSH, data=DATA, private_key=ssh_private(weak_rsa))
    signed = b"SSHSIG" + pack(b"file", b"", b"sha512", sha512(DATA).digest())
    for key, algorithm, by, why in (
        (good_rsa, b"rsa-sha2-256", SHA256(), None),
        (good_rsa, b"rsa-sha2-512", SHA512(), None),
        (good_rsa, b"rsa-sha2-512", SHA256(), "not what the pinned key signed"),
        (good_rsa, b"ssh-rsa", SHA512(), "made by a kind of key not supported (b'ssh-rsa')"),
        (weak_rsa, b"rsa-sha2-512", SHA512(), "made by a kind of key not supported (b'rsa-sha2-512')"),
    ):
        public, raw = ssh_public(key), key.sign(signed, PKCS1v15(), by)
        fields = pack(base64.b64decode(public.split()[1]), b"file", b"", b"sha512", pack(algorithm, raw))
        signature = armour(b"SSHSIG\0\0\0\1" + fields)
        if why is None:
            verify_signature(OPENSSH, data=DATA, signature=signature, public_key=public)
        else:
            assert fail(OPENSSH, signature, public).message == why


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
    lines = ssh_private(Ed25519PrivateKey.from_private_bytes(SEED)).split(b"\n")
    other_cipher = base64.b64decode(b"".join(lines[1:-2])).replace(b"none", b"nine", 1)
    unsupported = b"\n".join([lines[0], base64.b64encode(other_cipher), lines[-2], b""])
    for wrong in (b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----", unsupported):
        assert fail_sign(OPENSSH, wrong).message == "not a private key of OpenSSH, or an encrypted one"


RFC_8032_SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
RECORDED = b"""-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgPUAXw+hDiVqStwqnTRt+vJyYLM
8uxJaMwM1V8Sr0ZgwAAAAEZmlsZQAAAAAAAAAGc2hhNTEyAAAAUwAAAAtzc2gtZWQyNTUx
OQAAAEDN8K6+6lVK+X87QqO/289aqP6gaslEJpmkgYNEH3+JRnHbdYUPKlI+Kkxc1ibOYS
b99JiVxTWCGQiqM5V7hp8G
-----END SSH SIGNATURE-----
"""
"""``ssh-keygen -Y sign -n file`` of OpenSSH 9.2, of DATA, with the key of RFC 8032, section 7.1, test 2."""


def test_the_same_bytes_as_ssh_keygen_writes() -> None:
    key = Ed25519PrivateKey.from_private_bytes(RFC_8032_SEED)
    assert openssh.sign(DATA, ssh_private(key)) == RECORDED
    # The comment of an id_….pub file is no part of the key.
    openssh.verify(DATA, RECORDED, ssh_public(key) + b" someone@example.org\n")
    with pytest.raises(SignatureError, match=r"^not what the pinned key signed$"):
        openssh.verify(b"other", RECORDED, ssh_public(key))
    with pytest.raises(SignatureError, match=r"^signed by another key than the pinned one$"):
        openssh.verify(DATA, RECORDED, ssh_public(Ed25519PrivateKey.from_private_bytes(SEED)))
