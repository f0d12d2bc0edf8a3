"""Requests that change something: tried again, led nowhere else, and told where they are refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from support.depots import serve_site, start_web_store
from support.fetching import RETRY
from support.forge import redirect, start_forge, status

from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.sending import send

if TYPE_CHECKING:
    from pathlib import Path

    from support.depots import SiteRequest

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


@dataclass
class Refusing:
    """A server that answers everything so."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def answer(self, request: SiteRequest, body: bytes) -> None:
        request.reply(self.status, self.body, self.headers)


SKEWED = (
    b"<Error><Code>RequestTimeTooSkewed</Code><AWSAccessKeyId>hidden-key</AWSAccessKeyId>"
    b"<StringToSign>hidden-key</StringToSign></Error>"
)


@pytest.mark.parametrize(
    ("answer", "said", "hint"),
    [
        (Refusing(403, SKEWED), "may not write this (status 403): RequestTimeTooSkewed", "clock right"),
        (Refusing(400, b"<Code>ExpiredToken</Code>"), "status 400: ExpiredToken", "fetch a new one"),
        (
            Refusing(301, b"<Code>PermanentRedirect</Code>", {"x-amz-bucket-region": "eu-west-1"}),
            "PermanentRedirect, the bucket is in the region eu-west-1",
            "region=NAME",
        ),
        (Refusing(413, b'{"message": "quota\\u001b[1m exceeded"}'), "status 413: quota [1m exceeded", None),
        (Refusing(400, b'{"errors": [{"code": "DENIED"}]}'), "status 400: DENIED", None),
        (Refusing(400, b'{"message": "hidden-key is none"}'), "/a: status 400", None),
        (Refusing(400, b'{"message": ["hidden-key"]}'), "/a: status 400", None),
        (Refusing(400, b"x" * 100_000), "/a: status 400", None),
        (Refusing(403, b"", {"x-ratelimit-remaining": "0"}), "limit of requests is used up", None),
        (
            Refusing(403, b"", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999999"}),
            "it asks to wait",
            None,
        ),
    ],
)
def test_why_it_is_refused_is_said_and_no_secret(answer: Refusing, said: str, hint: str | None) -> None:
    with serve_site(answer):
        client = HttpClient(
            answer.url, authorization="token hidden-key", retry=replace(RETRY, longest_retry_after=1)
        )
        with pytest.raises(FetchError) as caught:
            send(client, "PUT", f"{answer.url}/a", body=b"", accept=(201,))
    assert said in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
    assert "hidden" not in caught.value.render()


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
