"""How a boot host reaches NATS: servers, bucket, and by which right, as one file says it.

The file has one of these forms: a ``.creds`` file of nsc (a JWT and its nkey seed, each between dashed
lines); an nkey seed (a line that begins with ``SU``); two lines, ``user=NAME`` and ``password=PASSWORD``; or
a token, any other line. https://docs.nats.io/using-nats/developer/connecting
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

NATS_CREDENTIALS = "state-credentials"
"""Name of systemd's credential with the right to use the shared state."""
MAX_CREDENTIAL_BYTES = 16 << 10
_JWT_BEGIN = "-----BEGIN NATS USER JWT-----"
_SEED = re.compile(r"SU[A-Z2-7]{50,64}")


@dataclass(frozen=True, kw_only=True)
class NatsAddress:
    """``servers``: URLs of one cluster, ``nats://HOST:PORT`` or ``tls://HOST:PORT``; ``bucket``: its name.

    ``ca_file`` None: what the system trusts is enough. ``credentials_file`` None: whoever comes is let in.
    """

    servers: tuple[str, ...]
    bucket: str
    ca_file: Path | None = None
    credentials_file: Path | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether all that is said goes over TLS."""
        return self.ca_file is not None or any(each.startswith("tls:") for each in self.servers)


@dataclass(frozen=True, kw_only=True)
class NatsCredentials:
    """Arguments of nats-py's ``connect``; never shown."""

    arguments: dict[str, Any] = field(repr=False)


NO_CREDENTIALS = NatsCredentials(arguments={})


def parse_nats_credentials(text: str, *, option: str) -> NatsCredentials:
    """Raises InputError, which shows nothing of it; ``option`` names the file's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if _JWT_BEGIN in lines:
        # nats-py reads a string of this class as the file's text, and any other as its name.
        from nats.aio.client import RawCredentials

        return NatsCredentials(arguments={"user_credentials": RawCredentials(text)})
    if len(lines) == 1 and _SEED.fullmatch(lines[0]):
        return NatsCredentials(arguments={"nkeys_seed_str": lines[0]})
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    if len(lines) == 2 and fields.keys() == {"user", "password"}:
        return NatsCredentials(arguments=fields)
    if len(lines) == 1 and lines[0].isprintable():
        return NatsCredentials(arguments={"token": lines[0]})
    raise InputError(
        f"{option}: the file is none that NATS's credentials stand in",
        hint="a .creds file, an nkey seed, the lines user=NAME and password=PASSWORD, or a token on one line",
    )


def build_tls(address: NatsAddress) -> ssl.SSLContext | None:
    """What trusts the servers; None where nothing is encrypted. Raises InputError."""
    if not address.is_encrypted:
        return None
    try:
        return ssl.create_default_context(cafile=address.ca_file)
    except OSError as error:
        raise InputError(
            f"{address.ca_file}: cannot be used as a certificate authority's file: {error}"
        ) from error
