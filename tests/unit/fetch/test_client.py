"""GET over real sockets: which requests are made, how often, with which headers; and what failures say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.forge import Forge, body, hangs_up, redirect, start_forge, status, whole

from ectools import __version__
from ectools.fetch.client import (
    FetchError,
    HttpClient,
    TransientError,
    read_steadily,
    url_origin,
)
from ectools.fetch.rejection import Rejection, RejectionKind
from ectools.fetch.retry import RetryPolicy

if TYPE_CHECKING:
    from support.clock import Clock
    from support.forge import Answer

pytestmark = pytest.mark.usefixtures("any_query", "clock")

RETRY = RetryPolicy(attempts=3, first_wait=4, longest_wait=4, longest_retry_after=30)


def client(forge: Forge, **options: Any) -> HttpClient:
    return HttpClient(forge.url, retry=RETRY, **options)


def read(forge: Forge, *answers: Answer, limit: int = 100, size: int | None = None, **options: Any) -> bytes:
    """What the client reads of ``/file``, to the requests for which the forge answers so."""
    forge.answers["/file"] = list(answers)
    return client(forge, **options).read(f"{forge.url}/file?key=hidden", limit=limit, what="it", size=size)


def fail(forge: Forge, *answers: Answer, **options: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        read(forge, *answers, **options)
    assert "hidden" not in caught.value.render()
    return caught.value


def test_a_document_is_read_up_to_its_limit(forge: Forge) -> None:
    assert read(forge, body(b"x" * 100)) == b"x" * 100
    assert read(forge, body(b"x" * 100), size=100) == b"x" * 100
    error = fail(forge, body(b"x" * 101))
    assert error.message == f"{forge.url}/file: it is larger than 100 bytes: not read further"


def test_a_document_is_as_long_as_announced(forge: Forge) -> None:
    assert fail(forge, body(b"x" * 9), size=10).message == (
        f"{forge.url}/file: is 9 bytes long, and 10 were announced"
    )
    assert fail(forge, body(b"x" * 11), size=10).message == (
        f"{forge.url}/file: longer than the 10 bytes that were announced"
    )


def test_what_is_asked_for(forge: Forge) -> None:
    forge.answers["/file"] = [redirect("/there")]
    forge.answers["/there"] = [body(b"packed", Content_Encoding="gzip")]
    made = client(forge, authorization="token s")
    with made.open(f"{forge.url}/file", headers={"Range": "bytes=5-"}) as response:
        # As it is, whatever the server says of it.
        assert b"".join(read_steadily(response, "x", RETRY, size=None)) == b"packed"
    assert response.closed
    for path in ("/file", "/there"):
        (headers,) = forge.asked(path)
        assert headers == {
            "Host": forge.url.removeprefix("http://"),
            "User-Agent": f"ectools/{__version__}",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "Range": "bytes=5-",
            "Authorization": "token s",
        }


def test_without_a_token_there_is_no_header_of_it(forge: Forge) -> None:
    read(forge, body(b"x"))
    assert "Authorization" not in forge.asked("/file")[0]


def test_only_statuses_that_were_asked_for_are_given(forge: Forge) -> None:
    forge.answers["/file"] = [status(206)]
    with client(forge).open(f"{forge.url}/file", accept=(200, 206)) as response:
        assert response.status == 206
    assert fail(forge, status(206)).message == f"{forge.url}/file: status 206"


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_work_later_is_tried_again(
    code: int, forge: Forge, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(forge, status(code), status(code, Retry_After="7"), body(b"x")) == b"x"
    assert len(forge.asked("/file")) == 3
    assert 3 <= clock.slept[0] <= 5
    assert clock.slept[1:] == [7]
    fields = [record.__dict__["fields"] for record in caplog.records]
    assert caplog.messages == ["trying again"] * 2
    assert fields == [
        {
            "reason": f"{forge.url}/file: status {code}",
            "attempt": number,
            "wait_seconds": round(clock.slept[number - 2], 1),
        }
        for number in (2, 3)
    ]


def test_attempts_in_a_row_are_counted(forge: Forge, clock: Clock) -> None:
    error = fail(forge, status(503))
    assert error.message == f"{forge.url}/file: status 503; given up after 3 attempts in a row"
    assert not isinstance(error, TransientError)
    assert error.status == 503
    assert (len(forge.asked("/file")), len(clock.slept)) == (3, 2)


def test_a_wait_that_is_too_long_is_the_end(forge: Forge, clock: Clock) -> None:
    assert read(forge, status(503, Retry_After="30"), body(b"x")) == b"x"
    assert clock.slept == [30]
    error = fail(forge, status(429, Retry_After="31"), body(b"x"))
    assert error.message == f"{forge.url}/file: status 429; it asks to wait 31 s"
    assert error.status == 429
    assert clock.slept == [30]


def test_a_connection_that_ends_is_tried_again(forge: Forge) -> None:
    answers = [hangs_up, whole(b"x" * 5, length=10), body(b"x" * 10)]
    assert read(forge, *answers) == b"x" * 10
    assert fail(forge, whole(b"x" * 5, length=12)).message == (
        f"{forge.url}/file: the connection ended 7 bytes too early; given up after 3 attempts in a row"
    )


# Status → what is said of the token's request, and of one without.
REJECTIONS = {
    401: ("the token is refused (status 401)", "a request without a token is refused (status 401)"),
    403: (
        "the token may not read this (status 403)",
        "a request without a token may not read this (status 403)",
    ),
    404: ("not found (status 404)", "not found (status 404)"),
    410: ("status 410", "status 410"),
    501: ("status 501", "status 501"),
}


@pytest.mark.parametrize("code", REJECTIONS)
def test_a_rejection_has_the_callers_hint(code: int, forge: Forge, clock: Clock) -> None:
    asked: list[Rejection] = []

    def advise(rejection: Rejection) -> str:
        asked.append(rejection)
        return "do this"

    tokened, bare = REJECTIONS[code]
    error = fail(forge, status(code), authorization="token s", advise=advise)
    assert (error.message, error.hint, error.status) == (f"{forge.url}/file: {tokened}", "do this", code)
    assert fail(forge, status(code), advise=advise).message == f"{forge.url}/file: {bare}"
    with start_forge() as other:
        other.answers["/there"] = [status(code)]
        error = fail(forge, redirect(f"{other.url}/there"), authorization="token s", advise=advise)
        assert error.message == f"{other.url}/there: {bare}"
    assert asked == [
        Rejection(kind=RejectionKind.STATUS, status=code, has_token=True, at_home=True),
        Rejection(kind=RejectionKind.STATUS, status=code, has_token=False, at_home=True),
        Rejection(kind=RejectionKind.STATUS, status=code, has_token=True, at_home=False),
    ]
    assert fail(forge, status(code)).hint is None
    assert clock.slept == []


def test_a_proxy_that_wants_a_password_is_not_the_callers(forge: Forge) -> None:
    error = fail(forge, status(407), advise=lambda _rejection: "do this")
    assert "names the proxy, its user and password before its host" in str(error.hint)


def test_where_the_host_is_encrypted_nothing_is_asked_for_without(forge: Forge) -> None:
    asked: list[Rejection] = []
    made = HttpClient("https://forge.example", retry=RETRY, advise=lambda it: asked.append(it) or "do this")  # type: ignore[func-returns-value]
    with pytest.raises(FetchError) as caught:
        made.read(f"{forge.url}/file?key=hidden", limit=1, what="it")
    assert caught.value.message == (
        f"{forge.url}/file: is not encrypted, and forge.example is asked over https: not fetched"
    )
    assert caught.value.hint == "do this"
    assert asked == [Rejection(kind=RejectionKind.UNENCRYPTED, has_token=False, at_home=False)]
    assert forge.seen == []


def test_eight_redirects_are_followed_and_no_more(forge: Forge) -> None:
    for number in range(1, 9):
        forge.answers[f"/{number}"] = [redirect(f"/{number + 1}")]
    forge.answers["/8"] = [body(b"x")]
    assert read(forge, redirect("/1")) == b"x"
    forge.answers["/8"] = [redirect("/9?key=hidden")]
    error = fail(forge, redirect("/1"))
    assert error.message == (
        f"{forge.url}/8: redirects to {forge.url}/9: redirects in a circle, or more than 8"
    )
    assert forge.asked("/9") == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_each_redirect_may_be_relative(code: int, forge: Forge) -> None:
    forge.answers["/there"] = [body(b"x")]
    assert read(forge, redirect("there", code)) == b"x"


@pytest.mark.parametrize("code", [300, 304, 305, 306])
def test_what_is_no_redirect_is_not_followed(code: int, forge: Forge) -> None:
    forge.answers["/there"] = [body(b"x")]
    assert fail(forge, redirect("/there", code)).message == f"{forge.url}/file: status {code}"


def test_a_redirect_that_leads_nowhere(forge: Forge) -> None:
    error = fail(forge, status(302))
    assert (error.message, error.status) == (f"{forge.url}/file: redirects to nowhere", 302)
    assert fail(forge, redirect("http://[x")).message.startswith(f"{forge.url}/file: redirects to no URL: ")
    error = fail(forge, redirect("ftp://other.example/there"))
    assert error.message == (
        f"{forge.url}/file: redirects to ftp://other.example/there, which is not followed: "
        "not an address of the form http(s)://HOST/…"
    )
    assert fail(forge, redirect("/file?key=hidden")).message == (
        f"{forge.url}/file: redirects to {forge.url}/file: redirects in a circle, or more than 8"
    )


def test_what_an_origin_is() -> None:
    assert url_origin("http://forge.example/x") == ("http", "forge.example", 80)
    assert url_origin("https://Forge.Example") == ("https", "forge.example", 443)
    assert url_origin("https://forge.example:8443/") == ("https", "forge.example", 8443)
    assert url_origin("https://[2001:db8::1]") == ("https", "2001:db8::1", 443)
    start = "http://forge.example/"
    assert url_origin(start + "x" * (4096 - len(start)))
    with pytest.raises(FetchError, match=r"^longer than 4096 characters$"):
        url_origin(start + "x" * (4097 - len(start)))
    with pytest.raises(FetchError, match=r"^not a URL: Port out of range"):
        url_origin("http://forge.example:99999")
    for url in ("ftp://forge.example", "forge.example", "http:///x", "http://user@forge.example", ""):
        with pytest.raises(FetchError, match=r"^not an address of the form http\(s\)://HOST/…$"):
            url_origin(url)


@pytest.mark.parametrize(
    ("home", "url"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:{port}"),
        ("http://localhost:{port}", "http://127.0.0.1:{port}"),
    ],
)
def test_the_token_is_for_one_name_and_port(home: str, url: str, forge: Forge) -> None:
    port = int(forge.url.rpartition(":")[2])
    forge.answers["/file"] = [body(b"x")]
    made = HttpClient(home.format(port=port), authorization="token s", retry=RETRY)
    made.read(f"{url.format(port=port)}/file", limit=1, what="it")
    assert "Authorization" not in forge.asked("/file")[0]
    assert HttpClient(forge.url, authorization="token s", retry=RETRY).read(
        f"{forge.url}/file", limit=1, what="it"
    )
    assert forge.asked("/file")[1]["Authorization"] == "token s"
