"""A forge cannot lead a boot host back in time: by the times that a pinned key has signed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.fetching import RETRY
from support.forge import API, DOWNLOADS, Forge, body, ranged
from support.releases import build_settings, build_tar, check_whole, compress, release_files
from support.signing import Minisign, make

from ectools.errors import EcError
from ectools.netboot.release.age import OlderReleaseError, find_time
from ectools.netboot.release.checksums import ChecksumsError, parse_release_times, render_checksums
from ectools.netboot.release.prune import prune
from ectools.netboot.release.rollback import roll_back
from ectools.netboot.release.stage import Staged, StageOutcome, stage
from ectools.netboot.release.store import ReleaseStore, StoreError
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SUMS = "SHA256SUMS.txt"
DAY = 86400


def name_archive(tag: str) -> str:
    return f"ec-runner-x86_64-netboot-{tag}.tar.gz"


@dataclass
class Publisher:
    """Signs, and has a forge offer what it is told to."""

    forge: Forge
    state: Path
    form: SignatureFormat
    public: bytes
    sign: Callable[[bytes], bytes]

    def offer(
        self,
        tag: str,
        text: str,
        seconds: int | None = None,
        *,
        signature: bytes | None = None,
        beside: Mapping[str, int] | None = None,
    ) -> None:
        """The release ``tag``, whose content is made of ``text``, released then; as the latest one.

        ``beside`` are other archives that the sums list, and when they were released.
        """
        own = name_archive(tag)
        archive = compress(build_tar(release_files(text)))
        times = dict(beside or {})
        listed = {own: hashlib.sha256(archive).hexdigest(), **dict.fromkeys(times, "0" * 64)}
        sums = render_checksums(listed, times if seconds is None else {own: seconds, **times})
        name = SUMS + SUFFIXES[self.form]
        files = {own: archive, SUMS: sums, name: signature or self.sign(sums)}
        assets = [
            {"name": name, "browser_download_url": f"{self.forge.url}{DOWNLOADS}/{tag}/{name}"}
            for name in files
        ]
        answer = [body(json.dumps({"tag_name": tag, "assets": assets}).encode())]
        self.forge.answers[f"{API}/latest"] = self.forge.answers[f"{API}/tags/{tag}"] = answer
        for name, data in files.items():
            self.forge.answers[f"{DOWNLOADS}/{tag}/{name}"] = [ranged(data)]

    def stage(self, **flags: Any) -> Staged:
        key = self.state.parent / "key.pub"
        key.write_bytes(self.public)
        pinned = {"release_signature.format": str(self.form), "release_signature.publicKeyFile": str(key)}
        settings = {"release_host": self.forge.url, "release_repo": "owner/name", **pinned, **flags}
        return stage(build_settings(self.state, **settings), retry=RETRY)

    def asked(self, tag: str) -> bool:
        return bool(self.forge.asked(f"{DOWNLOADS}/{tag}/{name_archive(tag)}"))


@pytest.fixture(params=["minisign hashed", "openssh ed25519", "openssl ec"])
def publisher(request: pytest.FixtureRequest, forge: Forge, tmp_path: Path) -> Publisher:
    form, public, sign = make(request.param, tmp_path / "keys")
    if form is SignatureFormat.MINISIGN:
        key = Minisign()
        # Without a time of its own, as `ectools netboot pack` signs.
        public, sign = key.public(), lambda data: key.sign(data, b"file:SHA256SUMS.txt\thashed")
    return Publisher(forge=forge, state=tmp_path / "state", form=form, public=public, sign=sign)


def test_an_older_release_is_staged_by_its_name_alone(publisher: Publisher) -> None:
    publisher.offer("boot-v2", "two", 2 * DAY)
    two = publisher.stage().release
    publisher.offer("boot-v1", "one", DAY)
    with pytest.raises(
        OlderReleaseError, match=r"as of 1970-01-02T00:00:00Z, and what is current, boot-v2 "
    ) as caught:
        publisher.stage()
    assert "--tag boot-v1" in caught.value.render()
    assert not publisher.asked("boot-v1")
    assert check_whole(publisher.state) == two
    assert publisher.stage(release_tag="boot-v1").outcome is StageOutcome.STAGED
    # What is current now is older, and was asked for.
    assert publisher.stage().outcome is StageOutcome.UNCHANGED
    publisher.offer("boot-v3", "three", 3 * DAY)
    assert publisher.stage().outcome is StageOutcome.STAGED
    publisher.offer("boot-v3b", "three b", 3 * DAY)
    assert publisher.stage().outcome is StageOutcome.STAGED


def test_a_time_that_is_not_known(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    warning = "the signed sums carry no time: an older release cannot be told from a newer one"
    for name in ("one", "two"):
        publisher.offer(name, name)
        assert publisher.stage().outcome is StageOutcome.STAGED
        assert caplog.messages.count(warning) == 1
        caplog.clear()
    publisher.offer("three", "three", 3 * DAY)
    assert publisher.stage().outcome is StageOutcome.STAGED
    # From here on it would be a way around.
    publisher.offer("one", "one")
    with pytest.raises(OlderReleaseError, match="is signed without a time") as caught:
        publisher.stage()
    assert "pack --timestamp" in caught.value.render()
    assert "--tag one" in caught.value.render()
    publisher.offer("three-again", "three")
    assert publisher.stage().outcome is StageOutcome.UNCHANGED
    publisher.offer("one", "one")
    assert publisher.stage(release_tag="one").outcome is StageOutcome.REUSED


def test_after_a_rollback_what_is_current_counts(publisher: Publisher) -> None:
    publisher.offer("one", "one", DAY)
    publisher.stage()
    publisher.offer("three", "three", 3 * DAY)
    publisher.stage()
    roll_back(ReleaseStore(publisher.state))
    assert publisher.stage().outcome is StageOutcome.WITHDRAWN
    publisher.offer("two", "two", 2 * DAY)
    assert publisher.stage().outcome is StageOutcome.STAGED


def test_content_that_is_released_again_is_as_new_as_that(publisher: Publisher) -> None:
    publisher.offer("one", "one", DAY)
    publisher.stage()
    publisher.offer("two", "two", 2 * DAY)
    publisher.stage()
    publisher.offer("three", "one", 3 * DAY)
    assert publisher.stage().outcome is StageOutcome.REUSED
    publisher.offer("two", "two", 2 * DAY)
    with pytest.raises(OlderReleaseError):
        publisher.stage()


def test_a_time_that_was_not_signed_is_no_release(publisher: Publisher) -> None:
    publisher.offer("one", "one", DAY)
    sums = publisher.forge.answers[f"{DOWNLOADS}/one/{SUMS}{SUFFIXES[publisher.form]}"]
    publisher.offer("one", "one", 9 * DAY)
    publisher.forge.answers[f"{DOWNLOADS}/one/{SUMS}{SUFFIXES[publisher.form]}"] = sums
    with pytest.raises(EcError, match="signed"):
        publisher.stage()


def test_without_a_pinned_key_nothing_is_known(publisher: Publisher) -> None:
    publisher.offer("two", "two", 2 * DAY)
    publisher.stage()
    publisher.offer("one", "one", DAY)
    free = {"release_signature.format": None, "release_signature.publicKeyFile": None}
    assert publisher.stage(**free).outcome is StageOutcome.STAGED


def test_minisigns_own_time(forge: Forge, tmp_path: Path) -> None:
    key = Minisign()

    def offer(
        name: str, comment: bytes, seconds: int | None = None, beside: Mapping[str, int] | None = None
    ) -> Publisher:
        publisher = Publisher(
            forge=forge,
            state=tmp_path / "state",
            form=SignatureFormat.MINISIGN,
            public=key.public(),
            sign=lambda data: key.sign(data, comment),
        )
        publisher.offer(name, name, seconds, beside=beside)
        return publisher

    offer("two", b"timestamp:1700000002\tfile:SHA256SUMS.txt\thashed").stage()
    with pytest.raises(OlderReleaseError):
        offer("one", b"timestamp:1700000001\tfile:SHA256SUMS.txt\thashed").stage()
    # Words that look like one are none.
    with pytest.raises(OlderReleaseError, match="without a time"):
        offer("one", b"my timestamp:1800000000").stage()
    # The time of the archive goes before that of its signature.
    with pytest.raises(OlderReleaseError):
        offer("one", b"timestamp:1800000000", 1700000001).stage()
    # It is not the time of an archive from before there were any, whose sum stays beside those of new ones.
    with pytest.raises(OlderReleaseError, match="without a time"):
        offer("one", b"timestamp:1800000000", beside={"new.tar.gz": 1800000000}).stage()
    assert offer("three", b"timestamp:1", 1700000003).stage().outcome is StageOutcome.STAGED


def test_what_is_known_of_a_release_goes_with_it(publisher: Publisher) -> None:
    store = ReleaseStore(publisher.state)
    ids = []
    for number, name in enumerate(("one", "two", "three")):
        publisher.offer(name, name, number * DAY)
        ids.append(publisher.stage().release.id)
    assert [find_time(store, each) for each in ids] == [0, DAY, 2 * DAY]
    prune(store, keep=0)
    assert sorted(os.listdir(store.released_dir)) == sorted(ids[1:])
    path = store.released_dir / ids[2]
    path.write_text("soon")
    with pytest.raises(StoreError, match="holds no number of seconds"):
        publisher.stage()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(EcError, match="not a regular file"):
        publisher.stage()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("# timestamp: soon  a", "1: not a time of release"),
        ("# timestamp: 1", "1: not a time of release"),
        ("# timestamp: 1 a", "1: not a time of release"),
        ("# timestamp: -1  a", "1: not a time of release"),
        ("# timestamp: 999999999999  a", "1: not a time of release"),
        ("# timestamp: 1  a\n# timestamp: 2  ./a", "2: a has two times of release"),
    ],
)
def test_times_that_are_none(line: str, words: str) -> None:
    with pytest.raises(ChecksumsError, match=words):
        parse_release_times(f"{line}\n".encode(), where=SUMS)


def test_times_are_read_as_they_were_written() -> None:
    sums = dict.fromkeys("abc", "0" * 64)
    text = render_checksums(sums, {"a": 1, "c": 99999999999})
    assert parse_release_times(text.replace(b"\n", b"\r\n"), where=SUMS) == {"a": 1, "c": 99999999999}
    assert parse_release_times(b"# a comment\n#timestamp: 1  a\n", where=SUMS) == {}
