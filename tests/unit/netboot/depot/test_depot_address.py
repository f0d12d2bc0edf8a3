"""What a depot is called."""

from __future__ import annotations

import pytest

from ectools.errors import InputError
from ectools.netboot.settings.depot_address import (
    DirectoryAddress,
    ForgeAddress,
    OciAddress,
    S3Address,
    WebAddress,
    parse_depot_address,
)


def test_places_that_are_understood() -> None:
    parse = parse_depot_address
    assert parse("file:/srv/x") == parse("file:///srv/x") == parse("/srv/x")
    assert str(parse("./x")) == "x"
    assert isinstance(parse("x"), DirectoryAddress)
    assert parse("https://boot.example.org/a/") == WebAddress(url="https://boot.example.org/a")
    assert parse("forge:https://git.example.org/forge/owner/name") == ForgeAddress(
        host="https://git.example.org/forge", repo="owner/name"
    )
    found = parse("s3://boot/a+b/?endpoint=http://127.0.0.1:9000&region=garage")
    assert isinstance(found, S3Address)
    assert (found.url, found.region) == ("http://127.0.0.1:9000/boot/a%2Bb", "garage")
    amazon = parse("s3://boot?region=eu-west-1")
    assert isinstance(amazon, S3Address)
    assert amazon.url == "https://s3.eu-west-1.amazonaws.com/boot"
    assert parse("s3://boot?endpoint=https://S3.Example.org:443").url == "https://s3.example.org/boot"
    assert str(amazon) == "s3://boot at https://s3.eu-west-1.amazonaws.com"
    registry = parse("oci://registry.example.org:5000/boot/nodes_2:boot-v1")
    assert isinstance(registry, OciAddress)
    assert registry.url == "https://registry.example.org:5000/v2/boot/nodes_2"
    assert (registry.tag, str(registry)) == ("boot-v1", "registry.example.org:5000/boot/nodes_2")
    github = parse("forge:https://github.com/owner/name")
    assert github == parse("github:https://github.com/owner/name")
    assert isinstance(github, ForgeAddress)
    assert (github.api, github.uploads) == ("https://api.github.com", "https://uploads.github.com")
    cloud = parse("forge:https://octo.ghe.com/owner/name")
    assert isinstance(cloud, ForgeAddress)
    assert (cloud.api, cloud.uploads) == ("https://api.octo.ghe.com", "https://uploads.octo.ghe.com")
    server = parse("github:https://git.example.org/owner/name")
    assert isinstance(server, ForgeAddress)
    assert (server.api, server.uploads) == (
        "https://git.example.org/api/v3",
        "https://git.example.org/api/uploads",
    )
    other = parse("forge:https://github.com.example.org/owner/name")
    assert isinstance(other, ForgeAddress)
    assert other.api == "https://github.com.example.org/api/v1"
    plain = parse("oci+http://[::1]:5000/x")
    assert isinstance(plain, OciAddress)
    assert (plain.url, plain.tag) == ("http://[::1]:5000/v2/x", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci://registry.example.org",
        "oci:registry.example.org/x",
        "oci://user:secret@registry.example.org/x",
        "oci://registry.example.org/X",
        "oci://registry.example.org/x/../y",
        "oci://registry.example.org/x:",
        "oci://registry.example.org/x:a+b",
        "oci://registry.example.org/x?tag=y",
        "file:srv",
        "s3://",
        "s3://boot/../x",
        "s3://boot?secret=x",
        "s3://boot?endpoint",
        "s3://boot?endpoint=https://s3.example.org/x",
        "s3://user:secret@boot/x",
        "https://user:secret@example.org/x",
        "https:///x",
        "https://example.org/?token=x",
        "https://example.org:port/",
        "forge:https://git.example.org/name",
        "forge:git.example.org/owner/name",
    ],
)
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r".") as caught:
        parse_depot_address(text)
    assert caught.value.hint is not None
    assert "was expected" in caught.value.hint
