"""The access rules, decided one by one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict

from ectools.errors import EcError, InputError
from ectools.files import FileError
from ectools.netboot.http.admission import Standing
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.server import access as access_module
from ectools.netboot.server.access import Access, read_access_tokens, read_chain_tokens
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN, NEXT = "0f4d", "b4==:/@"
RELEASE = "releases/sha256-" + "0" * 32


def build_access(tokens: tuple[str, ...] = (TOKEN, NEXT), **options: Any) -> Access:
    return Access(load_netboot_settings(None, flags=options, environment={}), tokens)


def verdict(
    access: Access,
    path: str,
    *,
    peer: str = "192.0.2.7",
    query: list[tuple[str, str]] | None = None,
    headers: list[tuple[str, str]] | None = None,
) -> str | None:
    info = RequestInfo(
        peer=peer,
        method="GET",
        segments=tuple(part.encode() for part in path.split("/")),
        query=MultiDict(query or []),
        headers=CIMultiDict(headers or []),
    )
    try:
        access.check(info)
    except RejectedError as error:
        return error.message if error.status == 403 else str(error.status)
    return None


NEEDED, NOT_HERE = "a token is needed", "not allowed from here"


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ([], [], NEEDED),
        ([("token", TOKEN)], [], None),
        ([("token", NEXT)], [], None),
        ([], [("X-Boot-Token", TOKEN)], None),
        ([], [("x-boot-token", NEXT)], None),
        ([("token", TOKEN)], [("X-Boot-Token", TOKEN)], None),
        ([("token", TOKEN), ("token", TOKEN)], [], None),
        ([("token", "")], [], NEEDED),
        ([("token", TOKEN + " ")], [], NEEDED),
        ([("token", TOKEN.upper())], [], NEEDED),
        ([("token", TOKEN[:-1])], [], NEEDED),
        ([("token", f"{TOKEN}\n{NEXT}")], [], NEEDED),
        ([("Token", TOKEN)], [], NEEDED),
        ([("tokens", TOKEN)], [], NEEDED),
        ([("token[]", TOKEN)], [], NEEDED),
        ([("token", TOKEN), ("token", "other")], [], NEEDED),
        ([("token", TOKEN), ("token", NEXT)], [], NEEDED),
        ([("token", "other")], [("X-Boot-Token", TOKEN)], NEEDED),
        ([], [("X-Boot-Token", TOKEN), ("X-Boot-Token", "other")], NEEDED),
        ([], [("X-Boot-Token", f"{TOKEN}, other")], NEEDED),
        ([], [("Authorization", f"Bearer {TOKEN}")], NEEDED),
        ([], [("Cookie", f"token={TOKEN}")], NEEDED),
        ([("token", "t\udce4")], [], NEEDED),
        ([("token", "\ud800")], [], NEEDED),
        ([("token", "tökèn")], [], NEEDED),
    ],
)
def test_tokens(query: list[tuple[str, str]], headers: list[tuple[str, str]], expected: str | None) -> None:
    access = build_access()
    assert verdict(access, "netboot.ipxe", query=query, headers=headers) == expected
    assert verdict(access, "kernel", query=query, headers=headers) is None


@pytest.mark.parametrize(
    ("path", "asks"),
    [
        ("netboot.ipxe", True),
        ("initrd", True),
        (f"{RELEASE}/netboot.ipxe", True),
        (f"{RELEASE}/initrd", True),
        (f"{RELEASE}/more/initrd", False),
        ("kernel", False),
        ("autoexec.ipxe", False),
        ("NETBOOT.IPXE", False),
        ("", False),
        ("releases", False),
        (RELEASE, False),
    ],
)
def test_which_files_ask_for_a_token(path: str, asks: bool) -> None:
    access = build_access(protectedFiles=["netboot.ipxe", "initrd"])
    assert verdict(access, path) == (NEEDED if asks else None)


def test_without_a_token_file_nothing_asks_for_one() -> None:
    assert verdict(build_access(()), "netboot.ipxe") is None


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("192.0.2.7", [], None),
        ("::ffff:192.0.2.7", [], None),
        ("2001:db8::7", [], None),
        ("192.0.3.7", [], NOT_HERE),
        ("2001:db9::7", [], NOT_HERE),
        ("192.0.3.7", [("X-Forwarded-For", "192.0.2.7")], NOT_HERE),
        ("", [], NOT_HERE),
        ("10.0.0.1", [("X-Forwarded-For", "192.0.2.7")], None),
        ("10.0.0.1", [("X-Forwarded-For", "192.0.3.7")], NOT_HERE),
        ("10.0.0.1", [("X-Forwarded-For", "nobody")], NOT_HERE),
        ("10.0.0.1", [], NOT_HERE),
    ],
)
def test_networks(peer: str, headers: list[tuple[str, str]], expected: str | None) -> None:
    access = build_access(httpAllowedCIDRs=["192.0.2.0/24", "2001:db8::/32"], trustedProxies=["10.0.0.1"])
    assert verdict(access, "kernel", peer=peer, headers=headers) == expected


def test_the_network_comes_first() -> None:
    access = build_access(httpAllowedCIDRs=["192.0.2.0/24"])
    assert verdict(access, "netboot.ipxe", peer="10.0.0.1", query=[("token", TOKEN)]) == NOT_HERE


def test_the_tokens_come_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n{NEXT}\n")
    settings = load_netboot_settings(None, flags={"chainTokenFile": str(path)}, environment={})
    assert read_chain_tokens(settings) == (TOKEN, NEXT)
    assert read_chain_tokens(load_netboot_settings(None, environment={})) == ()


@pytest.mark.parametrize(
    ("ip", "standing"),
    [
        ("192.0.2.7", Standing.CLIENT),
        ("::ffff:192.0.2.7", Standing.CLIENT),
        ("2001:db8::7", Standing.CLIENT),
        ("192.0.3.7", Standing.STRANGER),
        ("2001:db9::7", Standing.STRANGER),
        ("nobody", Standing.STRANGER),
        ("", Standing.STRANGER),
        ("10.0.0.1", Standing.PROXY),
        ("::ffff:10.0.0.1", Standing.PROXY),
        ("10.0.0.2", Standing.STRANGER),
    ],
)
def test_what_an_address_is_before_it_says_anything(ip: str, standing: Standing) -> None:
    access = build_access(httpAllowedCIDRs=["192.0.2.0/24", "2001:db8::/32"], trustedProxies=["10.0.0.1"])
    assert access.classify(ip) is standing
    assert access.classify(ip) is standing


@pytest.mark.parametrize("ip", ["192.0.2.7", "nobody", ""])
def test_without_networks_everybody_is_a_client(ip: str) -> None:
    assert build_access().classify(ip) is Standing.CLIENT
    assert build_access(trustedProxies=["10.0.0.1"]).classify(ip) is Standing.CLIENT
    assert build_access(trustedProxies=["10.0.0.1"]).classify("10.0.0.1") is Standing.PROXY


def test_how_many_addresses_are_remembered() -> None:
    access = build_access()
    for number in range(5000):
        access.classify(f"10.0.{number // 250}.{number % 250}")
    assert access.classify.cache_info().currsize == 4096


@pytest.mark.parametrize("tokens", [(TOKEN,), (NEXT,), (TOKEN, NEXT)])
def test_each_token_counts_and_no_other(tokens: tuple[str, ...]) -> None:
    access = build_access(tokens)
    for token in (TOKEN, NEXT, "other"):
        expected = None if token in tokens else NEEDED
        assert verdict(access, "netboot.ipxe", query=[("token", token)]) == expected


def test_whose_visit_it_is() -> None:
    access = build_access(trustedProxies=["10.0.0.1"])

    def client(peer: str, *headers: tuple[str, str]) -> str | None:
        info = RequestInfo(
            peer=peer, method="GET", segments=(b"x",), query=MultiDict(), headers=CIMultiDict(headers)
        )
        found = access.find_client(info)
        return None if found is None else str(found)

    forwarded = ("X-Forwarded-For", "192.0.2.7")
    assert client("10.0.0.1", forwarded) == "192.0.2.7"
    assert client("10.0.0.2", forwarded) == "10.0.0.2"
    assert client("10.0.0.1", ("Forwarded", "for=unknown")) is None


def test_a_token_file_that_cannot_be_read_is_named_by_its_option(tmp_path: Path) -> None:
    path = tmp_path / "none"
    settings = load_netboot_settings(None, flags={"chainTokenFile": str(path)}, environment={})
    with pytest.raises(FileError) as caught:
        read_chain_tokens(settings)
    assert str(path) in caught.value.message
    assert (caught.value.hint or "").startswith("services.every-channel.netboot.chainTokenFile names a file")


def test_two_tokens_are_the_most(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\ntwo\nthree\n")
    settings = load_netboot_settings(None, flags={"chainTokenFile": str(path)}, environment={})
    with pytest.raises(EcError) as caught:
        read_chain_tokens(settings)
    assert str(path) in caught.value.message
    assert "three" not in caught.value.render()
    path.write_text("one\ntwo\n")
    assert read_chain_tokens(settings) == ("one", "two")


def test_an_access_token_is_no_word_that_can_be_guessed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    flags = {"fleet.accessTokenFile": str(path)}
    settings = load_netboot_settings(None, flags=flags, environment={})
    path.write_text(f"{'a' * 16}\n{'b' * 15}\n")
    with pytest.raises(InputError) as caught:
        read_access_tokens(settings)
    assert caught.value.message == f"{path}: holds no token that a browser can send"
    assert "of 16 to 512 letters" in (caught.value.hint or "")
    assert "fleet.accessTokenFile names the file" in (caught.value.hint or "")
    assert "bbbb" not in caught.value.render()
    path.write_text(f"{'a' * 16}\n{'b' * 16}\n")
    assert read_access_tokens(settings) == ("a" * 16, "b" * 16)
    assert read_access_tokens(load_netboot_settings(None, environment={})) == ()


def test_the_rights_of_root_are_used_for_the_token_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service manager's copy may lie where only root looks, and root's file may be root's alone."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    calls: list[str] = []

    @contextlib.contextmanager
    def block(name: str) -> Iterator[None]:
        calls.append(name)
        yield
        calls.append(f"end of {name}")

    monkeypatch.setattr(access_module, "raised", lambda capability: block(capability.name))
    monkeypatch.setattr(access_module, "root_reads", lambda file: block(f"read {file}"))
    settings = load_netboot_settings(None, flags={"chainTokenFile": str(path)}, environment={})
    assert read_chain_tokens(settings) == (TOKEN,)
    read = f"read {path}"
    assert calls == ["DAC_READ_SEARCH", "end of DAC_READ_SEARCH", read, f"end of {read}"]


def test_a_protected_first_script_is_protected_in_every_directory() -> None:
    access = build_access(protectedFiles=["autoexec.ipxe"])
    for path in ("autoexec.ipxe", "x86_64-sb/autoexec.ipxe", "a/b/autoexec.ipxe"):
        assert verdict(access, path) == NEEDED
        assert verdict(access, path, query=[("token", TOKEN)]) is None
    assert verdict(access, "x86_64-sb/grubx64.efi") is None
    assert verdict(build_access(), "x86_64-sb/autoexec.ipxe") is None
