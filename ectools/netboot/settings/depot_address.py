"""What a depot is called: a directory, ``https://…``, ``s3://BUCKET/PREFIX``, ``oci://HOST/NAME``,
``forge:URL/OWNER/NAME``, ``github:URL/OWNER/NAME``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

from ectools.errors import InputError
from ectools.redact import redact_value

_EXPECTED = (
    "a directory, https://HOST/PATH, s3://BUCKET/PREFIX?endpoint=URL, oci://HOST/NAME or "
    "forge:https://HOST/OWNER/NAME"
)
# AWS, "General purpose bucket naming rules"; other stores take capitals and underscores too.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~+-]+)*/?", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?", re.ASCII)
# OCI Distribution Specification, "Pulling manifests".
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII
)
_OCI_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_OWN = {"endpoint", "region"}


@dataclass(frozen=True, kw_only=True)
class DirectoryAddress:
    """A directory of this machine, or one that is mounted there."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """Below a URL, which has no slash at its end."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """A bucket of a store that speaks S3, and what its keys begin with. ``endpoint`` is the store's URL."""

    bucket: str
    prefix: str
    endpoint: str
    region: str

    @property
    def bucket_url(self) -> str:
        """In path style, which every store understands."""
        return f"{self.endpoint}/{self.bucket}"

    @property
    def url(self) -> str:
        """The bucket and the prefix by their URL."""
        return f"{self.bucket_url}{quote(self.prefix)}"

    def __str__(self) -> str:
        return f"s3://{self.bucket}{self.prefix} at {self.endpoint}"


@dataclass(frozen=True, kw_only=True)
class ForgeAddress:
    """A repository of a Forgejo or a Gitea, or of GitHub. ``host`` is its URL."""

    host: str
    repo: str
    is_github: bool = False

    @property
    def api(self) -> str:
        """Below which the forge's API is."""
        if not self.is_github:
            return f"{self.host}/api/v1"
        return _find_github(self.host, "api", "/api/v3")

    @property
    def uploads(self) -> str:
        """Below which a GitHub takes the files of releases."""
        return _find_github(self.host, "uploads", "/api/uploads")

    def __str__(self) -> str:
        return f"{self.host}/{self.repo}"


@dataclass(frozen=True, kw_only=True)
class OciAddress:
    """A repository of a registry. ``tag`` is there where the address names one release of it."""

    host: str
    repo: str
    tag: str | None
    is_plain: bool

    @property
    def origin(self) -> str:
        """The registry's URL."""
        return f"{'http' if self.is_plain else 'https'}://{self.host}"

    @property
    def url(self) -> str:
        """Below which all of the repository is."""
        return f"{self.origin}/v2/{self.repo}"

    def __str__(self) -> str:
        return f"{self.host}/{self.repo}"


DepotAddress = DirectoryAddress | WebAddress | S3Address | ForgeAddress | OciAddress


def parse_depot_address(text: str) -> DepotAddress:
    """The address that somebody wrote. Raises InputError, with what was expected."""
    scheme, colon, rest = text.partition(":")
    match scheme if colon else "":
        case "s3":
            return _parse_s3(text)
        case "http" | "https":
            return WebAddress(url=_check_url(text, text))
        case "oci" | "oci+http":
            return _parse_oci(text, rest, is_plain=scheme != "oci")
        case "forge" | "github":
            return _parse_forge(text, rest, is_github=scheme == "github")
        case "file":
            return _parse_file(text, rest)
        case found if text and (not found or text.startswith(("/", "./", "../"))):
            return DirectoryAddress(path=Path(text))
        case _:
            raise _bad(text, "names no place that releases are published in")


def _parse_s3(text: str) -> S3Address:
    """As Nix writes it: ``s3://BUCKET?endpoint=HOST&region=NAME``; the endpoint may have its scheme."""
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise _bad(text, str(error)) from error
    if unknown := sorted(options.keys() - _OWN):
        raise _bad(text, f"{unknown[0]}: is no option of it: endpoint and region are")
    region = options.get("region", "us-east-1")
    endpoint = options.get("endpoint", f"s3.{region}.amazonaws.com")
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    if not parts.netloc:
        raise _bad(text, "has no bucket's name")
    if _BUCKET.fullmatch(parts.netloc) is None:
        raise _bad(text, "a bucket's name is of 2 to 63 letters, digits and . _ -, and begins with no sign")
    if _REGION.fullmatch(region) is None:
        raise _bad(text, "a region's name is of 1 to 40 small letters, digits and -: us-east-1")
    if parts.fragment:
        raise _bad(text, "what stands behind a # is no part of it")
    if _PATH.fullmatch(parts.path) is None or ".." in parts.path.split("/"):
        raise _bad(text, "a prefix is of letters, digits and . _ ~ + - between slashes")
    return S3Address(
        bucket=parts.netloc,
        prefix=parts.path.rstrip("/"),
        endpoint=_normalize(_check_url(endpoint, text, is_bare=True)),
        region=region,
    )


def _parse_file(text: str, rest: str) -> DirectoryAddress:
    path = rest.removeprefix("//")
    if not path.startswith("/"):
        raise _bad(text, "is no absolute path")
    return DirectoryAddress(path=Path(path))


def is_github_host(host: str) -> bool:
    """Whether a URL is one of GitHub's own; of a GitHub Enterprise Server no name says so."""
    try:
        name = (urlsplit(host).hostname or "").lower()
    except ValueError:  # no URL, which whoever reads it says
        return False
    return name in ("github.com", "www.github.com") or name.endswith(".ghe.com")


def _find_github(host: str, name: str, path: str) -> str:
    """A service of a GitHub: at a host of its own, or below a path of an Enterprise Server's (its REST API,
    "Getting started").
    """
    if not is_github_host(host):
        return f"{host}{path}"
    parts = urlsplit(host)
    return f"{parts.scheme}://{name}.{parts.netloc.lower().removeprefix('www.')}"


def _parse_forge(text: str, rest: str, *, is_github: bool) -> ForgeAddress:
    url = _check_url(rest, text)
    parts = urlsplit(url)
    words = parts.path.strip("/").split("/")
    if len(words) < 2 or not all(words):
        raise _bad(text, "names no repository: OWNER/NAME")
    above = "".join(f"/{word}" for word in words[:-2])
    host = f"{parts.scheme}://{parts.netloc}{above}"
    return ForgeAddress(host=host, repo="/".join(words[-2:]), is_github=is_github or is_github_host(host))


def _parse_oci(text: str, rest: str, *, is_plain: bool) -> OciAddress:
    """As registries are written everywhere, HOST/NAME:TAG, with the scheme before it."""
    host, _, name = rest.removeprefix("//").partition("/")
    repo, colon, tag = name.partition(":")
    if not rest.startswith("//") or _HOST.fullmatch(host) is None:
        raise _bad(text, "has no host, or more than a host where one is expected: a user is in no address")
    if not _is_port_good(f"//{host}"):
        raise _bad(text, "has a port that is none: 1 to 65535 are")
    if _REPOSITORY.fullmatch(repo) is None or (colon and _OCI_TAG.fullmatch(tag) is None):
        raise _bad(text, "names no repository: NAME or NAME:TAG, of which NAME has no capitals")
    return OciAddress(host=host, repo=repo, tag=tag or None, is_plain=is_plain)


def _check_url(url: str, text: str, *, is_bare: bool = False) -> str:
    if not _is_port_good(url):
        raise _bad(text, "is no URL, or has a port that is none: 1 to 65535 are")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or _HOST.fullmatch(parts.netloc) is None:
        raise _bad(text, "has no host, or more than a host where one is expected: a user is in no address")
    if parts.query or parts.fragment or _PATH.fullmatch(parts.path) is None or ".." in parts.path.split("/"):
        raise _bad(text, "a path is of letters, digits and . _ ~ + - between slashes, and there is no query")
    if is_bare and parts.path.strip("/"):
        raise _bad(text, "an endpoint is a host without a path")
    return url.rstrip("/")


def _normalize(url: str) -> str:
    """A host's URL as its Host header has it, which is signed: in lower case, and without a default port."""
    parts = urlsplit(url)
    default = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}"


def _is_port_good(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _bad(text: str, fault: str) -> InputError:
    return InputError(f"{redact_value(text)!r}: {fault}", hint=f"{_EXPECTED} was expected")
