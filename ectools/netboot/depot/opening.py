"""The depot that an address names, with what is known of who asks there."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from ectools.fetch.client import HttpClient
from ectools.fetch.rejection import RejectionKind
from ectools.fetch.sigv4 import RequestSigner
from ectools.fetch.trust import SYSTEM_TRUST
from ectools.netboot.depot.directory import DirectoryDepot
from ectools.netboot.depot.forge_depot import ForgeDepot
from ectools.netboot.depot.github_depot import GitHubDepot
from ectools.netboot.depot.multipart import MultipartUploads
from ectools.netboot.depot.objects import ObjectDepot
from ectools.netboot.depot.registry import RegistryDepot
from ectools.netboot.depot.registry_client import RegistryClient, find_registry_login
from ectools.netboot.depot.s3_credentials import find_s3_credentials
from ectools.netboot.settings.depot_address import (
    DirectoryAddress,
    ForgeAddress,
    OciAddress,
    S3Address,
    WebAddress,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.fetch.rejection import Rejection
    from ectools.fetch.retry import RetryPolicy
    from ectools.fetch.trust import Trust
    from ectools.netboot.settings.depot_address import DepotAddress

AnyDepot = DirectoryDepot | ObjectDepot | ForgeDepot | RegistryDepot


def open_depot(
    address: DepotAddress,
    *,
    retry: RetryPolicy,
    token: str | None = None,
    credentials_file: Path | None = None,
    trust: Trust = SYSTEM_TRUST,
) -> AnyDepot:
    """A depot; nothing is asked of it yet.

    ``token`` is for a forge or a web server, ``credentials_file`` for S3 or a registry.
    Raises FileError and InputError of the credentials.
    """
    match address:
        case DirectoryAddress():
            return DirectoryDepot(address.path)
        case WebAddress():
            bearer = None if token is None else f"Bearer {token}"  # RFC 6750, section 2.1
            client = HttpClient(address.url, authorization=bearer, retry=retry, trust=trust, advise=_advise)
            return ObjectDepot(client, address.url, where=str(address))
        case S3Address():
            found = find_s3_credentials(credentials_file)
            signer = None if found is None else RequestSigner(credentials=found, region=address.region)
            client = HttpClient(address.url, authorization=signer, retry=retry, trust=trust, advise=_advise)
            parts = MultipartUploads(bucket_url=address.bucket_url)
            return ObjectDepot(client, address.url, where=str(address), parts=parts)
        case ForgeAddress():
            # Forgejo API and GitHub REST API, both "Authentication".
            given = None if token is None else f"token {token}"
            client = HttpClient(address.api, authorization=given, retry=retry, trust=trust, advise=_advise)
            if not address.is_github:
                return ForgeDepot(client, address)
            # Its files are taken at another host, which is to know who sends them.
            uploads = HttpClient(
                address.uploads, authorization=given, retry=retry, trust=trust, advise=_advise
            )
            return GitHubDepot(client, address, uploads=uploads)
        case OciAddress():
            login = find_registry_login(credentials_file, address.host)
            registry = RegistryClient(address.origin, login=login, retry=retry, trust=trust, advise=_advise)
            return RegistryDepot(registry, address.url, where=str(address))
        case _:
            assert_never(address)


def _advise(rejection: Rejection) -> str | None:
    """What to do where a depot does not give, or take, a file."""
    if rejection.kind is not RejectionKind.STATUS or rejection.status not in (401, 403, 404, 405):
        return None
    if rejection.status == 404:
        return "is the address right, and is it published there?"
    if rejection.status == 405:
        return "this server takes no files by PUT: publish to a directory, s3:// or a forge"
    if rejection.has_token:
        return "who asks is known there, and has no right to do this"
    return "who asks is not known there: a token's file or an access key's (AWS_ACCESS_KEY_ID) is missing"
