"""A web page in a file's place: known by its bytes, and by its header together with them."""

from __future__ import annotations

import pytest
from support.forge import Forge, body, redirect, start_forge

from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.rejection import Rejection, RejectionKind
from ectools.fetch.retry import RetryPolicy
from ectools.fetch.web_page import describe_page, is_page_type

LOGIN = b"<!DOCTYPE html>\n<html><head>\n<title lang=en>Sign In &amp; go -\n Forge</title></head>"


@pytest.mark.parametrize(
    ("content_type", "beginning", "expected"),
    [
        (None, LOGIN, "a web page, titled 'Sign In & go - Forge'"),
        ("application/gzip", b"\xef\xbb\xbf \n<HTML>", "a web page"),
        ("text/html; charset=utf-8", b"\n <div>", "a web page"),
        ("Application/XHTML+XML", b"<?xml", "a web page"),
        # A server that names everything so.
        ("text/html", b"\x1f\x8b\x08", None),
        ("text/html", b"0123  archive\n", None),
        ("text/html", b"", None),
        ("text/plain", b"<div>", None),
        (None, b"<?xml version='1.0'?>", None),
        (None, b"<html><title> </title>", "a web page"),
    ],
)
def test_what_is_a_page(content_type: str | None, beginning: bytes, expected: str | None) -> None:
    assert describe_page(content_type, beginning) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [(None, False), ("text/html", True), (" TEXT/HTML ;x", True), ("text/htmlx", False)]
)
def test_the_header(text: str | None, *, expected: bool) -> None:
    assert is_page_type(text) is expected


def fail(forge: Forge, *, size: int | None = None) -> tuple[FetchError, list[Rejection]]:
    asked: list[Rejection] = []

    def advise(rejection: Rejection) -> str:
        asked.append(rejection)
        return "log in"

    client = HttpClient(forge.url, authorization="token s", retry=RetryPolicy(attempts=1), advise=advise)
    with pytest.raises(FetchError) as caught:
        client.read(f"{forge.url}/file", limit=1000, what="it", size=size)
    return caught.value, asked


@pytest.mark.parametrize("size", [None, 3, 4000])
def test_a_page_is_told_before_its_length_is(size: int | None) -> None:
    with start_forge() as forge:
        forge.answers["/file"] = [body(LOGIN)]
        error, asked = fail(forge, size=size)
    assert error.message == (
        f"{forge.url}/file: a web page, titled 'Sign In & go - Forge', and a file was expected"
    )
    assert error.hint == "log in"
    assert asked == [Rejection(kind=RejectionKind.PAGE, status=200, has_token=True, at_home=True)]


def test_a_page_after_a_redirect_says_where_it_is() -> None:
    with start_forge() as forge, start_forge() as portal:
        forge.answers["/file"] = [redirect(f"{portal.url}/login?secret=1")]
        portal.answers["/login?secret=1"] = [body(LOGIN)]
        error, asked = fail(forge)
    assert (
        f"{forge.url}/file: a web page, titled 'Sign In & go - Forge', from {portal.url}/login"
        in error.message
    )
    assert "secret" not in error.message
    assert asked == [Rejection(kind=RejectionKind.PAGE, status=200, has_token=True, at_home=False)]


def test_what_cannot_be_reached_in_all_attempts_is_told_by_whose_it_is() -> None:
    with start_forge() as forge:
        with start_forge() as gone:
            pass
        forge.answers["/file"] = [redirect(f"{gone.url}/file")]
        error, asked = fail(forge)
    assert (error.hint, error.message.endswith("given up after 1 attempts in a row")) == ("log in", True)
    assert asked == [Rejection(kind=RejectionKind.UNREACHABLE, has_token=True, at_home=False)]
