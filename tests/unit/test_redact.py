"""Nothing secret is left of a text, and all that a reader needs is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.redaction import TOKENS, USERS

from ectools.redact import (
    REDACTED,
    redact_after_token,
    redact_secrets,
    redact_tokens,
    redact_url,
    redact_user,
)


def test_what_stands_in_place_of_a_secret() -> None:
    assert REDACTED == "***"


@pytest.mark.parametrize(("text", "shown"), TOKENS)
def test_tokens_in_a_text(text: str, shown: str) -> None:
    assert redact_tokens(text) == shown
    assert redact_tokens(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/boot.ipxe", "/boot.ipxe"),
        ("/?token=s&more=t", "/?token=***"),
        ("/?token=s\nand more", "/?token=***"),
        ("/?TOKEN%3ds token=t", "/?TOKEN%3d***"),
        ("/?mytoken%253Ds and more", "/?mytoken%253D***"),
        ("/?token=", "/?token=***"),
    ],
)
def test_all_after_a_strangers_token(text: str, shown: str) -> None:
    assert redact_after_token(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *USERS,
        ("http://us\ner@forge.example", "http://***@forge.example"),
    ],
)
def test_users(text: str, shown: str) -> None:
    assert redact_user(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:password@forge.example:3000/a/b?key=s#t", "https://forge.example:3000/a/b"),
        ("https://a@b@forge.example/", "https://forge.example/"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ("http://[bad", "(no URL)"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_secrets_wherever_they_stand() -> None:
    assert redact_secrets("a-one-b-two-one", ["one", "two"]) == "a-***-b-***-***"
    assert redact_secrets("a", []) == "a"


TOKEN = st.text("abcXYZ0189", min_size=12, max_size=20)


@given(st.text(max_size=30), TOKEN, st.sampled_from(["=", "%3d", "%3D", "%253d"]), st.text(max_size=30))
def test_no_token_is_left(before: str, token: str, sign: str, after: str) -> None:
    text = f"{before} token{sign}{token}&{after.replace(token, '')}"
    assert token not in redact_tokens(text).removeprefix(before)
    assert redact_after_token(text).endswith(REDACTED)


@given(st.text("ab:@%!", max_size=12), st.text("abc", min_size=1))
def test_no_password_is_left(user: str, host: str) -> None:
    assert redact_url(f"http://{user}:s3cret@{host}/") == f"http://{host}/"
