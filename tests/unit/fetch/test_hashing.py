"""What a server has, held against a hash: in as many attempts as it takes."""

from __future__ import annotations

import hashlib

import pytest
from support.fetching import RETRY
from support.forge import ranged, start_forge, status

from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.hashing import hash_file

pytestmark = pytest.mark.usefixtures("no_proxies")


def test_a_server_that_fails_for_now_is_asked_again_from_the_start() -> None:
    with start_forge() as forge:
        forge.answers["/a"] = [status(503), ranged(b"x" * 300_000)]
        client = HttpClient(forge.url, retry=RETRY)
        assert hash_file(client, f"{forge.url}/a") == hashlib.sha256(b"x" * 300_000).hexdigest()
        assert len(forge.asked("/a")) == 2


def test_what_is_not_there_has_no_hash() -> None:
    with start_forge() as forge, pytest.raises(FetchError, match="404"):
        hash_file(HttpClient(forge.url, retry=RETRY), f"{forge.url}/b")
