"""What a server has, held against a hash: a file of any size, of which nothing is kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ectools.fetch.client import TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.fetch.client import HttpClient


def hash_file(client: HttpClient, url: str, *, headers: Mapping[str, str] | None = None) -> str:
    """The SHA-256 of what stands at a URL, in hexadecimal; read again as the client's ``retry`` has it.

    Raises FetchError.
    """
    failures = 0
    while True:
        digest = hashlib.sha256()
        try:
            with client.open(url, headers=headers) as response:
                for part in client.read_body(response, url, size=None, take_page=True):
                    digest.update(part)
        except TransientError as error:
            failures += 1
            client.wait(error, failures)
        else:
            return digest.hexdigest()
