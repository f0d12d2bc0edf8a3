"""Large objects in parts: every part once, in its order; and stores that answer otherwise."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fetching import RETRY
from support.part_store import PartStore, start_part_store

from ectools.errors import EcError
from ectools.fetch.client import FetchError, HttpClient
from ectools.netboot.depot.interface import DepotError, PublishedFile
from ectools.netboot.depot.multipart import COMPLETED, MultipartUploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 10
KEY = "r/releases/boot-v1/a+b.tar.gz"


@pytest.fixture
def store() -> Iterator[PartStore]:
    with start_part_store() as started:
        yield started


def upload(store: PartStore, tmp_path: Path, data: bytes = DATA, part_size: int = 600) -> int:
    path = tmp_path / "archive"
    path.write_bytes(data)
    file = PublishedFile(
        name="a+b.tar.gz", path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    uploads = MultipartUploads(bucket_url=f"{store.url}/boot", above=0, part_size=part_size)
    client = HttpClient(store.url, retry=RETRY)
    return uploads.upload(client, f"{store.url}/boot/{KEY.replace('+', '%2B')}", file)


@given(size=st.integers(1, 48 << 40), part_size=st.integers(1 << 20, 1 << 26))
def test_parts_are_all_of_a_file_and_no_more_than_a_store_takes(size: int, part_size: int) -> None:
    uploads = MultipartUploads(bucket_url="", part_size=part_size)
    parts = list(uploads.cut(size))
    end = 0
    for wanted, (number, offset, length) in enumerate(parts, start=1):
        assert (number, offset) == (wanted, end)
        assert length >= part_size or offset + length == size
        end += length
    assert end == size
    assert 1 <= len(parts) <= 10_000
    assert all(0 < length <= 5 << 30 for _, _, length in parts)


def test_what_is_joined_is_the_file(store: PartStore, tmp_path: Path) -> None:
    assert upload(store, tmp_path) == COMPLETED
    # By the key as it is, and not as it stands in the URL.
    assert store.objects == {KEY.replace("+", "%2B"): DATA}
    assert (store.asked.count("part"), store.uploads) == (5, {})


def test_what_is_there_is_not_sent_again_over_several_pages(store: PartStore, tmp_path: Path) -> None:
    parts = {number: DATA[(number - 1) * 600 : number * 600] for number in (1, 2, 4, 5)}
    parts[4] = parts[4][:-1]
    store.uploads = {"0": (KEY, {}), "1": (KEY, parts)}
    assert upload(store, tmp_path) == COMPLETED
    assert store.objects[KEY.replace("+", "%2B")] == DATA
    assert (store.asked.count("part"), store.asked.count("parts"), store.asked.count("create")) == (2, 2, 0)


def test_a_part_that_is_listed_twice_is_sent_again(store: PartStore, tmp_path: Path) -> None:
    store.uploads = {"1": (KEY, {number: DATA[(number - 1) * 600 : number * 600] for number in range(1, 6)})}
    store.twice = {3}
    assert upload(store, tmp_path) == COMPLETED
    assert store.asked.count("part") == 1


@pytest.mark.parametrize("status", [403, 501])
def test_a_store_that_lists_nothing_is_sent_all(store: PartStore, tmp_path: Path, status: int) -> None:
    store.uploads = {"1": (KEY, {1: DATA[:600]})}
    store.instead = {"list": [(status, b"")]}
    assert upload(store, tmp_path) == COMPLETED
    assert store.asked.count("part") == 5
    store.objects.clear()
    store.instead = {"parts": [(status, b"")]}
    assert upload(store, tmp_path) == COMPLETED


def test_over_what_is_there_nothing_is_written(store: PartStore, tmp_path: Path) -> None:
    store.objects[KEY.replace("+", "%2B")] = b"another"
    assert upload(store, tmp_path) == 412
    assert (list(store.objects.values()), store.uploads) == ([b"another"], {})
    store.objects.clear()
    store.instead = {"complete": [(200, b"<Error><Code>PreconditionFailed</Code></Error>")]}
    assert upload(store, tmp_path) == 412


def test_an_upload_that_somebody_has_ended(store: PartStore, tmp_path: Path) -> None:
    store.instead = {"part": [(404, b"")]}
    assert upload(store, tmp_path) == 404
    store.uploads.clear()
    store.instead = {"complete": [(404, b"")]}
    assert upload(store, tmp_path) == 404


@pytest.mark.parametrize(
    ("what", "status", "said", "fault"),
    [
        (
            "complete",
            200,
            b"<Error><Code>InternalError</Code></Error>",
            "not joined the parts: InternalError",
        ),
        ("complete", 400, b"<Error><Code>EntityTooSmall</Code></Error>", "not joined the parts: EntityTooS"),
        ("complete", 200, b'<!DOCTYPE x [<!ENTITY a "b">]><x/>', "no XML"),
        ("create", 200, b"<x></x>", "no UploadId"),
        ("create", 200, b'<?xml version="1.0" encoding="foo"?><x/>', "no XML"),
        ("list", 200, b"<html>", "no XML"),
        ("part", 403, b"", "status 403"),
    ],
)
def test_a_store_that_says_something_else(
    store: PartStore, tmp_path: Path, what: str, status: int, said: bytes, fault: str
) -> None:
    store.instead = {what: [(status, said)]}
    with pytest.raises((DepotError, FetchError), match=fault):
        upload(store, tmp_path)
    assert store.objects == {}
    assert upload(store, tmp_path) == COMPLETED


def test_white_space_comes_before_what_was_joined(store: PartStore, tmp_path: Path) -> None:
    said = b' \n  <?xml version="1.0"?><CompleteMultipartUploadResult/>'
    store.instead = {"complete": [(200, said)]}
    assert upload(store, tmp_path) == COMPLETED
    store.instead = {"complete": [(200, b"<Error><Code>ConditionalRequestConflict</Code></Error>")]}
    assert upload(store, tmp_path) == 409


def test_a_part_that_has_no_name_and_a_file_that_shrinks(store: PartStore, tmp_path: Path) -> None:
    store.names_parts = False
    with pytest.raises(DepotError, match="no entity tag"):
        upload(store, tmp_path)
    store.names_parts = True
    path = tmp_path / "short"
    path.write_bytes(DATA)
    file = PublishedFile(name="a", path=path, size=len(DATA) + 1, sha256="0" * 64)
    uploads = MultipartUploads(bucket_url=f"{store.url}/boot", above=0, part_size=600)
    with pytest.raises(EcError, match=r"has become shorter|is sent no further"):
        uploads.upload(HttpClient(store.url, retry=RETRY), f"{store.url}/boot/a", file)
    assert "a" not in store.objects
