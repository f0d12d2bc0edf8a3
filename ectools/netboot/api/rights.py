"""Who asks, and what they may do.

Over the control socket everything: who may use it is its file's permission, and the kernel says who they
are (``SO_PEERCRED``, unix(7)). Over ``fleet.listen`` everybody may look, and change what a node boots next
with the access token: in ``Authorization: Bearer``, or in a cookie that a form has made of it.

The cookie is not the token: it is the time at which it ends and its HMAC (RFC 2104), keyed by the token and
by a secret of this process, so that it is good for as long as both are, needs no list here, says nothing of
the token, and lets nobody try tokens who has no cookie. A browser sends it with whatever any page makes it
send, so that a change takes a request from the same origin (``Sec-Fetch-Site``, W3C Fetch Metadata;
``Origin``, RFC 6454) beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ectools import log
from ectools.errors import EcError
from ectools.netboot.api.guesses import TRIES_SECONDS, LookTurns, TooManyTriesError, WrongTries
from ectools.netboot.http.slots import share_of
from ectools.privileges import describe_user

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

_log = log.Log(__name__)

COOKIE = "every-channel-access"
SIGNED_IN_SECONDS = 12 * 3600
"""How long somebody is signed in."""
USER_HEADER = "X-Every-Channel-User"
"""Who asks over the control socket, as they say: it counts where the kernel cannot say it."""
_USER = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class ForbiddenError(EcError):
    """Who asks may not do that."""


class Rights(Protocol):
    """The rights of those who ask at one listener."""

    @property
    def may_sign_in(self) -> bool:
        """Whether there is a token to sign in with."""
        ...

    def find_user(self, request: web.BaseRequest) -> str | None:
        """Who asks, where they may change something; None where they may look only.

        Raises TooManyTriesError.
        """
        ...

    async def wait_turn(self, request: web.Request) -> None:
        """Until a token that the request sends is looked at; to be awaited before it is.

        Raises ConnectionResetError where who asks has gone meanwhile.
        """
        ...

    def require_user(self, request: web.BaseRequest) -> str:
        """Who asks for a change. Raises ForbiddenError, TooManyTriesError."""
        ...


class SocketRights:
    """Whoever may open the control socket may do everything."""

    may_sign_in = False

    def find_user(self, request: web.BaseRequest) -> str | None:
        return _find_peer(request)

    async def wait_turn(self, request: web.Request) -> None:
        """There is no token here."""

    def require_user(self, request: web.BaseRequest) -> str:
        return _find_peer(request)


class TokenRights:
    """Everybody may look; who has one of ``tokens`` may change, nobody without any.

    The first one is what signs cookies. ``clock`` gives Unix seconds.
    """

    def __init__(self, tokens: Sequence[str], *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries = WrongTries(clock=clock)
        self._turns = LookTurns()
        self._secret = secrets.token_bytes(32)
        self.set_tokens(tokens)

    def set_tokens(self, tokens: Sequence[str]) -> None:
        """Other tokens, from now on: who is signed in with one that is no more is so no more."""
        self._tokens = tuple(each.encode() for each in tokens)

    @property
    def may_sign_in(self) -> bool:
        return bool(self._tokens)

    async def wait_turn(self, request: web.Request) -> None:
        if self._tokens and self._tries.is_spent(share_of(_name_peer(request))):
            await self._turns.wait(request)

    def find_user(self, request: web.BaseRequest) -> str | None:
        if not self._tokens:
            return None
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and given:
            return self._name(request) if self._is_right(request, given.strip()) else None
        return self._name(request) if self._is_signed_in(request) else None

    def require_user(self, request: web.BaseRequest) -> str:
        if not self._tokens:
            raise ForbiddenError(
                "nothing is changed from here: no access token is configured",
                hint="use the control socket on the boot host (ectools fleet), or set fleet.accessTokenFile",
            )
        user = self.find_user(request)
        if user is None:
            raise ForbiddenError(
                "an access token is needed", hint="Authorization: Bearer TOKEN, or sign in on the page"
            )
        if "Authorization" not in request.headers:
            check_origin(request)
        return user

    def sign_in(self, request: web.BaseRequest, token: str) -> str:
        """The cookie of somebody who gives the right token. Raises ForbiddenError, TooManyTriesError."""
        check_origin(request)
        if not self._tokens or not self._is_right(request, token):
            raise ForbiddenError("that is not the access token")
        end = int(self._clock()) + SIGNED_IN_SECONDS
        return f"{end}.{self._sign(self._tokens[0], end)}"

    def _is_right(self, request: web.BaseRequest, given: str) -> bool:
        share = share_of(_name_peer(request))
        token = given.encode("utf-8", "surrogatepass")
        # All of them, so that the time does not tell which of them it was.
        if sum(hmac.compare_digest(token, each) for each in self._tokens):
            return True
        if self._tries.is_spent(share):
            raise TooManyTriesError(
                "wrong access tokens came too often: come again later", seconds=int(TRIES_SECONDS)
            )
        if self._tries.note(share):
            _log.warning("a wrong access token was given", peer=_name_peer(request))
        return False

    def _is_signed_in(self, request: web.BaseRequest) -> bool:
        end, _, signature = request.cookies.get(COOKIE, "").partition(".")
        if not (end.isascii() and end.isdigit() and len(end) <= 12 and signature.isascii()):
            return False
        is_signed = sum(hmac.compare_digest(signature, self._sign(each, int(end))) for each in self._tokens)
        return bool(is_signed) and self._clock() < int(end) <= self._clock() + SIGNED_IN_SECONDS

    def _sign(self, token: bytes, end: int) -> str:
        return hmac.new(self._secret + token, b"every-channel-access %d" % end, hashlib.sha256).hexdigest()

    def _name(self, request: web.BaseRequest) -> str:
        return f"the access token, from {_name_peer(request)}"


def set_cookie(response: web.StreamResponse, value: str) -> None:
    """Somebody is signed in from here on. No script sees it, and no other site's page has it sent."""
    response.set_cookie(COOKIE, value, max_age=SIGNED_IN_SECONDS, httponly=True, samesite="Strict", path="/")


def check_origin(request: web.BaseRequest) -> None:
    """Raises ForbiddenError where another site's page may have made a browser ask this."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    # The first is not sent to a plain HTTP address that is not the browser's own host; the origin is.
    is_same = origin is not None if site is None else site in ("same-origin", "none")
    if is_same and origin is not None:
        # Compared as text: what is no URL is nobody's.
        is_same = origin.partition("://")[2] == request.headers.get("Host")
    if not is_same:
        raise ForbiddenError("this was asked from another site's page, or by a program that does not say so")


def _name_peer(request: web.BaseRequest) -> str:
    return request.remote or "unknown"


def _find_peer(request: web.BaseRequest) -> str:
    """The user at the other end of the control socket.

    Root may have been called by somebody (sudo), which it says itself.

    In a user namespace (PrivateUsers= in the unit) the kernel shows those who are not in it as the overflow
    user (user_namespaces(7)): then it is who they say they are, marked as that. They may do all of it anyway.
    """
    peer: socket.socket | None = request.transport.get_extra_info("socket") if request.transport else None
    if peer is None:
        return "unknown"
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    said = request.headers.get(USER_HEADER, "")
    if _USER.fullmatch(said) is None:
        said = ""
    if uid == _find_overflow_user():
        return f"{said} (as they say)" if said else "somebody of the group"
    user = describe_user(uid)
    return f"{said}, as root" if uid == 0 and said not in ("", user) else user


def _find_overflow_user() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 65534
