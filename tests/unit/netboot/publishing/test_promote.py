"""A channel is led to what is published whole and signed, and nowhere else."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest
from support.promoted import FORM, Promoted

from ectools.errors import EcError, InputError
from ectools.fetch.client import FetchError
from ectools.netboot.depot.channel import MAX_WITHDRAWN
from ectools.netboot.depot.interface import ChannelFile, MovedError, Publication
from ectools.netboot.publishing.names import check_no_channel, is_published
from ectools.netboot.publishing.promote import Promoter
from ectools.netboot.signature import SignatureError

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.depot.interface import Depot
    from ectools.netboot.depot.opening import AnyDepot


@pytest.fixture
def made(tmp_path: Path) -> Promoted:
    found = Promoted(home=tmp_path, place=str(tmp_path / "depot"), source=f"file:{tmp_path / 'depot'}")
    found.publish("boot-v1", "one")
    found.publish("boot-v2", "two")
    return found


def test_what_a_channel_is_not_led_to(made: Promoted) -> None:
    directory = made.home / "depot/releases"
    with pytest.raises(InputError, match="is neither a channel there nor a release"):
        made.promote("boot-v9", "stable")
    with pytest.raises(InputError, match="no channel's name"):
        made.promote("boot-v1", "../stable")
    (directory / "boot-v1/release.json").rename(made.home / "release.json")
    with pytest.raises(InputError, match=r"is not published whole: it has no release\.json"):
        made.promote("boot-v1", "stable")
    shutil.copy(made.home / "release.json", directory / "boot-v1/release.json")
    shutil.copy(directory / "boot-v2/SHA256SUMS.txt.sig", directory / "boot-v1/SHA256SUMS.txt.sig")
    with pytest.raises(SignatureError):
        made.promote("boot-v1", "stable")
    (directory / "boot-v1/SHA256SUMS.txt.sig").unlink()
    with pytest.raises(SignatureError, match="boot hosts would not stage it"):
        made.promote("boot-v1", "stable")
    assert not (made.home / "depot/channels").exists()


def test_a_name_is_a_tag_or_a_channel(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    # The arguments the wrong way round: nothing may stand in the way of going back by the tag.
    with pytest.raises(InputError, match="boot-v1 is the tag of a published release") as caught:
        made.promote("stable", "boot-v1")
    assert "promote TAG CHANNEL" in str(caught.value.hint)
    assert made.promote("boot-v1", "stable").pointer.tag == "boot-v1"
    check_no_channel(made.open(), "boot-v3", where="there")
    check_no_channel(made.open(), "boot-v3+1", where="there")
    with pytest.raises(InputError, match="there: stable is a channel there"):
        check_no_channel(made.open(), "stable", where="there")


def test_what_is_both_a_tag_and_a_channel_is_not_promoted_from(made: Promoted) -> None:
    made.promote("boot-v2", "boot-v3")
    made.publish("boot-v3", "three")
    with pytest.raises(InputError, match="is both a channel there, which leads to boot-v2, and the tag"):
        made.promote("boot-v3", "stable")
    (made.home / "depot/channels/boot-v3.json").unlink()
    assert made.promote("boot-v3", "stable").pointer.tag == "boot-v3"


def test_a_release_of_software_may_be_called_as_a_channel(made: Promoted) -> None:
    """A forge has releases of its own, with sums of theirs, whose tag moves along."""
    directory = made.home / "depot/releases/nightly"
    directory.mkdir()
    (directory / "SHA256SUMS.txt").write_text(f"{'0' * 64}  tool.tar.gz\n")
    assert made.promote("boot-v1", "nightly").pointer.tag == "boot-v1"
    assert made.promote("nightly", "stable").pointer.tag == "boot-v1"
    # And a channel that is followed goes on, whatever was published since.
    shutil.copy(made.home / "depot/releases/boot-v1/release.json", directory)
    assert made.promote("boot-v2", "nightly").pointer.tag == "boot-v2"


@dataclass(frozen=True)
class RefusingDepot:
    """A store that answers each question for a file with this status."""

    status: int

    def read_file(self, _tag: str, _name: str, *, limit: int) -> bytes | None:
        raise FetchError(f"answers {self.status} to {limit} bytes", status=self.status)

    def read_channel(self, _name: str) -> ChannelFile | None:
        raise FetchError(f"answers {self.status}", status=self.status)


def test_what_cannot_be_looked_for(made: Promoted) -> None:
    """Of a store's first release no 403 is explained; all else is no answer."""
    check_no_channel(cast("Depot", RefusingDepot(403)), "boot-v1", where="there")
    assert not is_published(cast("Depot", RefusingDepot(404)), "boot-v1")
    with pytest.raises(FetchError):
        check_no_channel(cast("Depot", RefusingDepot(500)), "boot-v1", where="there")
    with pytest.raises(FetchError):
        is_published(cast("Depot", RefusingDepot(403)), "boot-v1")
    assert is_published(made.open(), "boot-v1")


def test_a_channel_of_another_key_is_not_promoted_from(made: Promoted) -> None:
    made.promote("boot-v1", "canary")
    (made.home / "other").mkdir()
    other = Promoted(home=made.home / "other", place=made.place, source=made.source)
    with pytest.raises(SignatureError, match="is not signed by the pinned key"):
        other.promote("canary", "stable")


def test_sums_that_were_changed_since(made: Promoted) -> None:
    made.promote("boot-v1", "canary")
    directory = made.home / "depot/releases"
    for name in ("SHA256SUMS.txt", "SHA256SUMS.txt.sig"):
        shutil.copy(directory / "boot-v2" / name, directory / "boot-v1" / name)
    with pytest.raises(EcError, match="is not the one that the channel canary leads to"):
        made.promote("canary", "stable")


def test_what_has_expired_is_not_promoted_from_and_can_be_renewed(made: Promoted) -> None:
    first = made.promote("boot-v1", "canary", valid_days=1)
    assert first.pointer.expires_at == first.pointer.moved_at + 86400
    made.now += 2 * 86400
    with pytest.raises(InputError, match="has expired"):
        made.promote("canary", "stable")
    renewed = made.promote("boot-v1", "canary", valid_days=30)
    assert renewed.is_moved
    assert renewed.pointer.counter > first.pointer.counter
    assert made.promote("canary", "stable").pointer.tag == "boot-v1"


def test_what_expires_is_made_to_last_by_promoting_without_an_end(made: Promoted) -> None:
    made.promote("boot-v1", "stable", valid_days=1)
    lasting = made.promote("boot-v1", "stable")
    assert (lasting.is_moved, lasting.pointer.expires_at) == (True, None)
    assert not made.promote("boot-v1", "stable").is_moved


def test_forward_leaves_a_channel_where_what_it_leads_to_is_newer(made: Promoted) -> None:
    made.publish("boot-v2026.03.02", "old")
    made.publish("boot-v2026.03.09", "new")
    made.promote("boot-v2026.03.02", "canary", forward=True)
    assert made.promote("boot-v2026.03.09", "canary", forward=True).is_moved
    for older in ("boot-v2026.03.02", "boot-v1"):
        kept = made.promote(older, "canary", forward=True)
        assert (kept.is_moved, kept.older, kept.pointer.tag) == (False, older, "boot-v2026.03.09")
    # What is to be left is left, also for what is older; and without it, who promotes says where to.
    left = made.promote("boot-v2026.03.02", "canary", forward=True, withdrawn=["boot-v2026.03.09"])
    assert (left.is_moved, left.pointer.tag) == (True, "boot-v2026.03.02")
    assert made.promote("boot-v1", "canary").is_moved


def test_a_new_key_takes_a_channel_over_from_the_one_before(made: Promoted) -> None:
    before = made.promote("boot-v1", "stable")
    former = (made.home / "key.pub").read_bytes()
    (made.home / "next").mkdir()
    new = Promoted(home=made.home / "next", place=made.place, source=made.source, now=made.now)
    new.publish("boot-v3", "three")
    with pytest.raises(SignatureError) as caught:
        new.promote("boot-v3", "stable")
    assert "--former-key" in str(caught.value.hint)
    (made.home / "third").mkdir()
    third = Promoted(home=made.home / "third", place=made.place, source=made.source)
    with pytest.raises(SignatureError):
        new.promote("boot-v3", "stable", former_key=(third.home / "key.pub").read_bytes())
    taken = new.promote("boot-v3", "stable", former_key=former)
    assert taken.pointer.counter > before.pointer.counter
    # Once it has: the option is no harm, and not needed.
    assert not new.promote("boot-v3", "stable", former_key=former).is_moved
    assert new.stage("stable").release.tag == "boot-v3"


@dataclass(frozen=True)
class LateDepot:
    """A depot as it was seen a moment ago."""

    depot: AnyDepot
    seen: ChannelFile | None

    def publish(self, publication: Publication) -> bool:
        return self.depot.publish(publication)

    def read_file(self, tag: str, name: str, *, limit: int) -> bytes | None:
        return self.depot.read_file(tag, name, limit=limit)

    def read_channel(self, name: str) -> ChannelFile | None:
        return self.seen if name == "stable" else None

    def write_channel(self, name: str, data: bytes, *, version: str | None) -> None:
        self.depot.write_channel(name, data, version=version)


def test_of_two_who_promote_one_is_told(made: Promoted) -> None:
    made.promote("boot-v1", "stable")
    late = LateDepot(made.open(), made.open().read_channel("stable"))
    made.promote("boot-v2", "stable")
    promoter = Promoter(depot=late, where="it", form=FORM, private_key=made.private, clock=lambda: made.now)
    with pytest.raises(MovedError, match="was moved meanwhile"):
        promoter.promote("boot-v1", "stable", valid_days=1)
    assert made.promote("stable", "canary").pointer.tag == "boot-v2"


def test_what_is_withdrawn_stays_so_until_the_channel_leads_there(made: Promoted) -> None:
    assert b"withdrawn" not in base64.b64decode(json.loads(read(made))["payload"])
    assert made.promote("boot-v2", "stable").pointer.withdrawn == ()
    back = made.promote("boot-v1", "stable", withdrawn=["boot-v2"])
    assert (back.is_moved, back.pointer.withdrawn, back.unknown) == (True, ("boot-v2",), ())
    # The same once more is none; one more that is withdrawn is.
    assert not made.promote("boot-v1", "stable", withdrawn=["boot-v2"]).is_moved
    more = made.promote("boot-v1", "stable", withdrawn=["boot-v0"])
    assert (more.is_moved, more.pointer.withdrawn) == (True, ("boot-v2", "boot-v0"))
    assert more.unknown == ("boot-v0",)
    assert made.promote("boot-v1", "stable", withdrawn=["boot-v0"]).unknown == ("boot-v0",)
    assert made.stage().release.tag == "boot-v1"
    assert made.promote("boot-v2", "stable").pointer.withdrawn == ("boot-v0",)


def test_what_cannot_be_withdrawn(made: Promoted) -> None:
    with pytest.raises(InputError, match="is to be withdrawn, and stable is to lead to it"):
        made.promote("boot-v1", "stable", withdrawn=["boot-v1"])
    with pytest.raises(InputError):
        made.promote("boot-v1", "stable", withdrawn=["../x"])


def test_of_many_that_are_withdrawn_the_last_ones_are_kept(made: Promoted) -> None:
    many = [f"boot-v0.{number}" for number in range(MAX_WITHDRAWN + 3)]
    assert made.promote("boot-v1", "stable", withdrawn=many).pointer.withdrawn == tuple(many[3:])
    assert made.stage().release.tag == "boot-v1"


def read(made: Promoted) -> bytes:
    made.promote("boot-v1", "stable")
    found = made.open().read_channel("stable")
    assert found is not None
    return found.data
