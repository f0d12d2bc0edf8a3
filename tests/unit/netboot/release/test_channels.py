"""A boot host follows a channel: what it takes, and what whoever holds the store cannot make it take."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depots import ForgeApi, WebStore, start_forge_api, start_web_store
from support.fetching import RETRY
from support.promoted import FORM, Promoted
from support.releases import build_settings, check_whole, release_files, snapshot, write_archive

from ectools.errors import EcError, InputError, ProblemsError
from ectools.netboot.depot.channel import ChannelError, ChannelPointer, seal_pointer
from ectools.netboot.fleet.load import load_fleet
from ectools.netboot.fleet.model import NodeGroup
from ectools.netboot.release.channels import (
    OlderPointerError,
    check_pointer,
    list_followed,
    note_pointer,
    note_staged,
    read_known,
    read_pointer,
)
from ectools.netboot.release.depot_source import find_in_depot
from ectools.netboot.release.followed import follow, list_group_channels
from ectools.netboot.release.prune import Retention, prune
from ectools.netboot.release.rollback import roll_back
from ectools.netboot.release.stage import StageOutcome, stage
from ectools.netboot.release.store import ReleaseStore, StoreError
from ectools.netboot.release.tags import ReleaseTags
from ectools.netboot.settings.depot_address import DirectoryAddress
from ectools.netboot.settings.model import DepotSource
from ectools.netboot.settings.source import check_group_channels
from ectools.netboot.signature import SignatureError
from ectools.parsing import Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("no_proxies")
SUMS = "SHA256SUMS.txt"


@pytest.fixture
def local(tmp_path: Path) -> Promoted:
    """A depot in a directory, with two releases."""
    place = tmp_path / "depot"
    made = Promoted(home=tmp_path, place=str(place), source=f"file:{place}")
    made.publish("boot-v1", "one")
    made.publish("boot-v2", "two")
    return made


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[WebStore, Promoted]]:
    """The same on a web server."""
    with start_web_store() as store:
        made = Promoted(home=tmp_path, place=f"{store.url}/boot", source=f"{store.url}/boot")
        made.publish("boot-v1", "one")
        made.publish("boot-v2", "two")
        yield store, made


def current_tag(made: Promoted) -> str | None:
    release = check_whole(made.home / "state")
    return None if release is None else release.tag


def test_a_channel_leads_from_release_to_release(local: Promoted) -> None:
    assert local.promote("boot-v1", "canary").before is None
    local.promote("canary", "stable")
    assert local.stage().outcome is StageOutcome.STAGED
    assert current_tag(local) == "boot-v1"
    assert local.stage().outcome is StageOutcome.UNCHANGED
    local.promote("boot-v2", "canary")
    assert local.stage().outcome is StageOutcome.UNCHANGED
    assert local.promote("canary", "stable").is_moved
    assert not local.promote("canary", "stable").is_moved
    assert local.stage().outcome is StageOutcome.STAGED
    assert current_tag(local) == "boot-v2"
    # Back is a move too, which its publisher has signed.
    local.promote("boot-v1", "stable")
    assert local.stage().outcome is StageOutcome.REUSED
    assert current_tag(local) == "boot-v1"


def test_over_http_and_from_a_forge(web: tuple[WebStore, Promoted], tmp_path: Path) -> None:
    _store, made = web
    made.promote("boot-v1", "stable")
    assert made.stage().release.tag == "boot-v1"
    with start_forge_api() as forge:
        home = tmp_path / "forge"
        home.mkdir()
        (home / "token").write_text(forge.token)
        of_forge = Promoted(home=home, place=forge.address, source=forge.address, token=forge.token)
        of_forge.publish("boot-v1", "one")
        of_forge.publish("boot-v2", "two")
        of_forge.promote("boot-v1", "canary")
        of_forge.promote("canary", "stable")
        assert of_forge.stage(release_tokenFile=str(home / "token")).release.tag == "boot-v1"
        of_forge.promote("boot-v2", "stable")
        assert of_forge.stage(release_tokenFile=str(home / "token")).release.tag == "boot-v2"
        _attack_forge(forge, of_forge)


def _attack_forge(forge: ForgeApi, made: Promoted) -> None:
    """The other release's files under the tag: each is signed, and they are not those that are meant."""
    one, two = (each for each in forge.releases.values() if each["tag_name"] in ("boot-v1", "boot-v2"))
    two["assets"] = one["assets"]
    with pytest.raises(ChannelError, match="not what the channel stable leads to"):
        made.stage(release_tokenFile=str(made.home / "token"))
    assert current_tag(made) == "boot-v2"


def put_back(made: Promoted) -> None:
    made.promote("boot-v1", "stable")
    old = (made.home / "depot/channels/stable.json").read_bytes()
    made.promote("boot-v2", "stable")
    made.stage()
    (made.home / "depot/channels/stable.json").write_bytes(old)


def put_other_channel(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    made.stage()
    made.promote("boot-v1", "canary")
    shutil.copy(made.home / "depot/channels/canary.json", made.home / "depot/channels/stable.json")


def sign_by_another(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    made.stage()
    other = Promoted(home=_below(made.home, "other"), place=made.place, source=made.source)
    pointer = ChannelPointer(channel="stable", counter=2**40, tag="boot-v1", sums="0" * 64, moved_at=1)
    data = seal_pointer(pointer, form=FORM, private_key=other.private)
    (made.home / "depot/channels/stable.json").write_bytes(data)


def change_payload(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    made.stage()
    path = made.home / "depot/channels/stable.json"
    envelope = json.loads(path.read_bytes())
    envelope["payload"] = envelope["payload"][:-4] + "fQ=="
    path.write_text(json.dumps(envelope))


def put_sums_of_another(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    made.stage()
    made.publish("boot-v3", "three")
    made.promote("boot-v3", "stable")
    for name in (SUMS, f"{SUMS}.sig"):
        shutil.copy(made.home / "depot/releases/boot-v1" / name, made.home / "depot/releases/boot-v3" / name)


def change_archive(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    made.stage()
    made.publish("boot-v3", "three")
    made.promote("boot-v3", "stable")
    [archive] = (made.home / "depot/releases/boot-v3").glob("*.tar.gz")
    archive.write_bytes(next((made.home / "depot/releases/boot-v1").glob("*.tar.gz")).read_bytes())


def withhold_archive(made: Promoted) -> None:
    change_archive(made)
    [archive] = (made.home / "depot/releases/boot-v3").glob("*.tar.gz")
    archive.unlink()


def withhold_channel(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    made.stage()
    (made.home / "depot/channels/stable.json").unlink()


def let_expire(made: Promoted) -> None:
    made.promote("boot-v2", "stable")
    made.stage()
    made.now = time.time() - 40 * 86400
    made.promote("boot-v1", "stable", valid_days=30)


def sign_twice(made: Promoted) -> None:
    done = made.promote("boot-v2", "stable")
    made.stage()
    pointer = done.pointer
    other = ChannelPointer(**{**vars(pointer), "tag": "boot-v1", "sums": "0" * 64})
    data = seal_pointer(other, form=FORM, private_key=made.private)
    (made.home / "depot/channels/stable.json").write_bytes(data)


ATTACKS: list[tuple[Callable[[Promoted], None], type[EcError], str]] = [
    (put_back, OlderPointerError, "is shown as it was"),
    (put_other_channel, ChannelError, "is signed as the channel canary"),
    (sign_by_another, SignatureError, r"not signed by the pinned key: .* \(the key is /.*/key\.pub\)$"),
    (change_payload, SignatureError, "not signed by the pinned key"),
    (put_sums_of_another, ChannelError, "not what the channel stable leads to"),
    (change_archive, EcError, "it was damaged or changed"),
    (withhold_archive, EcError, "is not there"),
    (withhold_channel, ChannelError, "there is none"),
    (let_expire, ChannelError, "has expired"),
    (sign_twice, OlderPointerError, "with the same"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack[0].__name__)
def test_what_a_store_cannot_do(
    local: Promoted, attack: tuple[Callable[[Promoted], None], type[EcError], str]
) -> None:
    prepare, kind, words = attack
    prepare(local)
    before = snapshot(local.home / "state/releases")
    with pytest.raises(kind, match=words):
        local.stage()
    assert current_tag(local) == "boot-v2"
    assert snapshot(local.home / "state/releases") == before


def _below(directory: Path, name: str) -> Path:
    (directory / name).mkdir()
    return directory / name


def test_a_store_that_shows_another_row_of_moves(web: tuple[WebStore, Promoted]) -> None:
    store, made = web
    made.promote("boot-v1", "stable")
    made.promote("boot-v2", "stable")
    made.stage()
    assert current_tag(made) == "boot-v2"
    first, second = (store.objects[f"/boot/channels/stable/{number}.json"] for number in (1, 2))
    store.lies["/boot/channels/stable/3.json"] = first
    with pytest.raises(OlderPointerError):
        made.stage()
    store.lies = {"/boot/channels/stable/newest": b"1\n", "/boot/channels/stable/2.json": first}
    with pytest.raises(OlderPointerError):
        made.stage()
    # Behind by what it says alone, it is looked for all the same.
    store.lies = {"/boot/channels/stable/newest": b"1\n"}
    assert made.stage().outcome is StageOutcome.UNCHANGED
    store.lies = {f"/boot/channels/stable/{number}.json": second for number in range(3, 1200)}
    with pytest.raises(EcError, match="has no end"):
        made.stage()
    store.lies = {"/boot/channels/stable/newest": b"no number"}
    with pytest.raises(EcError, match="is no number"):
        made.stage()
    store.lies = {"/boot/channels/stable/newest": b"7\n"}
    with pytest.raises(EcError, match="has lost its move 7"):
        made.stage()
    assert current_tag(made) == "boot-v2"


def test_a_publisher_who_is_shown_an_old_pointer_counts_on(local: Promoted) -> None:
    local.promote("boot-v1", "stable")
    path = local.home / "depot/channels/stable.json"
    old = path.read_bytes()
    seen = local.promote("boot-v2", "stable").pointer.counter
    local.stage()
    path.write_bytes(old)
    assert local.promote("boot-v2", "stable").pointer.counter > seen
    assert local.stage().outcome is StageOutcome.UNCHANGED
    path.unlink()
    assert local.promote("boot-v1", "stable").pointer.counter > seen
    assert local.stage().release.tag == "boot-v1"


def test_a_counter_is_kept_before_anything_is_staged_for_it(local: Promoted) -> None:
    put_back(local)
    path = local.home / "depot/channels/stable.json"
    old = path.read_bytes()
    local.publish("boot-v3", "three")
    local.promote("boot-v3", "stable")
    [archive] = (local.home / "depot/releases/boot-v3").glob("*.tar.gz")
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-100])
    with pytest.raises(EcError):
        local.stage()
    store = ReleaseStore(local.home / "state")
    known = read_known(store, "stable")
    assert known is not None
    assert known.tag == "boot-v3"
    assert known.release == store.find_link_id("current")
    path.write_bytes(old)
    with pytest.raises(OlderPointerError):
        local.stage()
    local.promote("boot-v3", "stable", valid_days=3650)
    archive.write_bytes(whole)
    local.now = time.time()
    local.promote("boot-v3", "stable", valid_days=3650)
    assert local.stage().release.tag == "boot-v3"


def test_groups_have_their_own_channels(local: Promoted, tmp_path: Path) -> None:
    local.promote("boot-v1", "stable")
    local.promote("boot-v2", "canary")
    file = tmp_path / "fleet.toml"
    file.write_text('[groups.first]\nchannel = "canary"\n[groups.rest]\nchannel = "stable"\n')
    options = {"release_keep": 0, "fleet_file": str(file)}
    staged = local.stage(**options)
    store = ReleaseStore(local.home / "state")
    assert staged.release.tag == "boot-v1"
    assert current_tag(local) == "boot-v1"
    tags = ReleaseTags(store)
    ids = {tag: tags.find_id(tag) for tag in ("boot-v1", "boot-v2")}
    assert (tags.find_id("channel:stable"), tags.find_id("channel:canary")) == tuple(ids.values())
    assert tags.find_id("channel:other") is None
    assert tags.find_id("channel:../pinned") is None
    kept = {each.release.tag: each.retention for each in prune(store, keep=0)}
    assert kept == {"boot-v1": Retention.CURRENT, "boot-v2": Retention.CHANNEL}
    # One that fails keeps no other from being staged.
    (local.home / "depot/channels/canary.json").write_bytes(b"{}")
    local.promote("boot-v2", "stable")
    with pytest.raises(SignatureError):
        local.stage(**options)
    assert current_tag(local) == "boot-v2"
    # A group that follows none any more lets its release go, and its counter stays.
    file.write_text("")
    local.stage(**options)
    assert list_followed(store) == {"stable": store.find_link_id("current")}
    known = read_known(store, "canary")
    assert known is not None
    assert known.counter > 0
    file.write_text("[[[")
    assert list_group_channels(build_settings(store.state_dir, fleet_file=str(file))) is None
    assert local.stage(**options).outcome is StageOutcome.UNCHANGED


def test_what_is_current_cannot_be_staged_and_groups_go_on(local: Promoted, tmp_path: Path) -> None:
    local.promote("boot-v1", "canary")
    file = tmp_path / "fleet.toml"
    file.write_text('[groups.first]\nchannel = "canary"\n')
    with pytest.raises(ChannelError, match="the channel nosuch: there is none"):
        local.stage("nosuch", fleet_file=str(file))
    tags = ReleaseTags(ReleaseStore(local.home / "state"))
    assert tags.find_id("channel:canary") is not None
    (local.home / "depot/channels/canary.json").write_bytes(b"{}")
    with pytest.raises(ChannelError, match="the channel nosuch: there is none"):
        local.stage("nosuch", fleet_file=str(file))


def test_what_was_rolled_back_from_is_no_groups(local: Promoted, tmp_path: Path) -> None:
    local.promote("boot-v1", "stable")
    local.stage()
    local.promote("boot-v2", "stable")
    local.stage()
    roll_back(ReleaseStore(local.home / "state"))
    assert current_tag(local) == "boot-v1"
    assert local.stage().outcome is StageOutcome.WITHDRAWN
    local.promote("boot-v2", "canary")
    file = tmp_path / "fleet.toml"
    file.write_text('[groups.first]\nchannel = "canary"\n')
    local.stage(fleet_file=str(file))
    assert ReleaseTags(ReleaseStore(local.home / "state")).find_id("channel:canary") is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"release_tag": "boot-v1"}, "set beside release.tag"),
        (
            {"release_signature.format": None, "release_signature.publicKeyFile": None},
            "nothing says who leads",
        ),
        ({"release_channel": None}, "is no forge"),
        ({"release_source": "s3:///x"}, "has no bucket's name"),
        ({"release_source": "s3://boot?region=Mars"}, "a region's name is of 1 to 40 small letters"),
        ({"release_source": "s3://a"}, "a bucket's name is of 2 to 63 letters"),
        ({"release_source": "https://example.org/../x"}, "a path is of letters"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    given = {
        "release_source": "file:/srv/releases",
        "release_channel": "stable",
        "release_signature.format": "minisign",
        "release_signature.publicKeyFile": "/etc/key.pub",
        **options,
    }
    with pytest.raises(ProblemsError) as caught:
        build_settings(tmp_path, **given)
    assert words in caught.value.render()


def test_a_groups_channel_takes_a_key(tmp_path: Path) -> None:
    groups = {"first": NodeGroup(name="first", channel="canary"), "rest": NodeGroup(name="rest")}
    for is_signed, count in ((True, 0), (False, 1)):
        problems = Problems("services.every-channel.netboot")
        check_group_channels(groups, problems, is_signed=is_signed)
        assert len(problems.found) == count
    file = tmp_path / "fleet.toml"
    file.write_text('[groups.first]\nchannel = "canary"\nrelease = "boot-v1"\n')
    with pytest.raises(ProblemsError) as caught:
        load_fleet(file)
    assert "set beside release" in caught.value.render()


def test_a_channel_without_a_key_is_not_followed(tmp_path: Path) -> None:
    given = build_settings(
        tmp_path / "state", release_tarball=str(write_archive(tmp_path, release_files()))
    ).release
    with pytest.raises(EcError, match="a channel is signed"):
        follow(ReleaseStore(tmp_path / "state"), given, "stable", retry=None)  # type: ignore[arg-type]
    file = tmp_path / "fleet.toml"
    file.write_text('[groups.first]\nchannel = "canary"\n')
    options = {"release_tarball": str(tmp_path / "ec-runner-x86_64-netboot-test.tar.gz")}
    with pytest.raises(EcError, match="the channel canary cannot be followed"):
        stage(build_settings(tmp_path / "state", fleet_file=str(file), **options))
    assert check_whole(tmp_path / "state") is not None


def test_a_record_that_is_damaged_is_not_taken_for_none(local: Promoted) -> None:
    local.promote("boot-v1", "stable")
    local.stage()
    (local.home / "state/channels/stable").write_text("{}")
    with pytest.raises(StoreError, match="is no record of a channel"):
        local.stage()


def test_a_release_is_found_by_its_tag(local: Promoted) -> None:
    source = DepotSource(
        address=DirectoryAddress(path=local.home / "depot"),
        tag="boot-v1",
        token_file=None,
        credentials_file=None,
        artifact="*",
        other_artifacts=(),
    )
    found = find_in_depot(source, "boot-v1", RETRY)
    assert found.release.has_artifact("ec-runner-x86_64-netboot-boot-v1.tar.gz")
    assert SUMS in found.published.names()
    with pytest.raises(EcError, match=r"boot-v9: there is no SHA256SUMS\.txt"):
        find_in_depot(source, "boot-v9", RETRY)
    assert local.stage(None, release_tag="boot-v1").release.tag == "boot-v1"


def test_a_pointer_is_read_by_its_key(local: Promoted) -> None:
    local.promote("boot-v1", "stable")
    key = (local.home / "key.pub").read_bytes()
    pointer = read_pointer(local.open(), "stable", where="it", form=FORM, public_key=key)
    assert (pointer.tag, pointer.channel) == ("boot-v1", "stable")


@settings(max_examples=60, deadline=None)
@given(counters=st.lists(st.integers(1, 6), min_size=1, max_size=12), data=st.data())
def test_no_row_of_pointers_leads_back(
    counters: list[int], data: st.DataObject, tmp_path_factory: Any
) -> None:
    store = ReleaseStore(tmp_path_factory.mktemp("state"))
    highest = 0
    for counter in counters:
        tag = f"boot-v{counter}"
        pointer = ChannelPointer(
            channel="stable", counter=counter, tag=tag, sums=f"{counter:064x}", moved_at=1
        )
        with store.lock():
            if counter < highest:
                with pytest.raises(OlderPointerError):
                    note_pointer(store, pointer, where="it")
            else:
                note_pointer(store, pointer, where="it")
                if data.draw(st.booleans()):
                    note_staged(store, pointer, f"sha256-{counter:032x}")
                check_pointer(store, pointer, where="it")
        highest = max(highest, counter)
        known = read_known(store, "stable")
        assert known is not None
        assert known.counter == highest
        assert known.release is None or int(known.release.removeprefix("sha256-"), 16) <= highest
        # And of what is staged by which pointer it was, also while another one is on its way.
        assert (
            known.release is None or int(known.release.removeprefix("sha256-"), 16) == known.release_counter
        )


def test_an_old_release_does_not_pass_for_another_tag(local: Promoted) -> None:
    """Its sums and its signature are good wherever they stand: the archive's name says what it is."""
    releases = local.home / "depot/releases"
    shutil.copytree(releases / "boot-v1", releases / "boot-v9")
    with pytest.raises(InputError, match=r"is an archive of the tag boot-v1, and the release is boot-v9"):
        local.stage(None, release_tag="boot-v9")
    assert current_tag(local) is None
