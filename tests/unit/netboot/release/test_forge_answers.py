"""What a forge says of a release: what is asked, what is taken, and whose fault each error is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.fetching import RETRY
from support.forge import Forge, body, status

from ectools.errors import EcError
from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.rejection import Rejection, RejectionKind
from ectools.netboot.release.forge import Asset, ForgeError, ForgeRelease, advise, find_release
from ectools.netboot.settings.depot_address import ForgeAddress

API = "/api/v1/repos/owner/na%20me/releases"


def find(forge: Forge, answer: Any, *, tag: str | None = None) -> ForgeRelease:
    """``answer`` is JSON, or bytes."""
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    forge.answers = {f"{API}/latest": [body(data)], f"{API}/tags/a%2Fb%20c": [body(data)]}
    client = HttpClient(forge.url, retry=RETRY, advise=advise)
    return find_release(client, ForgeAddress(host=forge.url, repo="owner/na me"), tag=tag)


def fail(forge: Forge, answer: Any, *, tag: str | None = None) -> ForgeError:
    with pytest.raises(ForgeError) as caught:
        find(forge, answer, tag=tag)
    return caught.value


def asset(name: str = "boot.tar.gz", **fields: Any) -> dict[str, Any]:
    return {"name": name, "browser_download_url": f"http://forge.example/{name}", **fields}


def test_what_is_asked_for(forge: Forge) -> None:
    release = find(forge, {"tag_name": "a/b c", "assets": [asset(size=7)]}, tag="a/b c")
    assert release == ForgeRelease(
        tag="a/b c",
        where=f"{forge.url}{API}/tags/a%2Fb%20c",
        assets=(Asset(name="boot.tar.gz", url="http://forge.example/boot.tar.gz", size=7),),
    )
    assert find(forge, {"tag_name": "x"}).where == f"{forge.url}{API}/latest"


@pytest.mark.parametrize(
    ("size", "known"),
    [(1, 1), (0, None), (-1, None), (True, None), (1.5, None), ("7", None), (None, None)],
)
def test_sizes_that_the_forge_does_not_know(size: object, known: int | None, forge: Forge) -> None:
    assert find(forge, {"tag_name": "x", "assets": [asset(size=size)]}).assets[0].size == known


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        None,
        {},
        asset(name=""),
        asset(name="a/b"),
        {**asset(), "name": 7},
        {**asset(), "browser_download_url": None},
        {"name": "a"},
        {"browser_download_url": "http://forge.example"},
    ],
)
def test_a_file_that_is_none(wrong: object, forge: Forge) -> None:
    error = fail(forge, {"tag_name": "x", "assets": [asset(), wrong]})
    assert error.message == (
        f"{forge.url}{API}/latest: assets: a file without a name or a browser_download_url"
    )


@pytest.mark.parametrize("answer", [7, [], {}, {"tag_name": None}, {"assets": []}])
def test_what_is_no_release(answer: object, forge: Forge) -> None:
    error = fail(forge, answer)
    assert error.message == f"{forge.url}{API}/latest: the answer is not a release: it has no tag_name"
    assert error.hint == "release.host must be a Forgejo's address"


def test_assets_may_be_missing_and_are_else_a_list(forge: Forge) -> None:
    for assets in (None, []):
        assert find(forge, {"tag_name": "x", "assets": assets}).assets == ()
    assert fail(forge, {"tag_name": "x", "assets": "a"}).message == (
        f"{forge.url}{API}/latest: assets: an array was expected"
    )


def test_what_is_no_json(forge: Forge) -> None:
    error = fail(forge, b"nonsense")
    assert error.message == f"{forge.url}{API}/latest: the answer is not JSON"
    assert error.hint == "release.host must be a Forgejo's address"
    assert fail(forge, b" \n<html>").message == (
        f"{forge.url}{API}/latest: the answer is not JSON but a web page"
    )


def test_a_description_has_a_size(forge: Forge) -> None:
    text = json.dumps({"tag_name": "x"}).encode()
    assert find(forge, text.ljust(4 << 20)).tag == "x"
    with pytest.raises(FetchError, match="the release's description is larger than 4194304 bytes"):
        find(forge, text.ljust((4 << 20) + 1))


def test_a_tag_can_be_shown(forge: Forge) -> None:
    assert find(forge, {"tag_name": "x" * 255}).tag == "x" * 255
    where = f"{forge.url}{API}/latest: tag_name: "
    error = fail(forge, {"tag_name": "x" * 256})
    assert error.message.startswith(f"{where}'xxx")
    assert error.message.endswith(" is longer than 255 characters")
    assert fail(forge, {"tag_name": "a\nb"}).message == (
        f"{where}'a\\nb' has characters that cannot be shown"
    )


def test_a_release_of_another_tag(forge: Forge) -> None:
    error = fail(forge, {"tag_name": "other"}, tag="a/b c")
    assert error.message.endswith("the forge answers with the release 'other', and 'a/b c' was asked for")
    assert error.hint == "nothing was staged; does something in between answer for the forge?"
    assert fail(forge, {"tag_name": "A/B c"}, tag="a/b c").hint == (
        "release.tag must be written as the forge writes it"
    )


def test_a_latest_release_that_is_missing(forge: Forge) -> None:
    client = HttpClient(forge.url, retry=RETRY, advise=advise)
    forge.answers = {}
    with pytest.raises(FetchError) as caught:
        find_release(client, ForgeAddress(host=forge.url, repo="a/b"), tag=None)
    assert caught.value.hint == (
        "release.host, release.repo and release.tag name the release; a private repository looks the same "
        "without a token; the latest is no draft and no prerelease: release.tag may name one"
    )
    forge.answers = {"/api/v1/repos/a/b/releases/latest": [status(403)]}
    with pytest.raises(FetchError) as caught:
        find_release(client, ForgeAddress(host=forge.url, repo="a/b"), tag=None)
    assert (
        caught.value.hint
        == "a private repository needs a token (release.tokenFile, EVERY_CHANNEL_FORGE_TOKEN)"
    )


HOME = "the token goes to release.host alone, and this is another host, port or scheme"
READ = "the token needs read access to the repository (release.tokenFile)"
PRIVATE = "a private repository needs a token (release.tokenFile, EVERY_CHANNEL_FORGE_TOKEN)"
NAMES = "release.host, release.repo and release.tag name the release"
SAME = f"{NAMES}; a private repository looks the same without a token"


ELSEWHERE = (
    "the forge names its files by this address, and not by release.host (Forgejo: ROOT_URL, its storage)"
)


@pytest.mark.parametrize(
    ("code", "tokened", "tokened_elsewhere", "bare", "bare_elsewhere"),
    [
        (401, READ, HOME, PRIVATE, PRIVATE),
        (403, READ, HOME, PRIVATE, PRIVATE),
        (404, NAMES, HOME, SAME, f"{ELSEWHERE}: is it the forge's?"),
        (410, None, None, None, None),
        (500, None, None, None, None),
    ],
)
def test_what_to_do_about_a_status(
    code: int,
    tokened: str | None,
    tokened_elsewhere: str | None,
    bare: str | None,
    bare_elsewhere: str | None,
) -> None:
    def find_hint(*, has_token: bool, at_home: bool) -> str | None:
        return advise(Rejection(kind=RejectionKind.STATUS, status=code, has_token=has_token, at_home=at_home))

    assert find_hint(has_token=True, at_home=True) == tokened
    assert find_hint(has_token=True, at_home=False) == tokened_elsewhere
    assert find_hint(has_token=False, at_home=True) == bare
    assert find_hint(has_token=False, at_home=False) == bare_elsewhere


@pytest.mark.parametrize(
    ("kind", "has_token", "at_home", "words"),
    [
        (RejectionKind.UNREACHABLE, False, True, None),
        (RejectionKind.UNREACHABLE, False, False, f"{ELSEWHERE}: this machine must reach it"),
        (RejectionKind.PAGE, True, True, "is this a login? the token needs read access"),
        (RejectionKind.PAGE, False, True, "is this a login? a private repository needs a token"),
        (RejectionKind.PAGE, True, False, "is this a login or a portal in front of the forge?"),
        (RejectionKind.PAGE, False, False, "is this a login or a portal in front of the forge?"),
    ],
)
def test_what_to_do_about_the_rest(
    kind: RejectionKind, has_token: bool, at_home: bool, words: str | None
) -> None:
    hint = advise(Rejection(kind=kind, has_token=has_token, at_home=at_home))
    assert hint is words if words is None else (hint or "").startswith(words)


def test_what_to_do_where_nothing_was_asked() -> None:
    for has_token in (True, False):
        assert advise(Rejection(kind=RejectionKind.UNENCRYPTED, has_token=has_token, at_home=False)) == (
            "the forge must name its files by https too (Forgejo: ROOT_URL)"
        )


def release(*assets: Asset) -> ForgeRelease:
    return ForgeRelease(tag="x", where="there", assets=assets)


def file(name: str, url: str = "http://forge.example/x") -> Asset:
    return Asset(name=name, url=url, size=None)


def test_the_one_that_matches() -> None:
    one, other = file("boot-1.tar.gz"), file("boot-1.iso")
    both = release(one, other)
    assert both.choose_asset("boot-*.tar.*") is one
    assert both.find_asset("boot-1.iso") is other
    assert both.find_asset("boot-*.iso") is None
    sums = [file(f"boot-1.tar.gz.{suffix}") for suffix in ("sha256", "minisig", "sha256.sig")]
    assert release(*sums, one).choose_asset("boot-*.tar.*") is one
    assert release(sums[0]).choose_asset("boot-*.tar.*") is sums[0]
    assert both.choose_asset("boot-*") is one
    both = release(one, other, file("boot-2.tar.xz"))
    with pytest.raises(ForgeError) as caught:
        both.choose_asset("boot-*")
    assert caught.value.message == "there: several files match boot-*: it has boot-1.tar.gz, boot-2.tar.xz"
    assert caught.value.hint == (
        "release.artifact is the pattern; release.systems names several systems of one release"
    )
    with pytest.raises(ForgeError, match=r"^there: no file matches BOOT-\*: it has boot-1.tar"):
        both.choose_asset("BOOT-*")
    with pytest.raises(ForgeError, match=r"no file matches x: it has 'a\\u202fb'$"):
        release(file("a\u202fb")).choose_asset("x")
    with pytest.raises(ForgeError, match=r"no file matches x: it has nothing$"):
        release().choose_asset("x")


def test_only_of_the_one_that_is_wanted_the_rest_is_looked_at() -> None:
    bad = file("bad", "ftp://forge.example/x")
    long, odd = file("n" * 256), file("a\nb")
    some = release(bad, long, odd, file("good"), file("n" * 255))
    assert some.choose_asset("good").name == "good"
    assert some.find_asset("n" * 255)
    for name, words in (
        ("bad", r"^there: bad: browser_download_url: not an address of the form"),
        ("n" * 256, r"^there: assets: 'nnn.* is longer than 255 characters$"),
        ("a\nb", r"^there: assets: 'a\\nb' has characters that cannot be shown$"),
    ):
        for look in (some.find_asset, some.choose_asset):
            with pytest.raises(EcError, match=words):
                look(name)
