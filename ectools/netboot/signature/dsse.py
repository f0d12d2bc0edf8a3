"""DSSE: a text and its signature in one file, which can be replaced whole (secure-systems-lab/dsse, v1.0).

What is signed says of which kind the text is (PAE), so that no signature of one kind is that of another, nor
of published sums. ``sig`` is, in base64, what the publisher's program writes: OpenSSL's signature itself, the
file of minisign or OpenSSH.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError
from ectools.files import parse_json
from ectools.netboot.signature import (
    MAX_SIGNATURE_BYTES,
    SignatureError,
    decode_base64,
    make_signature,
    verify_signature,
)

if TYPE_CHECKING:
    from ectools.netboot.settings.model import SignatureFormat

_MAX_SIGNATURES = 8


def encode_pae(kind: str, payload: bytes) -> bytes:
    """What is signed of a payload of this type ("PAE Definition" of the protocol)."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def seal_envelope(kind: str, payload: bytes, *, form: SignatureFormat, private_key: bytes) -> bytes:
    """The envelope of a payload, on one line; the same for the same. Raises SignatureError."""
    signature = make_signature(form, data=encode_pae(kind, payload), private_key=private_key)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope).encode() + b"\n"


def open_envelope(data: bytes, kind: str, *, form: SignatureFormat, public_key: bytes, where: str) -> bytes:
    """The payload, which one of the envelope's signatures is of, by this key. Raises SignatureError."""
    payload, signatures = _parse(data, kind, where)
    refused = None
    for signature in signatures:
        try:
            verify_signature(form, data=encode_pae(kind, payload), signature=signature, public_key=public_key)
        except SignatureError as error:
            refused = refused or error
        else:
            return payload
    reason = "it has none" if refused is None else refused.message
    raise SignatureError(f"{where}: is not signed by the pinned key: {reason}") from refused


def _parse(data: bytes, kind: str, where: str) -> tuple[bytes, list[bytes]]:
    bad = SignatureError(f"{where}: is no DSSE envelope of {kind}")
    try:
        raw: Any = parse_json(data, where=where)
        if raw["payloadType"] != kind:
            raise bad
        found = raw["signatures"]
        if not isinstance(found, list) or len(found) > _MAX_SIGNATURES:
            raise bad
        signatures = [decode_base64(each["sig"].encode()) for each in found]
        payload = decode_base64(raw["payload"].encode())
    except (InputError, AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise bad from error
    if any(len(each) > MAX_SIGNATURE_BYTES for each in signatures):
        raise bad
    return payload, signatures
