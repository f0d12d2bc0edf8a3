"""GET over HTTP: redirects that keep the token at home, and failures sorted into those worth a second try."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, IncompleteRead, LocationValueError, SSLError

from ectools import __version__, log
from ectools.errors import EcError, cut
from ectools.fetch.env_proxy import find_proxy
from ectools.fetch.error_reason import find_limit_end, find_reason, find_reason_hint, is_passing
from ectools.fetch.rejection import Rejection, RejectionKind
from ectools.fetch.response_lines import bound_lines
from ectools.fetch.retry import RetryPolicy, parse_retry_after
from ectools.fetch.trust import SYSTEM_TRUST
from ectools.fetch.web_page import describe_page
from ectools.redact import redact_url, redact_user

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from io import RawIOBase

    from urllib3.response import BaseHTTPResponse

    from ectools.fetch.rejection import Advise
    from ectools.fetch.trust import Trust

_log = log.Log(__name__)

Authorize = Callable[[str, str, "Mapping[str, str]"], "Mapping[str, str]"]
"""A request's method, URL and headers → the headers by which who asks is known."""

MAX_REDIRECTS = 8
_MAX_URL = 4096
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_PORTS = {"http": 80, "https": 443}
# X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)
_OUT_OF_TIME = (9, 10)
# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_OTHER_NAME = (62, 64)


class FetchError(EcError):
    """A server did not give what was asked for. ``status`` is HTTP's, None where there was no answer."""

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class TransientError(FetchError):
    """The same request of ``url`` may work later. ``retry_after``: seconds that the server asked to wait."""

    def __init__(
        self, message: str, *, url: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.url = url
        self.retry_after = retry_after


class HttpClient:
    """A client of one server, whose redirects may lead to others.

    ``authorization`` is the value of that header (RFC 9110, section 11.6.2), a token, or makes the headers of
    each request; it goes to ``host`` (a URL) alone: same scheme, name and port. Where that is https, nothing
    is fetched without, whoever names it. The environment's proxies are used. ``advise`` gives the hints that
    depend on what the server is, ``trust`` whose certificates count.
    """

    def __init__(
        self,
        host: str,
        *,
        authorization: str | Authorize | None = None,
        retry: RetryPolicy,
        advise: Advise = lambda _rejection: None,
        trust: Trust = SYSTEM_TRUST,
    ) -> None:
        self.retry = retry
        self._trust = trust
        self._home = url_origin(host)
        self._authorization = authorization
        self._has_token = authorization is not None
        self._advise = advise

    @contextlib.contextmanager
    def open(
        self, url: str, *, headers: Mapping[str, str] | None = None, accept: tuple[int, ...] = (200,)
    ) -> Iterator[BaseHTTPResponse]:
        """The answer to one GET, with redirects followed. FetchError: the status is not in ``accept``."""
        seen = [url]
        response = self._get(url, headers or {})
        try:
            while response.status in _REDIRECTS:
                target = self._find_target(response, seen)
                response.close()
                seen.append(target)
                response = self._get(target, headers or {})
            if response.status not in accept:
                self.reject(response, seen[-1], "GET")
            response.url = seen[-1]
            yield response
        finally:
            response.close()

    def read(
        self,
        url: str,
        *,
        limit: int,
        what: str,
        size: int | None = None,
        take_page: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """A small document whole, tried again as ``retry`` has it. Raises FetchError; ``what`` names it.

        ``size`` is how many bytes were announced for it, where that is known. ``take_page``: a web page is
        for the caller to tell.
        """
        failures = 0
        while True:
            try:
                with self.open(url, headers=headers) as response:
                    parts = self.read_body(response, url, size=size, take_page=take_page)
                    data = _join(parts, url, limit=limit, what=what)
            except TransientError as error:
                failures += 1
                self.wait(error, failures)
                continue
            if size is not None and len(data) < size:
                raise FetchError(f"{redact_url(url)}: is {len(data)} bytes long, and {size} were announced")
            return data

    def read_body(
        self, response: BaseHTTPResponse, url: str, *, size: int | None, take_page: bool = False
    ) -> Iterator[bytes]:
        """``read_steadily`` of a file: raises FetchError where a web page comes in its place."""

        def check(beginning: bytes) -> None:
            page = describe_page(response.headers.get("Content-Type"), beginning)
            if page is None or take_page:
                return
            came = response.url or url
            at = "" if came == url else f", from {cut(redact_url(came))}"
            raise FetchError(
                f"{redact_url(url)}: {page}{at}, and a file was expected",
                hint=self._find_hint(RejectionKind.PAGE, came, status=response.status),
                status=response.status,
            )

        return read_steadily(response, url, self.retry, size=size, check=check)

    def wait(self, error: TransientError, failures: int) -> None:
        """Wait before the next attempt; raises ``error`` again where there is none left."""
        if failures >= self.retry.attempts:
            raise FetchError(
                f"{error.message}; given up after {failures} attempts in a row",
                hint=self._find_hint(RejectionKind.UNREACHABLE, error.url, status=error.status),
                status=error.status,
            ) from error
        if error.retry_after is not None and error.retry_after > self.retry.longest_retry_after:
            raise FetchError(
                f"{error.message}; it asks to wait {error.retry_after:.0f} s", status=error.status
            ) from error
        seconds = self.retry.next_pause(failures, error.retry_after)
        _log.warning(
            "trying again", reason=error.message, attempt=failures + 1, wait_seconds=round(seconds, 1)
        )
        time.sleep(seconds)

    def _get(self, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        return self.start("GET", url, headers)

    def start(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | IO[bytes] | RawIOBase | None = None,
    ) -> BaseHTTPResponse:
        """The answer to one request as it begins, whatever its status; who asks closes it. Redirects are not
        followed. Raises FetchError.
        """
        sent = {"User-Agent": f"ectools/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}
        sent |= headers
        if self._authorization is not None and url_origin(url) == self._home:
            given = self._authorization
            sent |= {"Authorization": given} if isinstance(given, str) else given(method, url, sent)
        if self._home[0] == "https" and urlsplit(url).scheme != "https":
            raise FetchError(
                f"{redact_url(url)}: is not encrypted, and {self._home[1]} is asked over https: not fetched",
                hint=self._find_hint(RejectionKind.UNENCRYPTED, url),
            )
        proxy = find_proxy(url)
        with translate_errors(url, proxy=proxy, trust=self._trust):
            # Anew: a connection that was kept may be closed at the very moment of the next request.
            return _start_pool(proxy, self.retry, self._trust).request(
                method, url, headers=sent, body=body, redirect=False, preload_content=False
            )

    def _find_target(self, response: BaseHTTPResponse, seen: list[str]) -> str:
        here, location = seen[-1], response.headers.get("Location")
        if location is None:
            reason = find_reason(response, secret=self._secret)
            raise FetchError(
                f"{redact_url(here)}: redirects to nowhere" + (f": {reason}" if reason else ""),
                hint=find_reason_hint(reason),
                status=response.status,
            )
        try:
            target = urljoin(here, location)
        except ValueError as error:
            raise FetchError(f"{redact_url(here)}: redirects to no URL: {error}") from error
        shown = f"{redact_url(here)}: redirects to {cut(redact_url(target))}"
        try:
            origin = url_origin(target)
        except FetchError as error:
            raise FetchError(f"{shown}, which is not followed: {error.message}") from error
        if urlsplit(here).scheme == "https" and origin[0] == "http":
            raise FetchError(f"{shown}, which is not encrypted: not followed")
        if target in seen or len(seen) > MAX_REDIRECTS:
            raise FetchError(f"{shown}: redirects in a circle, or more than {MAX_REDIRECTS}")
        return target

    @property
    def _secret(self) -> str:
        return self._authorization if isinstance(self._authorization, str) else ""

    def reject(self, response: BaseHTTPResponse, url: str, method: str) -> NoReturn:
        """Raises what an answer with a status that was not hoped for means: FetchError, TransientError."""
        status, shown = response.status, redact_url(url)
        if (limit := find_limit_end(response)) is not None:
            said, seconds = limit
            message = f"{shown}: {said} (status {status})"
            raise TransientError(message, url=url, status=status, retry_after=seconds)
        if status in _TRANSIENT:
            raise TransientError(
                f"{shown}: status {status}",
                url=url,
                status=status,
                retry_after=parse_retry_after(response.headers.get("Retry-After")),
            )
        reason = find_reason(response, secret=self._secret)
        if is_passing(reason):
            raise TransientError(f"{shown}: status {status}: {reason}", url=url, status=status)
        with_token = self._has_token and url_origin(url) == self._home
        token = "the token" if with_token else "a request without a token"
        act = "read" if method in ("GET", "HEAD") else "write"
        because = f": {reason}" if reason else ""
        raise FetchError(
            {
                401: f"{shown}: {token} is refused (status 401)",
                403: f"{shown}: {token} may not {act} this (status 403)",
                404: f"{shown}: not found (status 404)",
            }.get(status, f"{shown}: status {status}")
            + because,
            hint=find_reason_hint(reason) or self._find_hint(RejectionKind.STATUS, url, status=status),
            status=status,
        )

    def _find_hint(self, kind: RejectionKind, url: str, *, status: int | None = None) -> str | None:
        if status == 407:
            names = "the environment's http_proxy or https_proxy names"
            return f"{names} the proxy, its user and password before its host"
        has_token, at_home = self._has_token, url_origin(url) == self._home
        return self._advise(Rejection(kind=kind, status=status, has_token=has_token, at_home=at_home))


def _join(parts: Iterable[bytes], url: str, *, limit: int, what: str) -> bytes:
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > limit:
            raise FetchError(f"{redact_url(url)}: {what} is larger than {limit} bytes: not read further")
    return bytes(data)


def read_steadily(
    response: BaseHTTPResponse,
    url: str,
    retry: RetryPolicy,
    *,
    size: int | None,
    check: Callable[[bytes], None] = lambda _beginning: None,
) -> Iterator[bytes]:
    """A response's body as it comes; ``size`` is how many bytes were announced for it, where that is known.

    ``check`` looks at the first part, before its length is held against anything, and may raise.
    Raises TransientError where it ends too early, stalls or trickles, FetchError once more has come.
    What the caller does with a part (a disk may take its time) is not the server's slowness.
    """
    length = response.headers.get("Content-Length")
    if length is not None and "Transfer-Encoding" in response.headers:
        # RFC 9112, section 6.3: an attempt to smuggle, or a fault.
        raise FetchError(
            f"{redact_url(url)}: announces {cut(length)} bytes, and then chunks without a number"
        )
    left = size
    waited, got = 0.0, 0
    is_first = True
    while True:
        began = time.monotonic()
        with translate_errors(url):
            part = response.read1(1 << 18, decode_content=False)
        waited += time.monotonic() - began
        if not part:
            return
        if is_first:
            check(part)
            is_first = False
        if left is not None and (left := left - len(part)) < 0:
            raise FetchError(f"{redact_url(url)}: longer than the {size} bytes that were announced")
        got += len(part)
        yield part
        if waited >= retry.stall_seconds:
            if got < retry.least_rate * waited:
                raise TransientError(
                    f"{redact_url(url)}: sends less than {retry.least_rate} bytes a second", url=url
                )
            waited, got = 0.0, 0


def _start_pool(proxy: str | None, retry: RetryPolicy, trust: Trust = SYSTEM_TRUST) -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=retry.connect_seconds, read=retry.stall_seconds)
    options: dict[str, Any] = {"retries": False, "timeout": timeout}
    if trust.context is not None:
        options["ssl_context"] = trust.context
    if proxy is None:
        return bound_lines(urllib3.PoolManager(**options))
    user = unquote(urlsplit(proxy).netloc.rpartition("@")[0])
    headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
    # The proxy may have its certificate of the same CA.
    options["proxy_ssl_context"] = trust.context
    return bound_lines(urllib3.ProxyManager(proxy, proxy_headers=headers, **options))


@contextlib.contextmanager
def translate_errors(url: str, *, proxy: str | None = None, trust: Trust = SYSTEM_TRUST) -> Iterator[None]:
    """urllib3's errors as ours. A connection that ends is worth a second try, a certificate is not."""
    shown = redact_url(url) if proxy is None else f"{redact_url(url)} (through the proxy {redact_url(proxy)})"
    try:
        yield
    except SSLError as error:
        reason = error.__cause__ or error.__context__
        if isinstance(reason, ssl.SSLEOFError):
            raise TransientError(f"{shown}: {_show_error(error)}", url=url) from error
        if not isinstance(reason, ssl.SSLCertVerificationError):
            hint = "is this a port of TLS, and nothing in between that speaks something else?"
        elif reason.verify_code in _OUT_OF_TIME:
            hint = "the certificate is not of this time: is this machine's clock right?"
        elif reason.verify_code in _OTHER_NAME:
            hint = "the certificate is another host's: is the address the one that it is for?"
        else:
            hint = trust.hint
        raise FetchError(f"{shown}: {_show_error(error)}", hint=hint) from error
    except (LocationValueError, ValueError) as error:
        # The text may hold the proxy's whole URL.
        raise FetchError(
            f"{shown}: {redact_user(str(error))}", hint="is the address right, and the proxy's?"
        ) from error
    except HTTPError as error:
        raise TransientError(f"{shown}: {_show_error(error)}", url=url) from error


def url_origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL. Raises FetchError where it is no plain http or https one."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise FetchError(f"not a URL: {error}") from error
    if len(url) > _MAX_URL:
        raise FetchError(f"longer than {_MAX_URL} characters")
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise FetchError("not an address of the form http(s)://HOST/…")
    return parts.scheme, parts.hostname, port


def _show_error(error: HTTPError) -> str:
    reason = error.__cause__ or error.__context__
    if isinstance(reason, IncompleteRead) and reason.expected:
        return f"the connection ended {reason.expected} bytes too early"
    text = str(reason if isinstance(reason, OSError) and str(reason) else error)
    return text.rpartition(">: ")[2]
