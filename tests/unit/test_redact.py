"""Nothing secret is left of a text, and all that a reader needs is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.redaction import TOKENS, USERS

from ectools.errors import InputError, Problem
from ectools.parsing import Problems
from ectools.redact import (
    REDACTED,
    redact_after_token,
    redact_secrets,
    redact_tokens,
    redact_url,
    redact_urls,
    redact_user,
    redact_value,
)
from ectools.schema_words import show_value


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h/x: is wrong, ask root@h", "https://***@h/x: is wrong, ask root@h"),
        ("nats://u:p@a,nats://v:q@b: two", "nats://***@b: two"),
        ("https:/u:p@h: no such file", "https:/***@h: no such file"),
        ("'s3://AKIA:a/b+c@bucket': no", "'s3://***@bucket': no"),
        ("s3://b?secret_key=x&region=y: no", "s3://b?secret_key=***&region=y: no"),
        ("https://h/?X-Amz-Signature=0a&X-Amz-Date=1", "https://h/?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://a/x?v=1;key=s", "https://a/x?v=1;key=***"),
        ("http://a/?next=http://b/?token=s&c=d", "http://a/?next=http://b/?token=***&c=d"),
        ("https://h/?a=b?access_key=s", "https://h/?a=b?access_key=***"),
        ("https://h/?a=key?b=c", "https://h/?a=key?b=c"),
        ("file:///units/getty@tty1.service: no", "file:///units/getty@tty1.service: no"),
        ("oci://registry.example/name@sha256:0a", "oci://registry.example/name@sha256:0a"),
        ("oci://u:p@registry.example/name@sha256:0a", "oci://***@registry.example/name@sha256:0a"),
        ("file.json:1:5: a b@c", "file.json:1:5: a b@c"),
        ("https://h/x is at b@c", "https://h/x is at b@c"),
        ("getty@tty1.service", "getty@tty1.service"),
    ],
)
def test_urls_in_a_message(text: str, shown: str) -> None:
    assert redact_urls(text) == shown
    assert redact_urls(shown) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://u:a b\nc@h/x", "https://***@h/x"),
        ("forge:https://u:p/q@h", "forge:https://***@h"),
        ("u:p@h:4222", "***@h:4222"),
        ("registry.example:5000/name@sha256:0a", "registry.example:5000/name@sha256:0a"),
        ("oci://registry.example:5000/name@sha256:0a", "oci://registry.example:5000/name@sha256:0a"),
        ("file:///units/getty@tty1.service", "file:///units/getty@tty1.service"),
        ("serial S1@x, see //a b@c", "serial S1@x, see //a b@c"),
        (["nats://u:p@h", 5, None], ["nats://***@h", 5, None]),
        ({"https://u@h": {"a": ("https://u@h",)}}, {"https://***@h": {"a": ["https://***@h"]}}),
        (True, True),
    ],
)
def test_values_of_documents(value: object, shown: object) -> None:
    assert redact_value(value) == shown
    assert redact_value(shown) == shown


_PASSWORD = st.text(st.characters(codec="ascii", exclude_characters="@"), min_size=1).map("sEcret{}".format)


@given(
    st.sampled_from(["https://u:{}@h/x", "nats://{}@h", "s3://AKIA:{}@b", "forge:https://u:{}@h", "u:{}@h"]),
    _PASSWORD,
)
def test_no_message_has_the_password_of_a_url_that_is_a_setting(form: str, password: str) -> None:
    value = form.format(password)
    if form.startswith("u:") and any(each in password for each in " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\"':/"):
        return  # of what has no scheme, nobody knows where it begins
    problems = Problems("services.x")
    problems.add("source", value, "not usable", "another")
    problems.add("sources", [value], "not usable", "another")
    problem = Problem(option="x", message=f"is {show_value(value)}")
    texts = [problems.error("x.json").render(), problem.render(), repr(problems.found)]
    assert [text for text in texts if "sEcret" in text] == []


def test_every_error_is_without_them() -> None:
    error = InputError("https://u:sEcret@h: wrong", hint="not nats://u:sEcret@h")
    assert (error.message, str(error)) == ("https://***@h: wrong",) * 2
    assert error.hint == "not nats://***@h"
    problem = Problem(option="x", message="m", expected="https://u:p@h", hint="s3://a:b@c")
    assert (problem.expected, problem.hint) == ("https://***@h", "s3://***@c")


@pytest.mark.parametrize(
    "piece", [";key", "?a", ";", "/", "//", ":", "a:", "@", "a@", ":a@", "token", "%25", "a:/"]
)
def test_a_text_that_is_made_to_take_long_takes_no_longer(piece: str) -> None:
    """What goes over it more than once would not come to an end."""
    text = "https://h/" + piece * 200_000
    for redact in (redact_tokens, redact_after_token, redact_urls, redact_value, redact_user, redact_url):
        redact(text)
        redact(text + "=x@y")
