"""Who may change something: by the control socket, by the token, by a cookie; and who may not."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import make_mocked_request
from support.fleet_api import NOW, TOKEN

from ectools.netboot.api import guesses
from ectools.netboot.api import rights as module
from ectools.netboot.api.guesses import TooManyTriesError
from ectools.netboot.api.rights import (
    COOKIE,
    SIGNED_IN_SECONDS,
    ForbiddenError,
    SocketRights,
    TokenRights,
)

if TYPE_CHECKING:
    from aiohttp import web

SAME = {"Sec-Fetch-Site": "same-origin"}


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def ask(headers: dict[str, str] | None = None, *, peer: Any = ("192.0.2.9", 1), **fields: str) -> web.Request:
    """A request with these header fields."""

    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return {"peername": peer, "socket": fields.get("socket")}.get(name, default)

    sent = {"Host": "boot.example:9090", **(headers or {})}
    return make_mocked_request("POST", "/x", headers=sent, transport=Transport())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_token() -> None:
    rights = TokenRights([TOKEN, "another-token-of-it"], clock=Clock())
    assert rights.may_sign_in
    for token in (TOKEN, "another-token-of-it"):
        assert rights.require_user(ask(bearer(token))) == "the access token, from 192.0.2.9"
    for headers in ({}, bearer("wrong"), bearer("täu"), {"Authorization": f"Basic {TOKEN}"}, bearer("")):
        assert rights.find_user(ask(headers)) is None
        with pytest.raises(ForbiddenError, match="an access token is needed"):
            rights.require_user(ask(headers))


def test_without_a_token_nobody_may() -> None:
    rights = TokenRights([], clock=Clock())
    assert not rights.may_sign_in
    assert rights.find_user(ask(bearer(""))) is None
    with pytest.raises(ForbiddenError, match="no access token is configured"):
        rights.require_user(ask(bearer("")))
    with pytest.raises(ForbiddenError):
        rights.sign_in(ask(SAME), "")


def test_a_cookie_is_good_for_a_while_and_for_as_long_as_its_token() -> None:
    clock = Clock()
    rights = TokenRights([TOKEN], clock=clock)
    cookie = rights.sign_in(ask(SAME), TOKEN)
    assert TOKEN not in cookie
    signed = {"Cookie": f"{COOKIE}={cookie}"}
    assert rights.require_user(ask({**signed, **SAME})) == "the access token, from 192.0.2.9"
    # One token takes over from another: nobody has to sign in anew for that.
    rights.set_tokens(["the-next-one-of-them", TOKEN])
    assert rights.find_user(ask(signed)) is not None
    rights.set_tokens(["the-next-one-of-them"])
    assert rights.find_user(ask(signed)) is None
    rights.set_tokens([TOKEN])
    clock.now += SIGNED_IN_SECONDS - 1
    assert rights.find_user(ask(signed)) is not None
    clock.now += 1
    assert rights.find_user(ask(signed)) is None


def test_no_token_can_be_tried_by_a_cookie() -> None:
    """Who has the token alone, or guesses it, makes no cookie of it: it would be looked at without a turn."""
    rights, other = (TokenRights([TOKEN], clock=Clock()) for _ in range(2))
    end = int(NOW) + 60
    own = hmac.new(TOKEN.encode(), b"every-channel-access %d" % end, hashlib.sha256).hexdigest()
    for cookie in (f"{end}.{own}", other.sign_in(ask(SAME), TOKEN)):
        assert rights.find_user(ask({"Cookie": f"{COOKIE}={cookie}"})) is None


@pytest.mark.parametrize("value", ["", ".", "1", "x.y", "9" * 30 + ".0", f"{int(NOW) + 60}.0", "²3.x", "1.ü"])
def test_what_is_no_cookie_of_ours(value: str) -> None:
    rights = TokenRights([TOKEN], clock=Clock())
    request = ask({"Cookie": f"{COOKIE}={value}"})
    assert rights.find_user(request) is None


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://boot.example:9090"}, True),
        ({"Origin": "http://boot.example"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Origin": "http://boot.example:9090/"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, False),
        ({}, False),
    ],
)
def test_another_sites_page_changes_nothing(headers: dict[str, str], allowed: bool) -> None:
    rights = TokenRights([TOKEN], clock=Clock())
    cookie = rights.sign_in(ask(SAME), TOKEN)
    request = ask({"Cookie": f"{COOKIE}={cookie}", **headers})
    if allowed:
        rights.require_user(request)
        rights.sign_in(ask(headers), TOKEN)
        return
    with pytest.raises(ForbiddenError, match="another site's page"):
        rights.require_user(request)
    with pytest.raises(ForbiddenError, match="another site's page"):
        rights.sign_in(ask(headers), TOKEN)
    # A program sends the token itself, which no page can have a browser do.
    rights.require_user(ask({**bearer(TOKEN), **headers}))


def test_wrong_tokens_lock_out_nobody_who_has_the_right_one() -> None:
    clock = Clock()
    rights = TokenRights([TOKEN], clock=clock)
    cookie = rights.sign_in(ask(SAME), TOKEN)
    for _ in range(10):
        assert rights.find_user(ask(bearer("guess"))) is None
        assert rights.find_user(ask(bearer(TOKEN), peer=("192.0.2.10", 1))) is not None
    for _ in range(100):  # as somebody does who is behind the same address, for ever
        with pytest.raises(TooManyTriesError) as caught:
            rights.find_user(ask(bearer("guess")))
        assert caught.value.seconds == 60
        assert rights.find_user(ask(bearer(TOKEN))) is not None
    assert rights.sign_in(ask(SAME), TOKEN)
    assert rights.find_user(ask(bearer(TOKEN), peer=("192.0.2.10", 1))) is not None
    assert rights.find_user(ask({"Cookie": f"{COOKIE}={cookie}"})) is not None
    clock.now += 61
    assert rights.find_user(ask(bearer("guess"))) is None


def test_a_clock_that_is_set_back_makes_no_minute_longer() -> None:
    clock = Clock()
    rights = TokenRights([TOKEN], clock=clock)
    for _ in range(100):
        rights._tries.note("192.0.2.9")
    clock.now -= 86400
    assert rights.find_user(ask(bearer("guess"))) is None
    assert not rights._tries.is_spent("192.0.2.10")


def test_right_tokens_are_not_counted() -> None:
    rights = TokenRights([TOKEN], clock=Clock())
    for _ in range(300):
        assert rights.find_user(ask(bearer(TOKEN))) is not None


def test_wrong_tokens_from_everywhere_lock_nobody_else_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "_MAX_SHARES", 64)
    clock = Clock()
    rights = TokenRights([TOKEN], clock=clock)
    for number in range(100):
        assert rights.find_user(ask(bearer("guess"), peer=(f"198.51.100.{number % 10}", 1))) is None
    # From now on an address has one guess a minute, and who has sent none is looked at as before.
    for number in range(500):
        peer = (f"2001:db8:0:{number:x}::1", 1, 0, 0)
        assert rights.find_user(ask(bearer("guess"), peer=peer)) is None
        with pytest.raises(TooManyTriesError):
            rights.find_user(ask(bearer("guess"), peer=peer))
        assert rights.require_user(ask(bearer(TOKEN))) == "the access token, from 192.0.2.9"
    assert rights.sign_in(ask(SAME), TOKEN)
    assert len(rights._tries._by_share) <= 64
    assert caplog.messages.count("a wrong access token was given") == 100
    clock.now += 61
    assert rights.find_user(ask(bearer("guess"))) is None
    assert rights.find_user(ask(bearer(TOKEN))) is not None


def test_an_ipv6_network_of_one_host_is_one_address() -> None:
    rights = TokenRights([TOKEN], clock=Clock())
    for number in range(10):
        assert rights.find_user(ask(bearer("guess"), peer=(f"2001:db8::{number:x}", 1, 0, 0))) is None
    with pytest.raises(TooManyTriesError):
        rights.find_user(ask(bearer("guess"), peer=("2001:db8::ffff", 1, 0, 0)))
    assert rights.find_user(ask(bearer("guess"), peer=("2001:db8:0:1::1", 1, 0, 0))) is None
    # A socket of both kinds shows an IPv4 client so.
    for _ in range(10):
        assert rights.find_user(ask(bearer("guess"), peer=("::ffff:192.0.2.77", 1, 0, 0))) is None
    with pytest.raises(TooManyTriesError):
        rights.find_user(ask(bearer("guess"), peer=("192.0.2.77", 1)))


def test_the_kernel_says_who_has_opened_the_control_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    monkeypatch.setattr(module, "describe_user", lambda uid: "alice" if uid == os.geteuid() else str(uid))

    def name(**headers: str) -> str:
        return SocketRights().require_user(ask(headers, peer="", socket=ours))  # type: ignore[arg-type]

    said = {"X-Every-Channel-User": "bob"}
    with ours, theirs:
        assert name() == "alice"
        assert name(**said) == ("bob, as root" if os.geteuid() == 0 else "alice")
        assert SocketRights().find_user(ask(peer="", socket=ours)) == "alice"  # type: ignore[arg-type]
        # In a user namespace in which they are not, they have the overflow user's number.
        monkeypatch.setattr(module, "_find_overflow_user", os.geteuid)
        assert name(**said) == "bob (as they say)"
        for wrong in ("", "a b", "x" * 65, "\x1b[1m"):
            assert name(**{"X-Every-Channel-User": wrong}) == "somebody of the group"
    assert SocketRights().require_user(make_mocked_request("POST", "/")) == "unknown"


def test_the_overflow_user() -> None:
    assert module._find_overflow_user() == 65534
