"""Tokens that every iPXE can send, URLs that it can fetch, and the kinds of its errors."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.errors import InputError
from ectools.files import FileError
from ectools.ipxe.errors import REASONS
from ectools.ipxe.token import CHAIN_TOKEN, add_token, encode_token, is_token, read_tokens
from ectools.ipxe.urls import FAILURE_MARK, URL, expect_url

# Tokens


@pytest.mark.parametrize("text", ["a", "0", "A-Z._~/=:@-9", "x" * 512])
def test_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 513, "a b", "a&b", "a+b", "a%b", "a#b", "é", "\u0131", "a\n", "${a}"]
)
def test_what_is_no_token(text: str) -> None:
    assert not is_token(text)


@pytest.mark.parametrize(
    ("content", "at_most", "expected"),
    [
        (b"one", 1, ("one",)),
        (b"\r\none\r\n", 1, ("one",)),
        (b"one\ntwo\n", 2, ("one", "two")),
        (b"one\r\ntwo", 3, ("one", "two")),
        (b"a" * 512, 1, ("a" * 512,)),
    ],
)
def test_a_file_of_tokens(tmp_path: Path, content: bytes, at_most: int, expected: tuple[str, ...]) -> None:
    (tmp_path / "token").write_bytes(content)
    assert (
        read_tokens(tmp_path / "token", credential="none", option="--token-file", at_most=at_most) == expected
    )


@pytest.mark.parametrize(
    ("content", "at_most", "wanted"),
    [
        (b"", 1, "expected one line of 1 to 512"),
        (b"\n", 1, "expected one line of"),
        (b"one\ntwo", 1, "expected one line of"),
        (b"one\n\ntwo", 3, "expected one to 3 lines, each of"),
        (b"1\n2\n3", 2, "expected one to 2 lines, each of"),
        (b"s3cret word", 1, "expected one line of"),
        (b" s3cret", 1, "expected one line of"),
        (b"s3cret\xff", 1, "expected one line of"),
        (b"s3cret" * 100, 1, "expected one line of"),
    ],
)
def test_a_file_that_holds_none(tmp_path: Path, content: bytes, at_most: int, wanted: str) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(InputError, match=f"{tmp_path}/token: holds no token that iPXE can send") as caught:
        read_tokens(tmp_path / "token", credential="none", option="--token-file", at_most=at_most)
    assert wanted in (caught.value.hint or "")
    assert "--token-file names the file" in (caught.value.hint or "")
    assert "s3cret" not in caught.value.message + (caught.value.hint or "")


def test_a_file_that_is_too_large_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"a\n" * (32 << 10))
    with pytest.raises(InputError, match="holds no token"):
        read_tokens(tmp_path / "token", credential="none", option="-t")
    (tmp_path / "token").write_bytes(b"a\n" * (32 << 10) + b"b")
    with pytest.raises((FileError, InputError)) as caught:
        read_tokens(tmp_path / "token", credential="none", option="-t")
    assert "holds no token" not in caught.value.message
    with pytest.raises((FileError, InputError)):
        read_tokens(tmp_path / "none", credential="none", option="-t")


def test_the_service_managers_copy_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_bytes(b"file")
    (tmp_path / CHAIN_TOKEN).write_bytes(b"credential")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    read = read_tokens(tmp_path / "token", credential=CHAIN_TOKEN, option="-t")
    assert (read, CHAIN_TOKEN) == (("credential",), "chain-token")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", "http://a/?token=t%2F%3D"),
        ("http://a/x", "http://a/x?token=t%2F%3D"),
        ("http://a/x?b=c", "http://a/x?b=c&token=t%2F%3D"),
        ("http://a/x?b=c#d", "http://a/x?b=c&token=t%2F%3D#d"),
    ],
)
def test_a_token_in_a_url(url: str, expected: str) -> None:
    assert add_token(url, "t/=") == expected


@given(st.text("aZ09._~/=:@-", min_size=1))
def test_a_token_comes_through_a_url(token: str) -> None:
    assert parse_qs(urlsplit(add_token("http://a", token)).query) == {"token": [token]}
    assert re.fullmatch(r"[A-Za-z0-9._~%-]+", encode_token(token))


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/netboot.ipxe",
        "https://boot.example.org:8443/a?b=c%20d#e",
        "tftp://h/a",
        "http://[2001:db8::1]:80/",
        "http://a:1",
        "http://a:65535",
    ],
)
def test_urls_that_it_can_fetch(url: str) -> None:
    assert expect_url(url, instead="--token-file") is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "a", "/a", "//a/b", "ftp://a", "file:///a", "http:///a", "http://", "http://:80"),
        *("http://a:0", "http://a:65536", "http://a:x", "http://[::1", "http://a b", "http://a/${x}"),
        *("http://a/%2", "http://a/\\", 'http://a/"', "http://a/é", "http://a/\n"),
    ],
)
def test_what_is_no_url(url: str) -> None:
    wanted = expect_url(url, instead="--token-file")
    assert wanted is not None
    assert wanted.startswith("an absolute URL of RFC 3986's characters, http, https or tftp: ")


@pytest.mark.parametrize("url", ["http://user@a/", "http://user:password@a/", "http://@a/"])
def test_a_user_in_a_url(url: str) -> None:
    assert expect_url(url, instead="--token-file") == (
        "a URL without user and password, which everybody could read; --token-file names a secret"
    )


@pytest.mark.parametrize("text", ["-._~:/?#[]@!$&'()*+,;=", "%aF", "aZ09"])
def test_rfc_3986s_characters(text: str) -> None:
    assert URL.fullmatch(text)


@pytest.mark.parametrize("text", ["", "%", "%a", "%ag", "<", ">", "^", "`", "{", "|", "}", "é", " "])
def test_other_characters(text: str) -> None:
    assert URL.fullmatch(text) is None
    assert not text or URL.fullmatch(f"a{text}") is None


def test_the_mark_of_a_failure() -> None:
    assert FAILURE_MARK == "every.channel: NETBOOT FAILED:"


# Errors


def test_the_kinds_of_errors_by_their_codes() -> None:
    """EFI_ERROR's of MdePkg/Include/Uefi/UefiBaseType.h with the high bit, and PXENV_STATUS's (PXE 2.1)."""
    texts = {code: reason.text for reason in REASONS for code in reason.codes}
    words = {
        "not allowed": (0x8F, 0x3C),
        "not found": (0x8E, 0x3B),
        "no answer in time": (0x92, 0x35),
        "no way to its host": (0x90, 0x11),
        "the connection was refused": (0x95,),
        "the server answered with an error, or with less": (0x98,),
        "unreachable, or the server answered with an error": (0x39,),
        "does not speak its protocol": (0x83, 0x03),
        "not enough memory": (0x89, 0x06),
    }
    for text, codes in words.items():
        assert all(text in texts[code] for code in codes), text
    assert sorted(texts) == sorted(code for codes in words.values() for code in codes)
    assert len(texts) == sum(len(reason.codes) for reason in REASONS)
