"""Requests that change something: tried again, led nowhere else, and told where they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.depots import start_web_store
from support.fetching import RETRY
from support.forge import redirect, start_forge, status

from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.sending import send

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_proxies")


def test_a_file_is_streamed_and_an_answer_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 300_000)
    with start_web_store() as store:
        client = HttpClient(store.url, retry=RETRY)
        made = send(client, "PUT", f"{store.url}/a", body=tmp_path / "file", accept=(201,))
        assert (made.status, store.objects["/a"]) == (201, b"x" * 300_000)
        got = send(client, "GET", f"{store.url}/a", accept=(200,))
        assert (got.data, got.headers["etag"][:1]) == (b"x" * 300_000, '"')
        assert send(client, "HEAD", f"{store.url}/a", accept=(200,)).data == b""
        with pytest.raises(FetchError, match="status 404"):
            send(client, "GET", f"{store.url}/b", accept=(200,))


def test_a_redirect_is_not_followed_and_what_fails_for_now_is_tried_again() -> None:
    with start_forge() as forge:
        client = HttpClient(forge.url, retry=RETRY)
        forge.answers["/a"] = [redirect(f"{forge.url}/b")]
        with pytest.raises(FetchError, match="redirects a GET, which is not followed"):
            send(client, "GET", f"{forge.url}/a", accept=(200,))
        assert forge.asked("/b") == []
        forge.answers["/c"] = [status(503), status(412)]
        assert send(client, "GET", f"{forge.url}/c", accept=(412,)).status == 412
        forge.answers["/d"] = [status(503)]
        with pytest.raises(FetchError, match="given up after 3 attempts"):
            send(client, "GET", f"{forge.url}/d", accept=(200,))
