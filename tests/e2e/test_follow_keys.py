"""Which keys count: a node that follows takes what its boot server takes, and refuses what that refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.hostile_boot import SCRIPT, Publisher
from support.needs import require_tool

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError, verify_signature

DATA = b"what is signed\n"
MINISIGN, OPENSSH, OPENSSL = SignatureFormat.MINISIGN, SignatureFormat.OPENSSH, SignatureFormat.OPENSSL


def run(*argv: str | Path) -> bytes:
    require_tool(str(argv[0]), f"install {argv[0]}")
    return subprocess.run(argv, capture_output=True, check=True).stdout


def use_minisign(_: Path, change: bytes = b"%b\n%b\n") -> tuple[bytes, bytes]:
    publisher = Publisher(MINISIGN)
    comment, line = publisher.public.splitlines()
    return (change % (comment, line) if b"%" in change else line + change), publisher.sign(DATA)


def use_openssh(directory: Path, *kind: str) -> tuple[bytes, bytes]:
    key, file = directory / "key", directory / "data"
    file.write_bytes(DATA)
    run("ssh-keygen", "-q", "-N", "", "-C", "somebody", "-f", key, *kind)
    run("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", key, file)
    return key.with_suffix(".pub").read_bytes(), Path(f"{file}.sig").read_bytes()


def use_openssl(directory: Path, *kind: str) -> tuple[bytes, bytes]:
    key, file, public, signature = (directory / name for name in ("key", "data", "public", "signature"))
    file.write_bytes(DATA)
    run("openssl", "genpkey", "-out", key, "-algorithm", *kind)
    run("openssl", "pkey", "-in", key, "-pubout", "-out", public)
    if kind[0] == "ED25519":
        run("openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", file, "-out", signature)
    else:
        run("openssl", "dgst", "-sha256", "-sign", key, "-out", signature, file)
    return public.read_bytes(), signature.read_bytes()


def is_taken_by_node(
    directory: Path, form: SignatureFormat, public: bytes, signature: bytes, data: bytes = DATA
) -> bool:
    for name, text in (("k", public), ("d", data), ("s", signature)):
        (directory / name).write_bytes(text)
    node = f'FOLLOW_KEYS=k FOLLOW_SIGNATURE={form}; source "$1" && is_signed d s'
    argv = ["bash", "-euo", "pipefail", "-c", node, "node", str(SCRIPT.with_name("follow-trust.sh"))]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode == 0


def is_taken_by_boot_host(form: SignatureFormat, public: bytes, signature: bytes) -> bool:
    try:
        verify_signature(form, data=DATA, signature=signature, public_key=public)
    except SignatureError:
        return False
    return True


KEYS = {
    "minisign": (MINISIGN, use_minisign, (), True),
    "minisign, its line alone": (MINISIGN, use_minisign, (b"",), True),
    "minisign, of Windows": (MINISIGN, use_minisign, (b"%b\r\n%b\r\n",), True),
    "OpenSSH, Ed25519": (OPENSSH, use_openssh, ("-t", "ed25519"), True),
    "OpenSSH, ECDSA": (OPENSSH, use_openssh, ("-t", "ecdsa"), True),
    "OpenSSH, RSA": (OPENSSH, use_openssh, ("-t", "rsa", "-b", "2048"), True),
    "OpenSSH, RSA of 1024 bits": (OPENSSH, use_openssh, ("-t", "rsa", "-b", "1024"), False),
    "OpenSSL, Ed25519": (OPENSSL, use_openssl, ("ED25519",), True),
    "OpenSSL, ECDSA": (OPENSSL, use_openssl, ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), True),
    "OpenSSL, RSA": (OPENSSL, use_openssl, ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"), True),
    "OpenSSL, RSA of 1024 bits": (OPENSSL, use_openssl, ("RSA", "-pkeyopt", "rsa_keygen_bits:1024"), False),
    "OpenSSL, RSA-PSS": (OPENSSL, use_openssl, ("RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"), False),
}


@pytest.mark.parametrize("name", KEYS)
def test_node_and_boot_host_take_the_same_keys(name: str, tmp_path: Path) -> None:
    form, use, kind, counts = KEYS[name]
    public, signature = use(tmp_path, *kind)  # type: ignore[operator]
    assert is_taken_by_boot_host(form, public, signature) is counts
    assert is_taken_by_node(tmp_path, form, public, signature) is counts
    assert not is_taken_by_node(tmp_path, form, public, signature, data=b"what is not signed\n")
