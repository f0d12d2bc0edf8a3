"""Who asks, and what they may do.

Over the control socket everything: who may use it is its file's permission, and the kernel says who they
are (``SO_PEERCRED``, unix(7)). Over ``fleet.listen`` everybody may look, and change what a node boots next
with the access token: in ``Authorization: Bearer``, or in a cookie that a form has made of it.

The cookie is not the token: it is the time at which it ends and its HMAC (RFC 2104), keyed by the token, so
that it is good for as long as the token is, needs no list here, and says nothing of the token. A browser
sends it with whatever any page makes it send, so that a change takes a request from the same origin
(``Sec-Fetch-Site``, W3C Fetch Metadata; ``Origin``, RFC 6454) beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import struct
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ectools import log
from ectools.errors import EcError
from ectools.privileges import describe_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

_log = log.Log(__name__)

COOKIE = "every-channel-access"
SIGNED_IN_SECONDS = 12 * 3600
"""How long somebody is signed in."""
USER_HEADER = "X-Every-Channel-User"
"""Who asks over the control socket, as they say: it counts where the kernel cannot say it."""
_MAX_USER = 64
_TRIES = 10
_TRIES_OF_ALL = 100
_TRIES_SECONDS = 60.0
_MAX_ADDRESSES = 1024


class ForbiddenError(EcError):
    """Who asks may not do that."""


class TooManyTriesError(EcError):
    """Wrong tokens came too often; ``seconds``: after which to come again."""

    def __init__(self, message: str, *, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


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

    def require_user(self, request: web.BaseRequest) -> str:
        """Who asks for a change. Raises ForbiddenError, TooManyTriesError."""
        ...


class SocketRights:
    """Whoever may open the control socket may do everything."""

    may_sign_in = False

    def find_user(self, request: web.BaseRequest) -> str | None:
        return _find_peer(request)

    def require_user(self, request: web.BaseRequest) -> str:
        return _find_peer(request)


class TokenRights:
    """Everybody may look; who has ``token`` may change. None: nobody. ``clock`` gives Unix seconds."""

    def __init__(self, token: str | None, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()
        self._tries_of_all: list[float] = []
        self.set_token(token)

    def set_token(self, token: str | None) -> None:
        """Another token, from now on: who is signed in with the one before is so no more."""
        self._token = None if token is None else token.encode()

    @property
    def may_sign_in(self) -> bool:
        return self._token is not None

    def find_user(self, request: web.BaseRequest) -> str | None:
        if self._token is None:
            return None
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and given:
            return self._name(request) if self._is_right(request, given.strip()) else None
        return self._name(request) if self._is_signed_in(request) else None

    def require_user(self, request: web.BaseRequest) -> str:
        if self._token is None:
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
        if self._token is None or not self._is_right(request, token):
            raise ForbiddenError("that is not the access token")
        end = int(self._clock()) + SIGNED_IN_SECONDS
        return f"{end}.{_sign(self._token, end)}"

    def _is_right(self, request: web.BaseRequest, given: str) -> bool:
        assert self._token is not None  # noqa: S101 - callers have looked
        peer = _name_peer(request)
        self._check_tries(peer)
        if hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token):
            return True
        now = self._clock()
        self._tries.setdefault(peer, []).append(now)
        self._tries.move_to_end(peer)
        if len(self._tries) > _MAX_ADDRESSES:
            self._tries.popitem(last=False)
        self._tries_of_all.append(now)
        _log.warning("a wrong access token was given", peer=peer)
        return False

    def _check_tries(self, peer: str) -> None:
        """What cannot be guessed is not tried ten times a minute, nor can it fill the log."""
        since = self._clock() - _TRIES_SECONDS
        own = [at for at in self._tries.pop(peer, ()) if at > since]
        if own:
            self._tries[peer] = own
        self._tries_of_all = [at for at in self._tries_of_all if at > since]
        if len(own) >= _TRIES or len(self._tries_of_all) >= _TRIES_OF_ALL:
            seconds = int(_TRIES_SECONDS)
            raise TooManyTriesError("wrong access tokens came too often: come again later", seconds=seconds)

    def _is_signed_in(self, request: web.BaseRequest) -> bool:
        assert self._token is not None  # noqa: S101 - as above
        end, _, signature = request.cookies.get(COOKIE, "").partition(".")
        if not (end.isascii() and end.isdigit() and len(end) <= 12 and signature.isascii()):
            return False
        is_signed = hmac.compare_digest(signature, _sign(self._token, int(end)))
        return is_signed and self._clock() < int(end) <= self._clock() + SIGNED_IN_SECONDS

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
        is_same = urlsplit(origin).netloc == request.headers.get("Host")
    if not is_same:
        raise ForbiddenError("this was asked from another site's page, or by a program that does not say so")


def _sign(token: bytes, end: int) -> str:
    return hmac.new(token, b"every-channel-access %d" % end, hashlib.sha256).hexdigest()


def _name_peer(request: web.BaseRequest) -> str:
    return request.remote or "unknown"


def _find_peer(request: web.BaseRequest) -> str:
    """The user at the other end of the control socket.

    In a user namespace (PrivateUsers= in the unit) the kernel shows those who are not in it as the overflow
    user (user_namespaces(7)): then it is who they say they are, marked as that. They may do all of it anyway.
    """
    peer: socket.socket | None = request.transport.get_extra_info("socket") if request.transport else None
    if peer is None:
        return "unknown"
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if uid != _find_overflow_user():
        return describe_user(uid)
    said = request.headers.get(USER_HEADER, "")
    is_name = said.isascii() and said.isprintable() and 0 < len(said) <= _MAX_USER
    return f"{said} (as they say)" if is_name else "somebody of the group"


def _find_overflow_user() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 65534
