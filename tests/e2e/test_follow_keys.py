"""Which keys a node takes: the same as a boot host, in the forms in which programs write them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import require_tool
from support.signing import Minisign, openssh, openssl

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError, verify_signature

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).parents[2] / "nix/modules/follow-trust.sh"
DATA = b"what is signed"


def is_taken_by_a_node(directory: Path, form: SignatureFormat, key: bytes, signature: bytes) -> bool:
    for name, data in (("key", key), ("data", DATA), ("signature", signature)):
        (directory / name).write_bytes(data)
    return (
        subprocess.run(
            ["bash", "-euc", '. "$1"; is_signed data signature', "bash", SCRIPT],
            cwd=directory,
            env={**os.environ, "FOLLOW_SIGNATURE": form.value, "FOLLOW_KEYS": "key"},
            check=False,
        ).returncode
        == 0
    )


def is_taken_by_a_boot_host(form: SignatureFormat, key: bytes, signature: bytes) -> bool:
    with contextlib.suppress(SignatureError):
        verify_signature(form, data=DATA, signature=signature, public_key=key)
        return True
    return False


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key,
        lambda key: key.splitlines()[-1],
        lambda key: key.replace(b"\n", b"\r\n"),
        lambda key: key + b"\n",
    ],
    ids=["as it is made", "its line alone", "CR LF", "an empty line more"],
)
def test_a_key_of_minisign_in_each_form(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    require_tool("minisign", "Debian: minisign")
    made = Minisign()
    key, form = change(made.public()), SignatureFormat.MINISIGN
    assert is_taken_by_a_boot_host(form, key, made.sign(DATA))
    assert is_taken_by_a_node(tmp_path, form, key, made.sign(DATA))
    other = Minisign().sign(DATA)
    assert not is_taken_by_a_node(tmp_path, form, key, other)
    assert not is_taken_by_a_node(tmp_path, form, b"", made.sign(DATA))


@pytest.mark.parametrize(
    ("form", "kind", "is_good"),
    [
        (SignatureFormat.OPENSSH, "ed25519", True),
        (SignatureFormat.OPENSSH, "rsa", True),
        (SignatureFormat.OPENSSH, "rsa1024", False),
        (SignatureFormat.OPENSSL, "rsa", True),
        (SignatureFormat.OPENSSL, "rsa1024", False),
    ],
)
def test_short_keys_are_taken_by_nobody(
    tmp_path: Path, form: SignatureFormat, kind: str, is_good: bool
) -> None:
    make = openssh if form is SignatureFormat.OPENSSH else openssl
    key, sign = make(tmp_path, kind)
    signature = sign(DATA)
    assert is_taken_by_a_boot_host(form, key, signature) is is_good
    assert is_taken_by_a_node(tmp_path, form, key, signature) is is_good
