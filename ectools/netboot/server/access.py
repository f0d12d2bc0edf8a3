"""Access rules over HTTP: first the network that a client is in, then the token that a file asks for."""

from __future__ import annotations

import functools
import hmac
from typing import TYPE_CHECKING, Any

from ectools.capabilities import Capability, raised
from ectools.credentials import find_secret
from ectools.files import FileError
from ectools.ipxe.language import AUTOEXEC_NAME
from ectools.ipxe.token import CHAIN_TOKEN, read_tokens
from ectools.netboot.boot_files.scripts.fetching import TOKEN_HEADER
from ectools.netboot.http.admission import Standing
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.server.forwarded import Networks, find_client, parse_address
from ectools.netboot.settings.model import NETBOOT_OPTIONS
from ectools.privileges import root_reads

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.addresses import Address
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.settings.model import NetbootSettings

ACCESS_TOKEN = "access-token"  # noqa: S105 - the credential's name
"""Name of systemd's credential that holds what opens the API to those who are not on this host."""
TOKEN_PARAMETER = "token"  # noqa: S105 - the parameter's name
RELEASES = b"releases"
_MAX_TOKENS = 2
# An access token can be guessed from wherever the port is reached. As ec-netboot-fleet-options.nix has it.
_SHORTEST_ACCESS_TOKEN = 16
_KNOWN_ADDRESSES = 4096


def read_chain_tokens(settings: NetbootSettings) -> tuple[str, ...]:
    """The tokens that are accepted; boot scripts send the first. None where no file is set.

    Raises FileError and InputError, neither shows one.
    """
    return _read_tokens(settings.chain_token_file, CHAIN_TOKEN, "chainTokenFile")


def read_access_tokens(settings: NetbootSettings) -> tuple[str, ...]:
    """The tokens of ``fleet.listen`` that are accepted: of who may do something. Raises as above."""
    file = settings.fleet.access_token_file
    return _read_tokens(
        file, ACCESS_TOKEN, "fleet.accessTokenFile", shortest=_SHORTEST_ACCESS_TOKEN, sender="a browser"
    )


def _read_tokens(file: Path | None, credential: str, name: str, **wanted: Any) -> tuple[str, ...]:
    """The tokens of a file.

    A program that was root's reads a file of root's that nobody else may replace, and no other with more than
    its user's rights: the boot scripts hold what is read.
    """
    if file is None:
        return ()
    option = f"{NETBOOT_OPTIONS}.{name}"
    with raised(Capability.DAC_READ_SEARCH):  # the service manager's copy may lie where only root looks
        file = find_secret(file, credential=credential)
    try:
        with root_reads(file):
            return read_tokens(file, credential=credential, option=option, at_most=_MAX_TOKENS, **wanted)
    except FileError as error:
        raise type(error)(
            error.message,
            hint=f"{option} names a file that the state directory's user may read, or root's in a directory "
            "that root alone may write",
        ) from error


class Access:
    """The access rules of the settings. ``check`` is the HTTP server's access check."""

    def __init__(self, settings: NetbootSettings, tokens: tuple[str, ...]) -> None:
        self._allowed = Networks(settings.allowed_cidrs)
        self._proxies = Networks(settings.trusted_proxies)
        self._protected = frozenset(name.encode() for name in settings.protected_files)
        self._tokens = tuple(token.encode() for token in tokens)
        # Asked for each connection, before it has shown that it is worth any time.
        self.classify = functools.lru_cache(_KNOWN_ADDRESSES)(self._classify)

    def find_client(self, info: RequestInfo) -> Address | None:
        """The client of a request: the peer, or whom a trusted proxy asks for. None where nobody can tell."""
        return find_client(info.peer, info.headers, proxies=self._proxies)

    def _classify(self, ip: str) -> Standing:
        """What is known of a peer by its address alone."""
        address = parse_address(ip)
        if address is not None and address in self._proxies:
            return Standing.PROXY
        if self._allowed and (address is None or address not in self._allowed):
            return Standing.STRANGER
        return Standing.CLIENT

    def check(self, info: RequestInfo) -> None:
        """Raises RejectedError (403) where the request is not allowed, whatever there is at its path."""
        if self._allowed:
            client = self.find_client(info)
            if client is None or client not in self._allowed:
                raise RejectedError(403, "not allowed from here")
        if self._asks_for_token(info.segments):
            self._check_token(info)

    def check_file(self, info: RequestInfo, name: str) -> None:
        """Raises RejectedError (403) where a file of that name in its archive is not given to this request.

        What ``check`` sees of a release with several systems is the path, which begins with the system.
        """
        if self.is_protected(name):
            self._check_token(info)

    def is_protected(self, name: str) -> bool:
        """Whether a file of that name in its archive takes the token."""
        return name.encode("utf-8", "replace") in self._protected

    def _check_token(self, info: RequestInfo) -> None:
        if self._tokens and not self._has_token(info):
            raise RejectedError(403, "a token is needed")

    def _asks_for_token(self, segments: tuple[bytes, ...]) -> bool:
        """By the name within the release, or in the root. The first script has copies in directories."""
        name = segments[2:] if segments[0] == RELEASES else segments
        if name[-1:] == (AUTOEXEC_NAME.encode(),):
            name = name[-1:]
        return b"/".join(name) in self._protected

    def _has_token(self, info: RequestInfo) -> bool:
        given = {*info.headers.getall(TOKEN_HEADER, []), *info.query.getall(TOKEN_PARAMETER, [])}
        if len(given) != 1:
            # Of several that differ, a cache in between may have looked at another than we would.
            return False
        token = given.pop().encode("utf-8", "surrogatepass")
        # All of them, so that the time does not tell which of them it was.
        return sum(hmac.compare_digest(token, each) for each in self._tokens) > 0
