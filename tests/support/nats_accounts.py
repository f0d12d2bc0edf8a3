"""Keys, users and certificates for a NATS server: as nsc makes them, and an administrator of a private CA."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class NatsKey:
    """``seed`` is the secret; ``public`` names whoever has it."""

    seed: str
    public: str

    def sign(self, data: bytes) -> bytes:
        signature = nkeys.from_seed(self.seed.encode()).sign(data)
        assert isinstance(signature, bytes)
        return signature


def make_key(kind: int) -> NatsKey:
    """``kind``: one of nkeys' prefix bytes."""
    seed = nkeys.encode_seed(os.urandom(32), kind)
    return NatsKey(seed=seed.decode(), public=nkeys.from_seed(seed).public_key.decode())


def make_user_key() -> NatsKey:
    return make_key(nkeys.PREFIX_BYTE_USER)


@dataclass(frozen=True, kw_only=True)
class NatsAccounts:
    """``configuration`` is the server's; ``credentials`` a user's ``.creds`` file."""

    configuration: str
    credentials: str


def make_accounts() -> NatsAccounts:
    """An operator, an account that may use JetStream, and a user of it (NATS, "JWT Guide")."""
    operator = make_key(nkeys.PREFIX_BYTE_OPERATOR)
    system, account = (make_key(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(2))
    user = make_user_key()
    no_limits = {"subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1}
    store = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    operator_jwt = _issue(operator, operator, "operator", {"system_account": system.public})
    system_jwt = _issue(operator, system, "account", {"limits": {**no_limits, "wildcards": True}})
    account_jwt = _issue(operator, account, "account", {"limits": {**no_limits, "wildcards": True, **store}})
    user_jwt = _issue(account, user, "user", {"subs": -1, "data": -1, "payload": -1})
    preload = json.dumps({system.public: system_jwt, account.public: account_jwt})
    return NatsAccounts(
        configuration=(
            f"operator: {operator_jwt}\nsystem_account: {system.public}\n"
            f"resolver: MEMORY\nresolver_preload: {preload}\n"
        ),
        credentials=(
            f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        ),
    )


def _issue(issuer: NatsKey, subject: NatsKey, kind: str, nats: dict[str, Any]) -> str:
    """A JWT of NATS's own kind: signed by an nkey, and named by the digest of what it says."""
    claims: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": issuer.public,
        "sub": subject.public,
        "name": kind,
        "nats": {**nats, "type": kind, "version": 2},
    }
    digest = hashlib.sha256(json.dumps(claims).encode()).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    text = b".".join(_encode(json.dumps(each).encode()) for each in (header, claims))
    return b".".join((text, _encode(issuer.sign(text)))).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files in PEM: of a CA, and of a server at 127.0.0.1 with its key."""

    ca: Path
    server: Path
    key: Path

    @property
    def options(self) -> list[str]:
        """The server's."""
        return ["--tls", "--tlscert", str(self.server), "--tlskey", str(self.key)]


def make_certificates(directory: Path, *, address: str = "127.0.0.1") -> Certificates:
    """For two days, the first of which is over."""
    directory.mkdir()
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _certify("Boot CA", "Boot CA", ca_key.public_key(), ca_key, x509.BasicConstraints(True, 0))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    server = _certify("nats", "Boot CA", key.public_key(), ca_key, names)
    made = Certificates(
        ca=directory / "ca.pem", server=directory / "server.pem", key=directory / "server.key"
    )
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.server.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made


def _certify(
    name: str,
    issuer: str,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    issuer_key = signer.public_key()
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        .sign(signer, hashes.SHA256())
    )
