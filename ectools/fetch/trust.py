"""Whose certificates are trusted over TLS: those of the system's CAs, and of a private one beside them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import urllib3.util

from ectools.errors import InputError
from ectools.files import FileError, read_input

if TYPE_CHECKING:
    from pathlib import Path

_MAX_CA_BYTES = 4 << 20
_PEM = b"-----BEGIN"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """``context`` None: the system's CAs alone. ``hint``: what to do about a certificate of another one."""

    context: ssl.SSLContext | None
    hint: str


SYSTEM_TRUST = Trust(
    context=None,
    hint="the certificate must be one that this machine trusts; SSL_CERT_FILE names a file of others",
)


def load_trust(ca_file: Path | None, *, option: str) -> Trust:
    """The system's CAs, and those in ``ca_file``: certificates in PEM, or one in DER (X.690).

    ``option`` names the setting in messages. One that is no CA's is trusted by itself. Raises InputError.
    """
    if ca_file is None:
        return Trust(
            context=None,
            hint=f"the certificate must be one that this machine trusts; {option} names a private CA's",
        )
    try:
        data = read_input(ca_file, limit=_MAX_CA_BYTES)
    except FileError as error:
        raise InputError(f"{option}: {error.message}") from error
    context = urllib3.util.create_urllib3_context()
    context.load_default_certs()
    # An intermediate CA's certificate is enough: who gives it means it (as Python does since 3.13).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=data.decode("ascii") if _PEM in data else data)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"{option}: {ca_file}: holds no certificate that can be read: {error}",
            hint="a CA's certificate was expected, in PEM: -----BEGIN CERTIFICATE-----",
        ) from error
    return Trust(
        context=context,
        hint=f"the certificate is of no CA in {ca_file} ({option}), nor of one that this machine trusts",
    )
