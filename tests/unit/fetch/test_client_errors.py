"""A server that is slow, and what is told of TLS, of proxies and of whatever urllib3 raises."""

from __future__ import annotations

import ssl
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from urllib3 import HTTPResponse
from urllib3.exceptions import LocationParseError, ProtocolError, SSLError

from ectools.fetch.client import (
    FetchError,
    HttpClient,
    TransientError,
    _start_pool,
    read_steadily,
    translate_errors,
)
from ectools.fetch.retry import RetryPolicy

if TYPE_CHECKING:
    from support.clock import Clock

RETRY = RetryPolicy(attempts=3, first_wait=4, longest_wait=4, longest_retry_after=30)


class Slow(BytesIO):
    """A body that comes in parts, each after so many seconds of ``clock``."""

    def __init__(self, clock: Clock, parts: list[tuple[float, int]]) -> None:
        super().__init__()
        self._clock = clock
        self._parts = parts

    def read1(self, size: int | None = -1, /) -> bytes:
        seconds, count = self._parts.pop(0) if self._parts else (0.0, 0)
        self._clock.sleep(seconds)
        assert size is None or count <= size
        return bytes(count)


@pytest.mark.parametrize(
    ("parts", "slow"),
    [
        # At the limits: 10 s, and 100 bytes a second.
        ([(10, 1000)], False),
        ([(10, 999)], True),
        ([(9.9, 1)], False),
        ([(5, 1), (5, 999)], False),
        ([(5, 1), (5, 998)], True),
        # What came before counts for its own time alone.
        ([(10, 5000), (10, 999)], True),
        ([(10, 1000), (9.9, 1)], False),
        ([(10, 1000), (10, 1000)], False),
        # A pause that is longer is measured as long as it is.
        ([(20, 1999)], True),
        ([(20, 2000)], False),
    ],
)
def test_how_slow_a_server_may_be(parts: list[tuple[float, int]], slow: bool, clock: Clock) -> None:
    retry = replace(RETRY, stall_seconds=10, least_rate=100)
    total = sum(count for _, count in parts)
    response = HTTPResponse(Slow(clock, list(parts)), preload_content=False)
    reader = read_steadily(response, "http://forge.example/x?y", retry, size=None)
    if slow:
        with pytest.raises(
            TransientError, match=r"^http://forge.example/x: sends less than 100 bytes a second$"
        ):
            list(reader)
    else:
        assert sum(map(len, reader)) == total


def test_a_slow_disk_is_not_a_slow_server(clock: Clock) -> None:
    response = HTTPResponse(BytesIO(bytes(3 << 18)), preload_content=False)
    for part in read_steadily(response, "http://forge/file", RetryPolicy(), size=3 << 18):
        assert part
        clock.now += 1000
    assert clock.now > 2000


def test_a_length_and_chunks_are_two_lengths() -> None:
    headers = {"Content-Length": "7", "Transfer-Encoding": "chunked"}
    for given, fails in (
        (headers, True),
        ({"Content-Length": "7"}, False),
        ({"Transfer-Encoding": "x"}, False),
    ):
        response = HTTPResponse(BytesIO(bytes(7)), headers=given, preload_content=False)
        reader = read_steadily(response, "http://forge/file", RetryPolicy(), size=7)
        if fails:
            with pytest.raises(FetchError, match="announces 7 bytes, and then chunks without a number"):
                list(reader)
        else:
            assert b"".join(reader) == bytes(7)


def test_how_long_a_server_has(no_proxies: None) -> None:
    retry = RetryPolicy(connect_seconds=3, stall_seconds=7)
    for proxy in (None, "http://proxy.example:3128"):
        timeout = _start_pool(proxy, retry).connection_pool_kw["timeout"]
        assert (timeout.connect_timeout, timeout.read_timeout) == (3, 7)


@pytest.mark.parametrize(
    ("raised", "hint"),
    [
        (ssl.SSLCertVerificationError("bad"), "SSL_CERT_FILE names a file of others"),
        (ssl.SSLError("bad"), "is this a port of TLS"),
    ],
)
def test_what_is_wrong_with_tls_is_told(raised: ssl.SSLError, hint: str) -> None:
    if isinstance(raised, ssl.SSLCertVerificationError):
        raised.verify_code = 18
    with pytest.raises(FetchError, match=r"^https://forge.example/x: ") as caught:
        with translate_errors("https://forge.example/x?y"):
            raise SSLError(raised) from raised
    assert hint in str(caught.value.hint)
    assert not isinstance(caught.value, TransientError)


@pytest.mark.parametrize("code", [9, 10])
def test_a_certificate_of_another_time_is_told_apart(code: int) -> None:
    """X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)."""
    reason = ssl.SSLCertVerificationError("bad")
    reason.verify_code = code
    with pytest.raises(FetchError) as caught, translate_errors("https://forge.example/x"):
        raise SSLError(reason) from reason
    assert caught.value.hint == "the certificate is not of this time: is this machine's clock right?"


@pytest.mark.parametrize("code", [62, 64])
def test_a_certificate_of_another_name_is_told_apart(code: int) -> None:
    """X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
    reason = ssl.SSLCertVerificationError("bad")
    reason.verify_code = code
    with pytest.raises(FetchError) as caught, translate_errors("https://forge.example/x"):
        raise SSLError(reason) from reason
    assert caught.value.hint == "the certificate is another host's: is the address the one that it is for?"


def test_a_connection_that_ends_in_tls_may_work_later() -> None:
    reason = ssl.SSLEOFError("EOF occurred")
    with pytest.raises(TransientError, match="EOF occurred"), translate_errors("https://forge.example/x"):
        raise SSLError(reason) from reason


def test_errors_say_through_which_proxy() -> None:
    shown = r"^http://forge.example/x \(through the proxy http://proxy.example:3128\): "
    with pytest.raises(TransientError, match=f"{shown}cut$") as caught:
        with translate_errors("http://forge.example/x?y", proxy="http://user:hidden@proxy.example:3128"):
            raise ProtocolError("<object at 0x7>: cut")
    assert "hidden" not in caught.value.message
    with pytest.raises(FetchError, match=f"{shown}Failed to parse: x") as caught_address:
        with translate_errors("http://forge.example/x", proxy="http://proxy.example:3128"):
            raise LocationParseError("x")
    assert caught_address.value.hint == "is the address right, and the proxy's?"
    assert not isinstance(caught_address.value, TransientError)


@pytest.mark.usefixtures("no_proxies", "clock")
@pytest.mark.parametrize(
    "proxy",
    [
        "http://operator:hidden@127.0.0.1:99999",
        "http://operator:hidden/hidden@bad..name",
        "http://operator:hid?hidden@127.0.0.1:0",
        "http://operator:hidden#hidden@127.0.0.1:0",
        "socks5://operator:hidden@127.0.0.1:1",
    ],
)
def test_no_error_holds_the_proxys_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(FetchError, match=r"through the proxy") as caught:
        HttpClient("http://forge.invalid", retry=RETRY).read("http://forge.invalid/x", limit=1, what="it")
    assert "hid" not in caught.value.render()
    assert "operator" not in caught.value.render()
