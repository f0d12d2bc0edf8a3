"""nats-py's client, which says nothing to a server that does not go on over TLS where it is to.

nats-py itself begins TLS only where the server's first line asks for it, whatever the URL and the arguments
are: by leaving that word out, whoever stands between would be told the credentials. Imported only where
nats-py is there.
"""

from __future__ import annotations

from typing import Any

import nats.errors
from nats.aio.client import Client


class _EncryptedClient(Client):
    _will_encrypt = False

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """What the server says first, in clear; what it is answered has the credentials."""
        if initial_connection:
            self._will_encrypt = bool(info.get("tls_required"))
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        """The answer. It is not made either where another version of nats-py does without the above."""
        if not self._will_encrypt:
            raise nats.errors.Error("the server does not use TLS, which it is to; nothing was said to it")
        return super()._connect_command()


def make_client(*, is_encrypted: bool) -> Client:
    """One that has yet to connect."""
    return _EncryptedClient() if is_encrypted else Client()
