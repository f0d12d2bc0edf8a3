"""Staging from a forge that is slow, wrong, truncated, redirecting or refusing, over real sockets."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest
from support.clock import Clock
from support.fetching import DATA, HALF, SECRET, fetch, reject
from support.forge import (
    API,
    DOWNLOADS,
    Forge,
    answers_before,
    body,
    endless,
    hangs_up,
    nonsense,
    ranged,
    redirect,
    stalls,
    start_forge,
    status,
    trailed,
    trickles,
    whole,
)
from support.releases import (
    ARCHIVE,
    check_whole,
)

from ectools import log
from ectools.errors import EcError
from ectools.netboot.release.stage import StageOutcome

if TYPE_CHECKING:
    from pathlib import Path

    from support.forge import Answer


def test_a_release_from_a_forge(forge: Forge, staged_dir: Path) -> None:
    staged = fetch(staged_dir, forge, release_tag="boot-v1")
    assert staged.outcome is StageOutcome.STAGED
    release = check_whole(staged_dir)
    assert release is not None
    assert (release.tag, release.systems[0].source) == ("boot-v1", f"{forge.url}{DOWNLOADS}/{ARCHIVE}")
    assert [path for path, _ in forge.seen] == [
        f"{API}/tags/boot-v1",
        f"{DOWNLOADS}/SHA256SUMS.txt",
        f"{DOWNLOADS}/{ARCHIVE}",
    ]
    assert all(headers["Authorization"] == f"token {SECRET}" for _, headers in forge.seen)


def test_the_latest_and_what_is_there_is_not_downloaded_again(forge: Forge, staged_dir: Path) -> None:
    fetch(staged_dir, forge)
    assert fetch(staged_dir, forge).outcome is StageOutcome.UNCHANGED
    assert len(forge.asked_archive()) == 1
    # Unless it is damaged.
    (staged_dir / "current" / "kernel").write_bytes(b"bad")
    fetch(staged_dir, forge)
    assert len(forge.asked_archive()) == 2
    assert check_whole(staged_dir)


def test_a_public_release_needs_no_token(forge: Forge, staged_dir: Path) -> None:
    fetch(staged_dir, forge, release_tokenFile=None)
    assert all("Authorization" not in headers for _, headers in forge.seen)


def offer(name: str, url: str = "http://127.0.0.1/") -> Answer:
    """A release with one asset."""
    return body(
        json.dumps({"tag_name": "x", "assets": [{"name": name, "browser_download_url": url}]}).encode()
    )


# What the forge says of the release → words of the error.
RELEASES: dict[str, tuple[list[Answer], str]] = {
    "401": ([status(401)], "the token is refused .status 401"),
    "403": ([status(403)], "the token may not read this"),
    "404": ([status(404)], "not found .status 404"),
    "410": ([status(410)], "status 410"),
    "204": ([status(204)], "status 204"),
    "500 for ever": ([status(500)], "status 500; given up after 3 attempts"),
    "503 for ever": ([status(503)], "status 503; given up"),
    "429 for long": ([status(429, Retry_After="86400")], "status 429; it asks to wait 86400 s"),
    "429 for ever": ([status(429, Retry_After="0")], "status 429; given up"),
    "a web page": ([body(b"<!DOCTYPE html><title>Forgejo</title>")], "not JSON but a web page"),
    "nothing": ([body(b"")], "not JSON"),
    "half of it": ([whole(b'{"tag_name": "boot-v1"', length=500)], "ended .* bytes too early; given up"),
    "an array": ([body(b"[]")], "not a release"),
    "another object": ([body(b'{"message": "x"}')], "not a release"),
    "a number for a tag": ([body(b'{"tag_name": 7}')], "not a release"),
    "a draft": ([body(b'{"tag_name": "boot-v1", "draft": true}')], "boot-v1 is a draft, and no release yet"),
    "assets that are none": ([body(b'{"tag_name": "x", "assets": {"a": 1}}')], "assets: an array"),
    "an asset without a name": ([body(b'{"tag_name": "x", "assets": [{}]}')], "without a name"),
    "an asset elsewhere": (
        [offer(ARCHIVE, "file:///etc/passwd")],
        "browser_download_url: not an address",
    ),
    "no assets": ([body(b'{"tag_name": "x", "assets": null}')], "no file matches .*it has nothing"),
    "a huge answer": ([body(b'{"tag_name": "' + b"x" * (5 << 20))], "larger than"),
    "a deep answer": ([body(b"[" * 200_000)], "not JSON"),
    "not UTF-8": ([body(b'{"tag_name": "\xff"}')], "not JSON"),
    "no answer": ([stalls()], "given up after 3 attempts"),
    "no more": ([stalls(b"{", length=100)], "given up after 3 attempts"),
    "a byte now and then": ([trickles(b" " * 1000)], "less than 1024 bytes a second; given up"),
    "hanging up": ([hangs_up], "given up after 3 attempts"),
    "another protocol": ([nonsense], "given up after 3 attempts"),
    "a redirect to no URL": (
        [redirect("http://[bad/")],
        "redirects to no URL: Invalid IPv6 URL",
    ),
    "a redirect to no host's name": ([redirect("http://.../")], "label empty or too long"),
    "a tag that is no text": ([body(b'{"tag_name": "\\ud800"}')], "characters that cannot be shown"),
    "a tag for a terminal": ([body(b'{"tag_name": "\\u001b[2J"}')], "characters that cannot be shown"),
    "a tag that is long": ([body(b'{"tag_name": "%s"}' % (b"x" * 300))], "is longer than 255 characters"),
    "an asset with a long name": (
        [offer(f"{ARCHIVE.removesuffix('.gz')}.{'x' * 300}")],
        "is longer than 255 characters",
    ),
    "an asset with a long address": (
        [offer(ARCHIVE, "http://" + "x" * 9000)],
        "browser_download_url: longer than 4096 characters",
    ),
    "an answer without an end": ([endless(b'{"tag_name": "x"')], "larger than 4194304 bytes"),
    "answers before an answer": ([answers_before], r"1001 lines around 0 bytes of content.*; given up"),
    "a trailer without an end": ([trailed(b"{}")], r"\d+ lines around \d+ bytes of content.*; given up"),
    "a length, and chunks": ([endless(b"{}", length=2)], "announces 2 bytes, and then chunks"),
    "a redirect to a long address": (
        [redirect("/" + "x" * 9000)],
        r"x… \(\d+ characters\), which is not followed",
    ),
    "a redirect to nowhere": ([status(302)], "redirects to nowhere"),
    "a redirect to a file": ([redirect("file:///etc/passwd")], "which is not followed"),
    "a redirect with a password": ([redirect("http://a:b@127.0.0.1/")], "which is not followed"),
    "a redirect to itself": ([redirect(f"{API}/latest")], "redirects in a circle"),
}


STALLS = {"no answer": 0.1, "no more": 0.1}


@pytest.mark.parametrize("name", RELEASES)
def test_a_forge_from_hell(
    name: str, forge: Forge, staged_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, words = RELEASES[name]
    if name == "a byte now and then":
        monkeypatch.setattr("ectools.fetch.client.time", Clock(step=40))
    forge.on_release(*answers)
    reject(staged_dir, forge, words, stall=STALLS.get(name, 60))


def test_other_files_of_a_release_may_be_odd(forge: Forge, staged_dir: Path) -> None:
    names = [ARCHIVE, "SHA256SUMS.txt"]
    wanted = [{"name": name, "browser_download_url": f"{forge.url}{DOWNLOADS}/{name}"} for name in names]
    odd = [
        # As macOS names it: with a space that is not printable, as Python has it.
        {"name": "Screenshot at 9.41\u202fAM.png", "browser_download_url": f"{forge.url}/1"},
        {"name": "mirror", "browser_download_url": "ftp://example.org/boot"},
        {"name": "x" * 300, "browser_download_url": f"{forge.url}/2"},
    ]
    forge.publish(assets=[*odd, *wanted])
    assert fetch(staged_dir, forge).outcome is StageOutcome.STAGED
    error = reject(staged_dir, forge, "no file matches nothing", release_artifact="nothing")
    assert r"it has 'Screenshot at 9.41\u202fAM.png', mirror, xxx" in error.message


def test_retry_after_is_honoured(forge: Forge, staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("ectools.fetch.client.time", clock)
    release = forge.answers[f"{API}/latest"]
    forge.on_release(status(429, Retry_After="2"), *release)
    fetch(staged_dir, forge)
    assert clock.slept == [2]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_the_token_stays_at_home(code: int, forge: Forge, staged_dir: Path) -> None:
    with start_forge(DATA) as other:
        forge.on_archive(redirect("/moved?signature=hidden", code))
        forge.answers["/moved?signature=hidden"] = [redirect(f"{other.url}/elsewhere", code)]
        other.answers["/elsewhere"] = [ranged(DATA, cut=HALF), ranged(DATA)]
        fetch(staged_dir, forge)
        assert [headers.get("Authorization") for headers in forge.asked("/moved?signature=hidden")] == [
            f"token {SECRET}"
        ] * 2
        assert len(other.asked("/elsewhere")) == 2
        for headers in other.asked("/elsewhere"):
            assert SECRET not in json.dumps(headers)
            assert "Authorization" not in headers


def test_the_token_does_not_follow_an_asset_elsewhere(forge: Forge, staged_dir: Path) -> None:
    with start_forge(DATA) as other:
        forge.answers[f"{API}/latest"] = other.answers[f"{API}/latest"]
        fetch(staged_dir, forge)
        assert all("Authorization" not in headers for _, headers in other.seen)


def test_a_private_file_elsewhere_is_explained(forge: Forge, staged_dir: Path) -> None:
    with start_forge(DATA) as other:
        other.answers = {}
        forge.on_archive(redirect(f"{other.url}/private"))
        error = reject(staged_dir, forge, "not found")
        assert "the token goes to release.host alone" in error.render()


def test_no_log_line_holds_the_token(
    forge: Forge, staged_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log.set_up(verbose=True)
    forge.on_archive(status(503), redirect("/moved?signature=hidden"))
    forge.answers["/moved?signature=hidden"] = [ranged(DATA, cut=HALF), ranged(DATA)]
    fetch(staged_dir, forge)
    said = "".join(capfd.readouterr())
    assert "trying again" in said
    assert SECRET not in said
    assert "hidden" not in said


def test_many_redirects(forge: Forge, staged_dir: Path) -> None:
    for number in range(20):
        forge.answers[f"/{number}"] = [redirect(f"/{number + 1}")]
    forge.on_archive(redirect("/0"))
    reject(staged_dir, forge, "or more than 8")


def test_nobody_there(forge: Forge, staged_dir: Path) -> None:
    # Held, without listening: a port that was let go may be anybody's by now.
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        gone = Forge(url=f"http://127.0.0.1:{held.getsockname()[1]}", archive=b"")
        reject(staged_dir, gone, "refused; given up after 3 attempts")


@pytest.mark.parametrize(
    ("assets", "words"),
    [
        ([ARCHIVE, "ec-runner-x86_64-netboot-other.tar.zst"], f"several files match .*{ARCHIVE}, ec-runner"),
        (
            ["ec-runner-aarch64.iso", "SHA256SUMS.txt"],
            "no file matches .* it has ec-runner-aarch64.iso, SHA256SUMS",
        ),
    ],
)
def test_which_archive(assets: list[str], words: str, forge: Forge, staged_dir: Path) -> None:
    forge.publish(assets=[{"name": name, "browser_download_url": f"{forge.url}/{name}"} for name in assets])
    reject(staged_dir, forge, words)
    forge.publish()
    fetch(staged_dir, forge, release_artifact="*-test.tar.gz")


def test_another_release_than_was_asked_for(forge: Forge, staged_dir: Path) -> None:
    forge.answers[f"{API}/tags/boot-v2"] = forge.answers[f"{API}/tags/boot-v1"]
    words = "answers with the release 'boot-v1', and 'boot-v2' was asked for"
    reject(staged_dir, forge, words, release_tag="boot-v2")
    assert len(forge.seen) == 1
    # Forges look tags up whatever their case.
    forge.answers[f"{API}/tags/Boot-v1"] = forge.answers[f"{API}/tags/boot-v1"]
    error = reject(staged_dir, forge, "answers with the release 'boot-v1'", release_tag="Boot-v1")
    assert "as the forge writes it" in error.render()


def test_of_many_files_a_few_are_told(forge: Forge, staged_dir: Path) -> None:
    asset = {"browser_download_url": f"{forge.url}/x"}
    forge.publish(assets=[{"name": f"{number}-{'x' * 100}.iso", **asset} for number in range(20_000)])
    error = reject(staged_dir, forge, "no file matches .* and 19992 more")
    assert len(error.render()) < 2000


def test_sums_are_as_long_as_announced(forge: Forge, staged_dir: Path) -> None:
    path = f"{DOWNLOADS}/SHA256SUMS.txt"
    (sums,) = forge.answers[path]
    forge.answers[path] = [endless(b"#" * 64)]
    reject(staged_dir, forge, r"SHA256SUMS\.txt: longer than the \d+ bytes that were announced")
    forge.answers[path] = [body(b"#")]
    reject(staged_dir, forge, r"SHA256SUMS\.txt: is 1 bytes long, and \d+ were announced")
    forge.answers[path] = [sums]
    fetch(staged_dir, forge)


def test_no_latest_release(forge: Forge, staged_dir: Path) -> None:
    forge.on_release(status(404))
    assert "no draft and no prerelease" in reject(staged_dir, forge, "status 404").render()
    forge.answers = {}
    error = reject(staged_dir, forge, "status 404", release_tag="boot-v1")
    assert "prerelease" not in error.render()


def test_no_sums_published(forge: Forge, staged_dir: Path) -> None:
    url = f"{forge.url}{DOWNLOADS}/{ARCHIVE}"
    forge.publish(assets=[{"name": ARCHIVE, "browser_download_url": url}])
    reject(staged_dir, forge, r"there is no SHA256SUMS\.txt")
    assert fetch(staged_dir, forge, release_requireSums=None).outcome is StageOutcome.STAGED


def test_sums_that_are_a_web_page(forge: Forge, staged_dir: Path) -> None:
    forge.publish(sums="<html>Sign in</html>")
    reject(staged_dir, forge, r"SHA256SUMS\.txt: a web page, and a file was expected")
    assert forge.asked_archive() == []


@pytest.mark.parametrize("token", ["", "\n", "two words", "two\nlines", "nul\0", "umläut"])
def test_a_token_that_is_none(token: str, forge: Forge, staged_dir: Path) -> None:
    path = staged_dir.parent / "bad-token"
    path.write_text(token)
    error = reject(staged_dir, forge, "holds no token", release_tokenFile=str(path))
    assert token.strip() == "" or token not in error.render()
    assert forge.seen == []


def test_a_token_without_an_end(forge: Forge, staged_dir: Path) -> None:
    path = staged_dir.parent / "bad-token"
    os.mkfifo(path)
    with pytest.raises(EcError, match="bad-token: not a regular file"):
        fetch(staged_dir, forge, release_tokenFile=str(path))
    assert forge.seen == []


def test_where_the_token_comes_from(
    forge: Forge, staged_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERY_CHANNEL_FORGE_TOKEN", "from-the-environment")
    fetch(staged_dir, forge, release_tokenFile=None)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "forge-token").write_text("from-the-credential")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    fetch(staged_dir, forge)
    tokens = {headers["Authorization"] for _, headers in forge.seen}
    assert tokens == {"token from-the-environment", "token from-the-credential"}
