"""What somebody has built again: an in-toto Statement (v1) of a system's store paths, signed (DSSE).

Its subject is the system's own store path, with the hash of its content; its predicate has the flake that it
was built from, and each store path of its closure → the hash of its content, as Nix writes both: ``sha256:``
and base 32, of the path as a NAR. What a key signs here says no more than that its owner's machine had these.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.errors import EcError, InputError
from ectools.files import parse_json
from ectools.netboot.publishing.provenance import STATEMENT_TYPE
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError
from ectools.netboot.signature.dsse import open_envelope, seal_envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://every.channel/netboot/rebuilt/v1"
_DIGEST = "nixNarSha256"
_STORE_PATH = re.compile(r"/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+._?=-]+")
_NAR_HASH = re.compile(r"sha256:[0-9abcdfghijklmnpqrsvwxyz]{52}")
MAX_STATEMENT_BYTES = 64 << 20


class RebuiltError(EcError):
    """A statement is signed, and is none of a rebuilt system."""


@dataclass(frozen=True, kw_only=True)
class RebuiltSystem:
    """A system that was built. ``system`` is its store path; ``hashes``: each path of its closure → its
    NAR's. ``flake`` and ``configuration`` are what it was built from; ``at`` is in seconds since 1970.
    """

    system: str
    hashes: Mapping[str, str]
    flake: str
    configuration: str
    at: int


def seal_rebuilt(rebuilt: RebuiltSystem, *, form: SignatureFormat, private_key: bytes) -> bytes:
    """The statement's file. Raises SignatureError."""
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": rebuilt.system, "digest": {_DIGEST: rebuilt.hashes[rebuilt.system]}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "flake": rebuilt.flake,
            "configuration": rebuilt.configuration,
            "builtAt": rebuilt.at,
            "closure": dict(sorted(rebuilt.hashes.items())),
        },
    }
    payload = json.dumps(statement).encode()
    return seal_envelope(STATEMENT_TYPE, payload, form=form, private_key=private_key)


def open_rebuilt(data: bytes, *, public_key: bytes, where: str) -> RebuiltSystem:
    """The system in a statement's file that the key has signed. Raises SignatureError, RebuiltError."""
    form = find_key_format(public_key)
    payload = open_envelope(data, STATEMENT_TYPE, form=form, public_key=public_key, where=where)
    bad = RebuiltError(
        f"{where}: is signed, and says of no system that it was built again",
        hint="`ectools verify-closure --sign KEY -o FILE` writes such a statement",
    )
    try:
        raw: Any = parse_json(payload, where=where)
        (subject,), predicate = raw["subject"], raw["predicate"]
        rebuilt = RebuiltSystem(
            system=subject["name"],
            hashes=dict(predicate["closure"]),
            flake=predicate["flake"],
            configuration=predicate["configuration"],
            at=predicate["builtAt"],
        )
        is_good = (
            (raw["_type"], raw["predicateType"]) == (_STATEMENT, _PREDICATE)
            and rebuilt.hashes[rebuilt.system] == subject["digest"][_DIGEST]
            and all(map(_STORE_PATH.fullmatch, rebuilt.hashes))
            and all(map(_NAR_HASH.fullmatch, rebuilt.hashes.values()))
            and isinstance(rebuilt.flake, str)
            and isinstance(rebuilt.configuration, str)
            and type(rebuilt.at) is int
        )
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise bad from error
    if not is_good:
        raise bad
    return rebuilt


def find_key_format(public_key: bytes) -> SignatureFormat:
    """Whose a public key is, by how its file begins. Raises SignatureError."""
    text = public_key.lstrip()
    if text.startswith(b"-----BEGIN PUBLIC KEY"):
        return SignatureFormat.OPENSSL
    if text.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return SignatureFormat.OPENSSH
    if text.startswith((b"untrusted comment:", b"RW")):
        return SignatureFormat.MINISIGN
    raise SignatureError(
        "is no public key that is understood here", hint="minisign's, OpenSSH's or OpenSSL's file is"
    )
