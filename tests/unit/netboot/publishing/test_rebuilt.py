"""Statements of rebuilt systems: what is read again is what was signed, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.rebuilding import HASH, SYSTEM, make_key, make_rebuilt

from ectools.netboot.publishing.provenance import STATEMENT_TYPE
from ectools.netboot.publishing.rebuilt import (
    RebuiltError,
    find_key_format,
    open_rebuilt,
    seal_rebuilt,
)
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError, find_public_key
from ectools.netboot.signature.dsse import open_envelope, seal_envelope

FORM = SignatureFormat.OPENSSL


def test_what_was_signed_is_read_again() -> None:
    private, public = make_key()
    data = seal_rebuilt(make_rebuilt(), form=FORM, private_key=private)
    assert open_rebuilt(data, public_key=public, where="x") == make_rebuilt()
    other = make_key()[1]
    with pytest.raises(SignatureError, match="is not signed by the pinned key"):
        open_rebuilt(data, public_key=other, where="x")


def test_it_is_an_in_toto_statement_of_the_system() -> None:
    private, public = make_key()
    data = seal_rebuilt(make_rebuilt(), form=FORM, private_key=private)
    statement = json.loads(open_envelope(data, STATEMENT_TYPE, form=FORM, public_key=public, where="x"))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": SYSTEM, "digest": {"nixNarSha256": HASH}}]


@pytest.mark.parametrize(
    "change",
    [
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"_type": "x"},
        {"subject": []},
        {"subject": [{"name": SYSTEM, "digest": {"nixNarSha256": "sha256:" + "1" * 52}}]},
        {"subject": [{"name": "/nix/store/x", "digest": {"nixNarSha256": HASH}}]},
        {"predicate": {}},
        {"predicate": {"closure": {SYSTEM: "x"}, "flake": "a", "configuration": "b", "builtAt": 1}},
        {
            "predicate": {
                "closure": {SYSTEM: HASH, "/x": HASH},
                "flake": "a",
                "configuration": "b",
                "builtAt": 1,
            }
        },
        {"predicate": {"closure": {SYSTEM: HASH}, "flake": "a", "configuration": "b", "builtAt": "1"}},
        {"predicate": {"closure": {SYSTEM: HASH}, "flake": 1, "configuration": "b", "builtAt": 1}},
    ],
)
def test_what_is_signed_and_says_something_else(change: dict[str, Any]) -> None:
    private, public = make_key()
    data = seal_rebuilt(make_rebuilt(), form=FORM, private_key=private)
    statement = json.loads(open_envelope(data, STATEMENT_TYPE, form=FORM, public_key=public, where="x"))
    payload = json.dumps(statement | change).encode()
    changed = seal_envelope(STATEMENT_TYPE, payload, form=FORM, private_key=private)
    with pytest.raises(RebuiltError, match="says of no system that it was built again"):
        open_rebuilt(changed, public_key=public, where="x")
    broken = seal_envelope(STATEMENT_TYPE, b"<", form=FORM, private_key=private)
    with pytest.raises(RebuiltError):
        open_rebuilt(broken, public_key=public, where="x")


def test_whose_a_key_is() -> None:
    key = Ed25519PrivateKey.generate()
    ssh = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    assert find_key_format(find_public_key(SignatureFormat.OPENSSH, ssh)) is SignatureFormat.OPENSSH
    assert find_key_format(make_key()[1]) is SignatureFormat.OPENSSL
    assert find_key_format(b"untrusted comment: minisign public key 1\nRWQ\n") is SignatureFormat.MINISIGN
    with pytest.raises(SignatureError, match="is no public key"):
        find_key_format(b"")
