"""Keys and signatures as publishers have them: of the real programs where they are there."""

from __future__ import annotations

import base64
import os
import subprocess
from hashlib import blake2b
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.needs import require_tool

from ectools.netboot.settings.model import SignatureFormat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Minisign:
    """A key, as minisign keeps them; ``hashed`` is what it has signed by default since 0.10."""

    def __init__(self, *, hashed: bool = True) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._id = os.urandom(8)
        self._hashed = hashed

    def public(self) -> bytes:
        raw = b"Ed" + self._id + self._key.public_key().public_bytes_raw()
        return b"untrusted comment: minisign public key\n" + base64.b64encode(raw) + b"\n"

    def sign(self, data: bytes, comment: bytes = b"timestamp:1700000000\tfile:SHA256SUMS.txt") -> bytes:
        signed = self._key.sign(blake2b(data).digest() if self._hashed else data)
        raw = (b"ED" if self._hashed else b"Ed") + self._id + signed
        lines = [
            b"untrusted comment: signature from minisign secret key",
            base64.b64encode(raw),
            b"trusted comment: " + comment,
            base64.b64encode(self._key.sign(signed + comment)),
        ]
        return b"\n".join(lines) + b"\n"


def openssl(directory: Path, kind: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    program = require_tool("openssl", "Debian: openssl")
    options = {
        "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "rsa1024": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ed25519": ["-algorithm", "ED25519"],
    }[kind]
    key, data, out = directory / "key.pem", directory / "data", directory / "out"
    subprocess.run([program, "genpkey", *options, "-out", key], check=True, capture_output=True)
    public = subprocess.run([program, "pkey", "-in", key, "-pubout"], check=True, capture_output=True).stdout

    def sign(content: bytes) -> bytes:
        data.write_bytes(content)
        if kind == "ed25519":
            argv = [program, "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", data, "-out", out]
        else:
            argv = [program, "dgst", "-sha256", "-sign", key, "-out", out, data]
        subprocess.run(argv, check=True, capture_output=True)
        return out.read_bytes()

    return public, sign


def openssh(directory: Path, kind: str, namespace: str = "file") -> tuple[bytes, Callable[[bytes], bytes]]:
    program = require_tool("ssh-keygen", "Debian: openssh-client")
    key, data = directory / "id", directory / "data"
    options = {"rsa1024": ["-t", "rsa", "-b", "1024"]}.get(kind, ["-t", kind])
    subprocess.run([program, "-q", *options, "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)

    def sign(content: bytes) -> bytes:
        data.write_bytes(content)
        (directory / "data.sig").unlink(missing_ok=True)
        subprocess.run(
            [program, "-Y", "sign", "-n", namespace, "-f", key, data], check=True, capture_output=True
        )
        return (directory / "data.sig").read_bytes()

    return key.with_suffix(".pub").read_bytes(), sign


def make(kind: str, directory: Path) -> tuple[SignatureFormat, bytes, Callable[[bytes], bytes]]:
    directory.mkdir()
    program, _, variant = kind.partition(" ")
    if program == "minisign":
        key = Minisign(hashed=variant == "hashed")
        return SignatureFormat.MINISIGN, key.public(), key.sign
    build = {"openssl": openssl, "openssh": openssh}[program]
    return SignatureFormat(program), *build(directory, variant)
