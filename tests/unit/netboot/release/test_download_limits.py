"""An archive in parts: what is asked for next, how often, and when that starts to count anew."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from support.forge import ETAG, Forge, Request, body, chunked, ranged, status, unframed, whole

from ectools.fetch.client import FetchError, HttpClient
from ectools.fetch.retry import RetryPolicy
from ectools.files import FileError
from ectools.netboot.release.download import Download, LocalArchive
from ectools.netboot.release.forge import Asset

if TYPE_CHECKING:
    from pathlib import Path

    from support.forge import Answer

pytestmark = pytest.mark.usefixtures("any_query", "clock")

MIB = 1 << 20
DATA = bytes(range(256)) * (4 * MIB // 256)


def download(forge: Forge, *answers: Answer, size: int | None = len(DATA), attempts: int = 2) -> Download:
    forge.answers["/x"] = list(answers)
    client = HttpClient(forge.url, retry=RetryPolicy(attempts=attempts))
    return Download(client, Asset(name="x", url=f"{forge.url}/x?key=hidden", size=size))


def read(archive: Download) -> bytes:
    data = b"".join(archive.chunks())
    assert archive.sha256() == hashlib.sha256(data).hexdigest()
    return data


def fail(archive: Download) -> FetchError:
    with pytest.raises(FetchError) as caught:
        list(archive.chunks())
    assert "hidden" not in caught.value.render()
    return caught.value


def test_what_is_known_of_it(forge: Forge) -> None:
    archive = download(forge, body(DATA), size=None)
    assert (archive.name, archive.source, archive.size) == ("x", f"{forge.url}/x", None)
    assert read(archive) == DATA
    assert archive.size == len(DATA)


@pytest.mark.parametrize(("cut", "fails"), [(MIB, False), (MIB - 1, True)])
def test_a_connection_that_carried_a_mebibyte_was_worth_it(cut: int, fails: bool, forge: Forge) -> None:
    def answer_part(request: Request) -> None:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        headers = {"ETag": ETAG}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        request.start(206 if start else 200, len(DATA) - start, headers)
        request.wfile.write(DATA[start : start + cut])

    archive = download(forge, answer_part)
    if fails:
        error = fail(archive)
        assert error.message == (
            f"{forge.url}/x: the connection ended {len(DATA) - 2 * cut} bytes too early; "
            "given up after 2 attempts in a row"
        )
        assert len(forge.asked("/x")) == 2
    else:
        assert read(archive) == DATA
        assert len(forge.asked("/x")) == 4


def test_only_what_is_missing_is_asked_for(forge: Forge) -> None:
    assert read(download(forge, ranged(DATA, cut=5), ranged(DATA))) == DATA
    first, second = forge.asked("/x")
    assert {"Range", "If-Range"}.isdisjoint(first)
    assert (second["Range"], second["If-Range"]) == ("bytes=5-", ETAG)


@pytest.mark.parametrize("etag", [None, 'W/"weak"', "bare"])
def test_without_a_strong_tag_all_is_asked_for(etag: str | None, forge: Forge) -> None:
    assert read(download(forge, whole(DATA, etag=etag, cut=5), whole(DATA, etag=etag))) == DATA
    assert all("Range" not in headers for headers in forge.asked("/x"))


def test_before_a_byte_has_come_no_range_is_asked_for(forge: Forge) -> None:
    assert read(download(forge, ranged(DATA, cut=0), ranged(DATA))) == DATA
    assert "Range" not in forge.asked("/x")[1]


CHANGED = "changed on the server during its download"


@pytest.mark.parametrize(
    "second",
    [
        status(416),
        status(206, ETag=ETAG),
        status(206, ETag=ETAG, Content_Range=f"bytes 4-{len(DATA) - 1}/{len(DATA)}"),
        status(206, ETag=ETAG, Content_Range=f"bytes 6-{len(DATA) - 1}/{len(DATA)}"),
        status(206, ETag=ETAG, Content_Range=f"bytes 5-{len(DATA)}/{len(DATA)}"),
        status(206, ETag=ETAG, Content_Range=f"bytes 5-4/{len(DATA)}"),
        status(206, ETag=ETAG, Content_Range=f"bytes 5-9/{len(DATA) - 1}"),
        status(206, ETag=ETAG, Content_Range=f"bytes 5-9/{len(DATA)} "),
        status(206, ETag='"other"', Content_Range=f"bytes 5-{len(DATA) - 1}/{len(DATA)}"),
        whole(DATA, etag='"other"'),
        whole(DATA, etag=None),
        whole(b"x" + DATA[1:]),
        body(DATA[:4] + b"x" + DATA[5:], ETag=ETAG),
    ],
)
def test_another_file_than_at_first(second: Answer, forge: Forge) -> None:
    error = fail(download(forge, ranged(DATA, cut=5), second))
    assert error.message == f"{forge.url}/x: {CHANGED}"
    assert error.hint == "stage again, once whoever publishes it is done"


def test_one_that_is_shorter_now_than_what_has_come(forge: Forge) -> None:
    archive = download(forge, unframed(DATA[:5]), unframed(DATA[:4]), size=None)
    assert read(archive) == DATA[:5]
    archive = download(forge, chunked(DATA[:50000], cut=True), unframed(DATA[:4]), size=None)
    assert fail(archive).message == f"{forge.url}/x: {CHANGED}"


def test_a_range_may_come_without_a_tag(forge: Forge) -> None:
    def answer_part(request: Request) -> None:
        request.start(206, len(DATA) - 5, {"Content-Range": f"bytes 5-{len(DATA) - 1}/{len(DATA)}"})
        request.wfile.write(DATA[5:])

    assert read(download(forge, ranged(DATA, cut=5), answer_part)) == DATA


def test_a_length_that_is_not_the_announced_one(forge: Forge) -> None:
    error = fail(download(forge, body(DATA), size=len(DATA) - 1))
    assert error.message == f"{forge.url}/x: is {len(DATA)} bytes long, and {len(DATA) - 1} were announced"
    assert error.hint == "the file was replaced, or something in between changes it"


def test_an_end_that_comes_too_early_without_a_length(forge: Forge) -> None:
    error = fail(download(forge, unframed(DATA[:5]), unframed(DATA[:5])))
    assert error.message == (
        f"{forge.url}/x: ended after 5 of {len(DATA)} bytes; given up after 2 attempts in a row"
    )


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(DATA[:300_000])
    archive = LocalArchive(path, size=300_000)
    assert (archive.name, archive.source, archive.size) == ("x.tar.gz", str(path), 300_000)
    assert [len(chunk) for chunk in archive.chunks()] == [131072, 131072, 300_000 - 262144]
    assert archive.sha256() == hashlib.sha256(DATA[:300_000]).hexdigest()
    path.unlink()
    with pytest.raises(FileError, match=r"x\.tar\.gz: cannot be opened: No such file"):
        list(LocalArchive(path, size=1).chunks())


def test_a_disk_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self, _size: int) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("ectools.netboot.release.download.open_regular", lambda _path: 99)
    monkeypatch.setattr("ectools.netboot.release.download.os.fdopen", lambda *_, **__: Broken())
    with pytest.raises(FileError, match=rf"^{tmp_path}/x: cannot be read: Input/output error$"):
        list(LocalArchive(tmp_path / "x", size=1).chunks())
