"""A registry's client: who asks, by docker's file of logins, and by the token that the registry sends for.

A registry answers 401, and says where a token is to be had, and for what (Docker Registry v2 authentication
via central service; the challenge is that of RFC 6750, section 3); or that it takes a name and a password
themselves (RFC 7617).
"""

from __future__ import annotations

import base64
import json
import re
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from ectools.credentials import find_secret
from ectools.errors import InputError
from ectools.fetch.client import HttpClient, TransientError, url_origin
from ectools.files import parse_json, read_input
from ectools.netboot.depot.interface import DepotError
from ectools.netboot.depot.s3_credentials import S3_CREDENTIAL
from ectools.redact import redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import RawIOBase
    from pathlib import Path

    from urllib3.response import BaseHTTPResponse

    from ectools.fetch.rejection import Advise
    from ectools.fetch.retry import RetryPolicy
    from ectools.fetch.trust import Trust

_MAX_BYTES = 256 << 10
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"', re.ASCII)
# What a header can carry (RFC 9110, section 5.5).
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")


class RegistryClient(HttpClient):
    """A client of one registry. ``login`` is ``NAME:PASSWORD``; None: nobody in particular asks."""

    def __init__(
        self, host: str, *, login: str | None, retry: RetryPolicy, trust: Trust, advise: Advise
    ) -> None:
        super().__init__(host, authorization=self._authorize, retry=retry, advise=advise, trust=trust)
        self._has_token = login is not None
        self._basic = None if login is None else f"Basic {base64.b64encode(login.encode()).decode()}"
        self._given: dict[str, str] = {}

    def start(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | IO[bytes] | RawIOBase | None = None,
    ) -> BaseHTTPResponse:
        """See ``HttpClient``. What is refused for want of a token is asked once more, with one."""
        response = super().start(method, url, headers, body)
        if response.status != 401 or url_origin(url) != self._home:
            return response
        before = dict(self._given)
        self._given = self._answer(response.headers.get("WWW-Authenticate", ""), url)
        if self._given == before:
            return response
        response.close()
        if body is not None and not isinstance(body, bytes):
            # What was read of it is gone: who sends it begins anew.
            raise TransientError(f"{redact_url(url)}: the token has expired", url=url, status=401)
        return super().start(method, url, headers, body)

    def _authorize(self, _method: str, _url: str, _headers: Mapping[str, str]) -> Mapping[str, str]:
        return self._given

    def _answer(self, challenge: str, url: str) -> dict[str, str]:
        """The headers that a challenge asks for; none where there is nothing to answer it with."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return {} if self._basic is None else {"Authorization": self._basic}
        if scheme.lower() != "bearer":
            return {}
        words = dict(_PARAMETER.findall(rest))
        realm = words.pop("realm", "")
        query = urlencode({name: words[name] for name in ("service", "scope") if name in words})
        service = HttpClient(realm, authorization=self._basic, retry=self.retry, trust=self._trust)
        if self._home[0] == "https" and urlsplit(realm).scheme != "https":
            raise DepotError(f"{redact_url(url)}: sends for a token to where nothing is encrypted")
        data = service.read(f"{realm}?{query}", limit=_MAX_BYTES, what="the registry's token", take_page=True)
        try:
            answer = parse_json(data, where=redact_url(realm))
            token = answer.get("token") or answer.get("access_token")
        except (InputError, AttributeError) as error:
            raise DepotError(f"{redact_url(realm)}: gives no token") from error
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise DepotError(f"{redact_url(realm)}: gives no token")
        return {"Authorization": f"Bearer {token}"}


def find_registry_login(file: Path | None, host: str) -> str | None:
    """``NAME:PASSWORD`` of a registry in a file as docker and podman write it (their ``auth.json``).

    None where there is no file, or nothing of this registry in it. Raises FileError, InputError; neither
    holds what is secret.
    """
    if file is None:
        return None
    path = find_secret(file, credential=S3_CREDENTIAL)
    bad = InputError(
        f"{path}: is no file of logins",
        hint='as `podman login --authfile FILE` writes it: {"auths": {"HOST": {"auth": BASE64}}}',
    )
    try:
        raw: Any = json.loads(read_input(path, limit=_MAX_BYTES))
        entries = {_strip(name): entry for name, entry in raw.get("auths", {}).items()}
        entry = entries.get(host)
        if entry is None:
            return None
        if "auth" not in entry:
            raise InputError(
                f"{path}: the login of {host} is kept by a program (credsStore), which is not asked here",
                hint="`podman login --authfile FILE` writes it into the file itself",
            )
        login = base64.b64decode(entry["auth"], validate=True).decode()
    except InputError:
        raise
    except (ValueError, AttributeError, TypeError):
        # Their texts may hold what is secret.
        raise bad from None
    if ":" not in login:
        raise bad
    return login


def _strip(name: str) -> str:
    """A registry's name, of what docker may have written in its place: a URL."""
    return name.partition("://")[2].partition("/")[0] if "://" in name else name
