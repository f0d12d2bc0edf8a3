"""Which proxy the environment names, and for whom it names none."""

from __future__ import annotations

import pytest

from ectools.fetch.env_proxy import find_proxy

pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("http://forge.example/x", "", "http://proxy:3128"),
        ("https://forge.example", "", "http://secure:3128"),
        ("http://forge.example", "other.example", "http://proxy:3128"),
        ("http://forge.example:3000", "forge.example", None),
        ("http://forge.example:3000", "forge.example:3000", None),
        ("http://forge.example:3000", "forge.example:3001", "http://proxy:3128"),
        ("http://git.forge.example", ".forge.example", None),
        ("http://forge.example", "*", None),
        ("http://192.0.2.7", "192.0.2.0/24", None),
        ("http://192.0.2.7", "192.0.2.1/24", None),
        ("http://192.0.2.7", "a name, 192.0.2.0/24", None),
        ("http://192.0.2.7", "other.example,192.0.2.0/24", None),
        ("http://192.0.2.7", "192.0.3.0/24", "http://proxy:3128"),
        ("http://[2001:db8::7]:80/", "x, 2001:db8::/32", None),
        ("http://[2001:db8::7]:80/", "[2001:db8::7]", None),
        ("http://[2001:db8::7]/", "192.0.2.0/24", "http://proxy:3128"),
        ("http://127.0.0.1:3000", "", None),
        ("http://127.9.9.9", "", None),
        ("http://[::1]", "", None),
        ("http://localhost", "", None),
        ("http://localhost.example", "", "http://proxy:3128"),
    ],
)
def test_which_proxy(url: str, no_proxy: str, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_proxy(url) is None
    monkeypatch.setenv("http_proxy", "proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://secure:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert find_proxy(url) == expected


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("http://user:p%40ss@proxy:3128", "http://user:p%40ss@proxy:3128"),
        ("http://user:p@s/s?#[]@proxy:3128", "http://user:p%40s%2Fs%3F%23%5B%5D@proxy:3128"),
        ("http://user:p://s@proxy", "http://user:p:%2F%2Fs@proxy"),
        ("user:a!$&'()*+,;=-._~b@proxy", "http://user:a!$&'()*+,;=-._~b@proxy"),
        ("https://proxy/x", "https://proxy/x"),
    ],
)
def test_a_password_with_any_character(proxy: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    assert find_proxy("http://forge.example") == expected


def test_one_proxy_for_all_schemes_comes_after_that_of_the_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://any:1")
    monkeypatch.setenv("https_proxy", "http://secure:2")
    assert find_proxy("http://forge.example") == "http://any:1"
    assert find_proxy("https://forge.example") == "http://secure:2"
