"""A depot in a store that speaks S3: SeaweedFS."""

from __future__ import annotations

import hashlib
import random
import tempfile
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.depots import at_once, build_publication, move_at_once, publish_at_once, read_back
from support.fetching import RETRY
from support.promoted import Promoted
from support.releases import check_whole
from support.seaweed import BUCKET, CREDENTIALS, Seaweed, start_seaweed, write_credentials

from ectools.errors import EcError
from ectools.fetch.client import FetchError, TransientError
from ectools.netboot.depot.interface import DepotError, MovedError, Publication, TakenError
from ectools.netboot.depot.multipart import MultipartUploads
from ectools.netboot.depot.objects import ObjectDepot
from ectools.netboot.depot.opening import AnyDepot, open_depot
from ectools.netboot.release.download import Download
from ectools.netboot.release.forge import Asset
from ectools.netboot.settings.depot_address import parse_depot_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3.response import BaseHTTPResponse


@pytest.fixture(scope="module")
def store() -> Iterator[Seaweed]:
    """One store for all; each test has a prefix of its own."""
    with tempfile.TemporaryDirectory() as name, start_seaweed(Path(name)) as started:
        yield started


def reopen(store: Seaweed, tmp_path: Path, *, credentials: str = "") -> AnyDepot:
    path = write_credentials(tmp_path / "credentials")
    if credentials:
        path.write_text(credentials)
    address = parse_depot_address(store.address(f"/{tmp_path.name}+x"))
    return open_depot(address, retry=RETRY, credentials_file=path)


def test_of_publishers_at_once_one_wins_whole(store: Seaweed, tmp_path: Path) -> None:
    for turn in range(4):
        each, results = publish_at_once(partial(reopen, store, tmp_path), tmp_path, f"boot-v{turn}+a~b")
        assert results.count(True) == 1, results
        assert [isinstance(result, TakenError) for result in results].count(True) == 2, results
        winner = each[results.index(True)]
        assert read_back(reopen(store, tmp_path), winner) == [file.path.read_bytes() for file in winner.files]
        assert reopen(store, tmp_path).publish(winner) is False


def test_of_moves_at_once_one_is_done(store: Seaweed, tmp_path: Path) -> None:
    depot = reopen(store, tmp_path)
    depot.write_channel("stable", b"0", version=None)
    for turn in range(6):
        moves = [b"%d %d" % (turn, number) for number in range(4)]
        _, results = move_at_once(partial(reopen, store, tmp_path), "stable", moves)
        assert [isinstance(each, MovedError) for each in results].count(False) == 1, results
        now = depot.read_channel("stable")
        assert now is not None
        assert now.data == moves[results.index(None)]


def test_a_key_that_is_not_known_is_refused(store: Seaweed, tmp_path: Path) -> None:
    text = "[default]\naws_access_key_id = publisher\naws_secret_access_key = another\n"
    with pytest.raises(FetchError, match="status 403") as caught:
        reopen(store, tmp_path, credentials=text).publish(build_publication(tmp_path / "one"))
    assert "another" not in caught.value.render()


@pytest.fixture
def made(store: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promoted:
    """A publisher, and a boot host that has its access key as systemd hands it on."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
    place = store.address(f"/{tmp_path.name}")
    (tmp_path / "credentials").mkdir()
    write_credentials(tmp_path / "credentials/store-credentials")
    found = Promoted(
        home=tmp_path,
        place=place,
        source=place,
        options={"release_credentialsFile": "/nonexistent/credentials"},
    )
    for tag, text in (("boot-v1", "one"), ("boot-v2", "two")):
        found.publish(tag, text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    return found


def object_path(made: Promoted, tag: str, name: str) -> str:
    return f"/{made.home.name}/releases/{tag}/{name}"


def test_a_boot_host_follows_a_channel(made: Promoted, monkeypatch: pytest.MonkeyPatch) -> None:
    release = made.follow("boot-v1", "boot-v2")
    assert release.systems[0].source.startswith("http://127.0.0.1:")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(EcError, match="/nonexistent/credentials"):
        made.stage()


@pytest.mark.parametrize("lie", ["truncated", "longer", "another", "gone", "older"])
def test_a_bucket_that_lies_changes_nothing(store: Seaweed, made: Promoted, lie: str) -> None:
    made.promote("boot-v1", "stable")
    made.stage()
    made.promote("boot-v2", "stable")
    archive = "ec-runner-x86_64-netboot-{tag}.tar.gz"
    path = object_path(made, "boot-v2", archive.format(tag="boot-v2"))
    whole = store.request("GET", path).data
    kept: dict[str, bytes] = {}
    if lie == "gone":
        store.request("DELETE", path)
    elif lie in ("truncated", "longer"):
        store.request("PUT", path, whole[: len(whole) // 2] if lie == "truncated" else whole + whole)
    elif lie == "older":
        # The release before, whole and signed, in the place of this one.
        for name in ("SHA256SUMS.txt", "SHA256SUMS.txt.sig"):
            old = store.request("GET", object_path(made, "boot-v1", name)).data
            kept[name] = store.request("GET", object_path(made, "boot-v2", name)).data
            store.request("PUT", object_path(made, "boot-v2", name), old)
    else:
        other = store.request("GET", object_path(made, "boot-v1", archive.format(tag="boot-v1"))).data
        store.request("PUT", path, other)
    with pytest.raises(EcError):
        made.stage()
    release = check_whole(made.home / "state")
    assert release is not None
    assert release.tag == "boot-v1"
    store.request("PUT", path, whole)
    for name, data in kept.items():
        store.request("PUT", object_path(made, "boot-v2", name), data)
    assert made.stage().release.tag == "boot-v2"


def open_in_parts(store: Seaweed, tmp_path: Path) -> ObjectDepot:
    """A depot that sends what is above a mebibyte in parts, the smallest that S3 takes."""
    depot = reopen(store, tmp_path)
    assert isinstance(depot, ObjectDepot)
    url = f"{store.endpoint}/{BUCKET}"
    parts = MultipartUploads(bucket_url=url, above=1 << 20, part_size=5 << 20)
    return ObjectDepot(depot.client, f"{url}/{tmp_path.name}%2Bx", where=depot.where, parts=parts)


def large_publication(tmp_path: Path, name: str, size: int = (15 << 20) + 5) -> Publication:
    """As ``build_publication``; its archive is of four parts."""
    sums, archive, record = build_publication(tmp_path / name, text=name, count=1).files
    archive.path.write_bytes(random.Random(name).randbytes(size))
    digest = hashlib.sha256(archive.path.read_bytes()).hexdigest()
    return Publication(tag="boot-v1", files=(sums, replace(archive, size=size, sha256=digest), record))


def list_uploads(store: Seaweed) -> bytes:
    return store.request("GET", "?uploads").data


def test_a_large_file_comes_in_parts(store: Seaweed, tmp_path: Path) -> None:
    depot, wanted = open_in_parts(store, tmp_path), large_publication(tmp_path, "one")
    assert depot.publish(wanted) is True
    archive = wanted.files[1]
    path = f"/{tmp_path.name}%2Bx/releases/boot-v1/{archive.name}"
    found = store.request("GET", path)
    # S3 names an object of parts so, by their number.
    assert found.headers["ETag"].endswith('-4"')
    assert found.data == archive.path.read_bytes()
    assert depot.publish(wanted) is False
    with pytest.raises(TakenError):
        depot.publish(large_publication(tmp_path, "two"))
    # Over what is there nothing is written, also where nobody looked before.
    other = large_publication(tmp_path, "six").files[1]
    assert depot.parts is not None
    assert depot.parts.upload(depot.client, f"{store.endpoint}/{BUCKET}{path}", other) == 412
    assert store.request("GET", path).data == archive.path.read_bytes()
    assert tmp_path.name.encode() not in list_uploads(store)


def test_what_was_sent_before_a_publisher_was_cut_off_is_not_sent_again(
    store: Seaweed, tmp_path: Path
) -> None:
    depot, wanted = open_in_parts(store, tmp_path), large_publication(tmp_path, "one")
    archive = wanted.files[1]
    url = f"{depot.url}/releases/boot-v1/{archive.name}"
    sent: list[str] = []
    turn = threading.Lock()
    start = depot.client.start

    def cut(method: str, url: str, headers: Mapping[str, str], body: object = None) -> BaseHTTPResponse:
        if "partNumber=" in url:
            with turn:
                if cut_after is not None and len(sent) >= cut_after:
                    raise FetchError("the cable was pulled")
                answer = start(method, url, headers, body)  # type: ignore[arg-type]
                sent.append(url)
                return answer
        return start(method, url, headers, body)  # type: ignore[arg-type]

    depot.client.start = cut  # type: ignore[method-assign,assignment]
    cut_after: int | None = 2
    with pytest.raises((FetchError, DepotError)):
        depot.publish(wanted)
    assert tmp_path.name.encode() in list_uploads(store)
    assert len(sent) == 2
    # One of the parts is not what it would be now: it is sent anew.
    query = parse_qs(urlsplit(sent[0]).query)
    upload = f"uploadId={query['uploadId'][0]}&partNumber={query['partNumber'][0]}"
    path = urlsplit(url).path.removeprefix(f"/{BUCKET}")
    made = store.request("PUT", f"{path}?{upload}", b"x")
    assert made.status == 200, made.data
    sent.clear()
    cut_after = None
    assert depot.publish(wanted) is True
    assert len(sent) == 3
    assert depot.read_file("boot-v1", archive.name, limit=1 << 25) == archive.path.read_bytes()
    assert tmp_path.name.encode() not in list_uploads(store)


def test_what_came_before_a_connection_ended_is_not_asked_for_again(store: Seaweed, tmp_path: Path) -> None:
    depot, wanted = open_in_parts(store, tmp_path), large_publication(tmp_path, "one")
    depot.publish(wanted)
    archive = wanted.files[1]
    client, ranges = depot.client, []
    start, read_body = client.start, client.read_body

    def note(method: str, url: str, headers: Mapping[str, str], body: object = None) -> BaseHTTPResponse:
        ranges.append(headers.get("Range"))
        return start(method, url, headers, body)  # type: ignore[arg-type]

    def cut(response: BaseHTTPResponse, url: str, **options: Any) -> Iterator[bytes]:
        for got, part in enumerate(read_body(response, url, **options)):
            if len(ranges) == 1 and got == 20:
                raise TransientError("the connection was closed", url=url)
            yield part

    client.start, client.read_body = note, cut  # type: ignore[method-assign,assignment]
    asset = Asset(name=archive.name, url=depot.find_url("boot-v1", archive.name), size=None)
    download = Download(client, asset)
    got = sum(map(len, download.chunks()))
    assert (got, download.sha256()) == (archive.size, archive.sha256)
    first, second = ranges
    assert first is None
    assert second is not None
    assert second.startswith("bytes=")
    assert second != "bytes=0-"


def test_of_publishers_in_parts_at_once_all_are_done_with_the_same(store: Seaweed, tmp_path: Path) -> None:
    wanted = large_publication(tmp_path, "one")
    depots = [open_in_parts(store, tmp_path) for _ in range(3)]
    results = at_once(*(partial(depot.publish, wanted) for depot in depots))
    assert all(isinstance(result, bool) for result in results), results
    archive = wanted.files[1]
    assert depots[0].read_file("boot-v1", archive.name, limit=1 << 25) == archive.path.read_bytes()
