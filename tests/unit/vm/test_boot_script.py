from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.ipxe.language import is_word
from ectools.ipxe.token import add_token
from ectools.ipxe.urls import URL
from ectools.vm.boot_script import TRIES, build_boot_script, find_effective_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings

DNS, OTHER_DNS = ipaddress.IPv4Address("1.1.1.1"), ipaddress.IPv4Address("9.9.9.9")
URLS = st.from_regex(URL, fullmatch=True).map(lambda text: text.rstrip("\n")).filter(is_word)
TOKENS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def commands(script: str) -> list[str]:
    return [line for line in script.splitlines() if line and line[0] not in "#:"]


def test_the_script_configures_the_network_then_chains_and_falls_back_to_a_shell() -> None:
    script = build_boot_script(url="http://10.0.2.2:8080/netboot.ipxe", dns=DNS)
    lines = commands(script)
    assert script.startswith("#!ipxe\n")
    order = [
        lines.index(line) for line in lines if line.startswith(("dhcp", "set dns 1.1.1.1", "chain ", "shell"))
    ]
    assert order == sorted(order)
    # Unconditionally: with `isset ${ip} || dhcp` the settings may be cached while the NIC is not open.
    assert "dhcp ${ec-nic} && goto leased ||" in lines
    assert "chain http://10.0.2.2:8080/netboot.ipxe && exit ||" in lines
    assert f"iseq ${{ec-round}} {TRIES} && goto no_${{ec-missed}} ||" in lines
    assert lines[-2:] == ["shell", "exit 1"]


def test_every_goto_of_the_script_has_its_label() -> None:
    script = build_boot_script(url="http://10.0.2.2:8080/netboot.ipxe", dns=DNS)
    labels = {line[1:] for line in script.splitlines() if line.startswith(":")}
    values = {"${ec-for}": ("count", "chain"), "${ec-missed}": ("lease", "chain")}
    for target in re.findall(r"goto (\S+)", script):
        variable = next((name for name in values if name in target), "")
        wanted = {target.replace(variable, value) for value in values.get(variable, ("",))}
        assert wanted <= labels


@given(url=URLS, other=URLS, dns=st.ip_addresses(v=4), token=st.none() | TOKENS)
def test_no_value_changes_the_commands(
    url: str, other: str, dns: ipaddress.IPv4Address, token: str | None
) -> None:
    """The script's words differ only where the values stand, and no value begins a comment or a variable."""

    def words(url: str, dns: ipaddress.IPv4Address, token: str | None) -> list[list[str]]:
        return [line.split() for line in build_boot_script(url=url, dns=dns, token=token).split("\n")]

    one, two = words(url, dns, token), words(other, OTHER_DNS, None)
    assert [len(line) for line in one] == [len(line) for line in two]
    changed = [
        (line[index - 1], word)
        for line, twin in zip(one, two, strict=True)
        for index, (word, old) in enumerate(zip(line, twin, strict=True))
        if word != old
    ]
    assert {before for before, _ in changed} <= {"dns", "chain", "FAILED:"}
    assert not any("${" in word or "\\" in word for _, word in changed)


@pytest.mark.parametrize(
    "url",
    [
        *("", "http://a/ b", "http://a/\nshell", "http://a/${x}", "http://a/\\", "http://é/"),
        # Of RFC 3986's characters, and no word to iPXE.
        *(";", "&&", "#x"),
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        build_boot_script(url=url, dns=DNS)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", "http://a/?token=t%2F%26"),
        ("http://a/x", "http://a/x?token=t%2F%26"),
        ("http://a/x?b=c#d", "http://a/x?b=c&token=t%2F%26#d"),
    ],
)
def test_where_the_token_stands(url: str, expected: str) -> None:
    assert add_token(url, "t/&") == expected


@given(TOKENS)
def test_the_server_reads_the_token_that_was_given(token: str) -> None:
    assert parse_qs(urlsplit(add_token("http://a/x", token)).query, strict_parsing=True) == {"token": [token]}


def test_the_message_of_a_failure_has_no_token() -> None:
    script = build_boot_script(url="http://a/x", dns=DNS, token="s3cret")
    assert [line for line in script.splitlines() if "s3cret" in line] == [
        "chain http://a/x?token=s3cret && exit ||"
    ]


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        ({}, "http://10.0.2.2:8080/netboot.ipxe"),
        ({"http": {"bindIp": "0.0.0.0", "port": 1}}, "http://10.0.2.2:1/netboot.ipxe"),
        ({"http": {"bindIp": "::"}}, "http://10.0.2.2:8080/netboot.ipxe"),
        ({"http": {"bindIp": "192.0.2.7"}}, "http://192.0.2.7:8080/netboot.ipxe"),
        ({"http": {"bindIp": "2001:DB8::7"}}, "http://[2001:db8::7]:8080/netboot.ipxe"),
        ({"chainUrl": "https://a/x"}, "https://a/x"),
    ],
)
def test_the_effective_url(
    boot: dict[str, Any], expected: str, settings_of: Callable[..., GuestSettings]
) -> None:
    made = settings_of({"boot": boot}).boot
    assert find_effective_url(made.chain, made.http.listen) == expected
