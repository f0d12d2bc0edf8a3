"""Why a server refuses something, as it says it: in few words, with what to do, and nothing secret."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from support.depots import serve_site
from support.fetching import RETRY
from urllib3 import HTTPResponse

from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.error_reason import find_limit_end, find_reason
from ectools.fetch.sending import send

if TYPE_CHECKING:
    from support.depots import SiteRequest

pytestmark = pytest.mark.usefixtures("no_proxies")


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


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "+30"}, 31),
        (429, {"x-ratelimit-remaining": "0", "Retry-After": "7"}, 7),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, 60),
        (403, {"x-ratelimit-remaining": "1"}, None),
        (500, {"x-ratelimit-remaining": "0"}, None),
    ],
)
def test_a_used_up_limit_has_an_end(status: int, headers: dict[str, str], seconds: float | None) -> None:
    given = {name: str(int(time.time()) + 30) if value == "+30" else value for name, value in headers.items()}
    found = find_limit_end(HTTPResponse(status=status, headers=given))
    assert (None if found is None else found[1]) == pytest.approx(seconds, abs=3)


def test_what_a_token_may_be_is_left_out() -> None:
    body = b'{"message": "no access for abcdefghijklmnopqrstuvwxyz0123456789 here"}'
    response = HTTPResponse(status=403, body=body, preload_content=False)
    assert find_reason(response) is None or "0123456789" not in str(find_reason(response))
