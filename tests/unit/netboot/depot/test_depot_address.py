"""What a depot is called."""

from __future__ import annotations

import pytest

from ectools.errors import InputError
from ectools.netboot.settings.depot_address import (
    DirectoryAddress,
    ForgeAddress,
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
    assert str(amazon) == "s3://boot at https://s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci://registry.example.org/x",
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
