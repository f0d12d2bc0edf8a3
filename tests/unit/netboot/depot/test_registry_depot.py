"""A depot in a registry: claims, tags that are moved, registries that lie, lose, or ask who it is."""

from __future__ import annotations

import base64
import json
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.depots import at_once, build_publication
from support.fake_registry import REPOSITORY, FakeRegistry, start_fake_registry
from support.fetching import RETRY

from ectools.errors import InputError
from ectools.fetch.client import FetchError
from ectools.netboot.depot.interface import DepotError, MovedError, Publication, TakenError
from ectools.netboot.depot.opening import open_depot
from ectools.netboot.depot.registry import CLAIM_SECONDS, RegistryDepot, build_claim
from ectools.netboot.depot.registry_client import RegistryClient, find_registry_login
from ectools.netboot.settings.depot_address import parse_depot_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with start_fake_registry() as started:
        yield started


def open_at(registry: FakeRegistry, login: Path | None = None) -> RegistryDepot:
    depot = open_depot(parse_depot_address(registry.address), retry=RETRY, credentials_file=login)
    assert isinstance(depot, RegistryDepot)
    assert isinstance(depot.client, RegistryClient)
    return depot


def claims(registry: FakeRegistry) -> list[str]:
    return [tag for tag in registry.tags if ".claim-" in tag]


def test_a_release_and_the_same_once_more(registry: FakeRegistry, tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one", count=5)
    registry.lost = 2
    assert open_at(registry).publish(wanted) is True
    assert open_at(registry).publish(wanted) is False
    with pytest.raises(TakenError):
        open_at(registry).publish(build_publication(tmp_path / "two", text="two"))
    blobs = open_at(registry).list_blobs("boot-v1")
    assert blobs is not None
    assert [blob.size for blob in blobs.values()] == [file.size for file in wanted.files]
    assert open_at(registry).list_blobs("boot-v1+x") is None
    registry.lost = 3
    with pytest.raises(
        DepotError, match=r"has not kept an upload of sha256:[0-9a-f]{64}: status 404 \(3 times\)"
    ):
        open_at(registry).publish(build_publication(tmp_path / "six", "boot-v6", "six"))


@pytest.mark.parametrize(
    "manifest",
    [
        {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": [{"size": 1}]},
        {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []},
        {"artifactType": "application/vnd.example.sbom", "config": {"mediaType": "x"}},
    ],
)
def test_an_image_is_no_release(registry: FakeRegistry, manifest: dict[str, object]) -> None:
    registry.tags = {"stable": json.dumps(manifest).encode()}
    assert open_at(registry).list_blobs("stable") is None
    assert open_at(registry).read_file("stable", "release.json", limit=1) is None


def test_what_is_refused_while_another_stores_the_same_is_asked_for_again(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    wanted = build_publication(tmp_path / "one", count=1)
    registry.refused = ["BLOB_UPLOAD_INVALID"]
    assert open_at(registry).publish(wanted) is True
    stored = [path for method, path, _ in registry.seen if method == "PUT" and "digest=" in path]
    assert len(stored) == len(set(stored)) == 4  # what the other has stored is not sent again
    # The blob once, and its claim twice.
    registry.refused = ["BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"]
    open_at(registry).write_channel("stable", b"1", version=None)
    there = open_at(registry).read_channel("stable")
    assert there is not None
    assert (there.data, registry.refused) == (b"1", [])


def test_what_is_refused_for_good_is_told_why(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.tags = {"other": b"{}"}
    depot = open_at(registry)
    depot.write_channel("stable", b"1", version=None)
    registry.refused = ["DIGEST_INVALID"] * RETRY.attempts
    with pytest.raises(FetchError, match=r"status 400: DIGEST_INVALID; given up after 3 attempts"):
        depot.write_channel("stable", b"1", version="1")
    registry.refused = ["UNSUPPORTED"]
    with pytest.raises(FetchError, match="status 400: UNSUPPORTED"):
        depot.write_channel("stable", b"1", version="1")


@pytest.mark.parametrize("tag", ["boot+v1", "channel.stable.1", "x" * 97, "a.claim-b"])
def test_a_tag_that_a_registry_does_not_take(registry: FakeRegistry, tmp_path: Path, tag: str) -> None:
    with pytest.raises(InputError, match="is no tag that a registry takes"):
        open_at(registry).publish(build_publication(tmp_path / "one", tag))
    assert registry.seen == []


def test_one_who_sees_anothers_claim_goes_away_and_may_come_again(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    one, two = build_publication(tmp_path / "one"), build_publication(tmp_path / "two", text="two")
    results: list[object] = []
    # The one has made its claim, and has not looked: then comes the other, whole.
    registry.before_list = [lambda: results.extend(at_once(partial(open_at(registry).publish, two)))]
    assert open_at(registry).publish(one) is True
    (told,) = results
    assert isinstance(told, DepotError)
    assert "somebody else is about to make boot-v1 as well" in told.message
    assert len(claims(registry)) == 1
    assert open_at(registry).publish(build_publication(tmp_path / "six", "boot-v2", "six")) is True


def test_of_two_that_look_at_once_never_both_go_on(registry: FakeRegistry, tmp_path: Path) -> None:
    for turn in range(10):
        gate = threading.Barrier(2)
        depots = [open_at(registry), open_at(registry)]
        moves = [b"one %d" % turn, b"two %d" % turn]
        there = open_at(registry).read_channel("stable") if turn else None
        version = None if there is None else there.version
        registry.before_list = [partial(gate.wait, 60), partial(gate.wait, 60)]
        results = at_once(
            *(
                partial(depot.write_channel, "stable", move, version=version)
                for depot, move in zip(depots, moves, strict=True)
            )
        )
        assert results.count(None) <= 1
        if None not in results:
            open_at(registry).write_channel("stable", moves[0], version=version)
        now = open_at(registry).read_channel("stable")
        assert now is not None
        assert now.data == moves[results.index(None) if None in results else 0]


def test_one_who_comes_late_is_told_whose_it_is(registry: FakeRegistry, tmp_path: Path) -> None:
    one, two = build_publication(tmp_path / "one"), build_publication(tmp_path / "two", text="two")
    first = open_at(registry)
    read = first._read_manifest
    looked = [None]

    def late(tag: str) -> bytes | None:
        """Nothing was there when it looked."""
        return looked.pop() if looked else read(tag)

    first._read_manifest = late  # type: ignore[method-assign]
    assert open_at(registry).publish(two) is True
    with pytest.raises(TakenError):
        first.publish(one)


def test_a_claim_that_cannot_be_removed_is_named(registry: FakeRegistry, tmp_path: Path) -> None:
    left = "boot-v1.claim-0123456789abcdef-01234567"
    registry.tags, registry.deletes = {left: b"{}"}, False
    with pytest.raises(DepotError, match=left) as caught:
        open_at(registry).publish(build_publication(tmp_path / "one"))
    assert "until that tag is deleted" in str(caught.value.hint)
    assert len(claims(registry)) == 2


def test_a_channel_that_was_interrupted_moves_on_where_nothing_is_deleted(registry: FakeRegistry) -> None:
    registry.deletes, registry.broken = False, "tags/list"
    with pytest.raises(FetchError, match="status 400"):
        open_at(registry).write_channel("stable", b"1", version=None)
    assert len(claims(registry)) == 1
    registry.broken = ""
    open_at(registry).write_channel("stable", b"2", version=None)
    there = open_at(registry).read_channel("stable")
    assert there is not None
    assert (there.data, there.version) == (b"2", "1")


def test_the_claim_of_one_who_was_killed_counts_for_an_hour(registry: FakeRegistry) -> None:
    name = "channel.stable.1.claim-0123456789abcdef-01234567"
    registry.tags, registry.deletes = {name: build_claim(name, 1_000_000)}, False
    depot = open_at(registry)
    depot.clock = lambda: 1_000_000 + CLAIM_SECONDS
    with pytest.raises(DepotError, match="about to make"):
        depot.write_channel("stable", b"1", version=None)
    depot.clock = lambda: 1_000_001 + CLAIM_SECONDS
    depot.write_channel("stable", b"1", version=None)


def test_who_was_killed_before_the_end_goes_on(registry: FakeRegistry, tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    open_at(registry).publish(wanted)
    del registry.tags["boot-v1"]
    assert open_at(registry).publish(wanted) is True
    with pytest.raises(TakenError):
        open_at(registry).publish(build_publication(tmp_path / "two", text="two"))


def test_a_channel_moves_on_over_pages_of_tags(registry: FakeRegistry) -> None:
    depot = open_at(registry)
    assert depot.read_channel("stable") is None
    version = None
    for number in range(1, 12):
        depot.write_channel("stable", b"%d" % number, version=version)
        there = depot.read_channel("stable")
        assert there is not None
        assert (there.data, there.version) == (b"%d" % number, str(number))
        version = there.version
    depot.write_channel("stable.1", b"another", version=None)
    with pytest.raises(MovedError):
        depot.write_channel("stable", b"x", version="3")
    assert depot.read_channel("stable") == there


def test_a_tag_that_was_put_in_between_is_another_ones(registry: FakeRegistry) -> None:
    registry.immutable = True
    registry.before_list = [lambda: registry.tags.update({"channel.stable.1": b"{}"})]
    with pytest.raises(MovedError):
        open_at(registry).write_channel("stable", b"1", version=None)


def test_a_registry_that_gives_something_else(registry: FakeRegistry, tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    depot = open_at(registry)
    depot.publish(wanted)
    sums = wanted.files[0]
    registry.blobs[f"sha256:{sums.sha256}"] = b"x" * sums.size
    with pytest.raises(DepotError, match="is not what it is called by"):
        depot.read_file("boot-v1", sums.name, limit=1 << 20)
    whole = json.loads(registry.tags["boot-v1"])
    for change in (
        {"layers": []},
        {"layers": [{**whole["layers"][0], "digest": "sha256:../../x"}]},
        {"layers": [{**whole["layers"][0], "size": "1"}]},
        {"layers": None},
    ):
        registry.tags["boot-v1"] = json.dumps(whole | change).encode()
        with pytest.raises(DepotError, match="nothing that a registry gives"):
            depot.read_file("boot-v1", sums.name, limit=1 << 20)
    registry.tags["boot-v1"] = b"<html>"
    with pytest.raises(DepotError, match="nothing that a registry gives"):
        depot.list_blobs("boot-v1")
    registry.tags = {"channel.stable.1": b""}
    read = depot._read_manifest
    depot._read_manifest = lambda tag: None  # type: ignore[method-assign]
    with pytest.raises(DepotError, match="does not give it"):
        depot.read_channel("stable")
    depot._read_manifest = read  # type: ignore[method-assign]


def write_login(path: Path, entries: object) -> Path:
    path.write_text(json.dumps({"auths": entries}))
    return path


def login_of(registry: FakeRegistry, path: Path) -> Path:
    host = registry.url.partition("://")[2]
    return write_login(path, {host: {"auth": base64.b64encode(b"me:hidden").decode()}})


def publish_one(registry: FakeRegistry, tmp_path: Path, login: Path | None) -> tuple[bool, Publication]:
    wanted = build_publication(tmp_path / "one")
    return open_at(registry, login).publish(wanted), wanted


def test_a_token_is_sent_for_with_the_login_and_used_from_then_on(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.challenge = (
        f'Bearer realm="{registry.url}/token",service="reg",scope="repository:{REPOSITORY}:pull"'
    )
    registry.accepted = "Bearer t-1"
    assert publish_one(registry, tmp_path, login_of(registry, tmp_path / "login"))[0] is True
    asked = [(path, given) for _, path, given in registry.seen if path.startswith("/token")]
    basic = f"Basic {base64.b64encode(b'me:hidden').decode()}"
    assert asked == [
        (f"/token?service=reg&scope=repository%3A{REPOSITORY.replace('/', '%2F')}%3Apull", basic)
    ]
    # The name and the password go to nobody else.
    assert {given for _, path, given in registry.seen if path.startswith("/v2")} == {None, "Bearer t-1"}


def test_a_token_that_ends_while_a_file_is_sent(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.challenge, registry.accepted = f'Bearer realm="{registry.url}/token"', "Bearer t-1"
    depot, wanted = open_at(registry), build_publication(tmp_path / "one")
    start = depot.client.start
    turns = []

    def renew(method: str, url: str, *rest: object) -> object:
        if "uploads/1" in url and not turns:
            turns.append(url)
            registry.token, registry.accepted = b'{"access_token": "t-2"}', "Bearer t-2"
        return start(method, url, *rest)  # type: ignore[arg-type]

    depot.client.start = renew  # type: ignore[method-assign,assignment]
    assert depot.publish(wanted) is True
    assert turns


@pytest.mark.parametrize(
    ("challenge", "token", "fault"),
    [
        ("Basic realm=x", b"", "a request without a token is refused"),
        ("Digest realm=x", b"", "a request without a token is refused"),
        ("", b"", "a request without a token is refused"),
        ("Bearer", b"{}", "gives no token"),
        ("Bearer", b'{"token": "a\\nb"}', "gives no token"),
        ("Bearer", b"[]", "gives no token"),
        ("Bearer", b"<", "gives no token"),
    ],
)
def test_who_is_not_known_is_told(
    registry: FakeRegistry, tmp_path: Path, challenge: str, token: bytes, fault: str
) -> None:
    registry.challenge = challenge if challenge != "Bearer" else f'Bearer realm="{registry.url}/token"'
    registry.token, registry.accepted = token, "nothing that is given"
    with pytest.raises((FetchError, DepotError), match=fault):
        publish_one(registry, tmp_path, None)


def test_a_name_and_a_password_are_given_where_they_are_asked_for(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.challenge = 'Basic realm="x"'
    registry.accepted = f"Basic {base64.b64encode(b'me:hidden').decode()}"
    assert publish_one(registry, tmp_path, login_of(registry, tmp_path / "login"))[0] is True
    registry.accepted = "another"
    with pytest.raises(FetchError, match="the token is refused") as caught:
        open_at(registry, tmp_path / "login").read_channel("stable")
    assert "hidden" not in caught.value.render()


def test_a_login_is_read_as_the_service_manager_hands_it_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = {"auth": base64.b64encode(b"me:hidden").decode()}
    write_login(tmp_path / "store-credentials", {"registry.example.org": auth})
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert find_registry_login(tmp_path / "nobody-reads-this", "registry.example.org") == "me:hidden"


def test_a_file_of_logins(tmp_path: Path) -> None:
    path = tmp_path / "login"
    auth = {"auth": base64.b64encode(b"me:hid:den").decode()}
    write_login(path, {"https://index.example.org/v1/": auth, "other.example.org:5000": auth, "a": {}})
    assert find_registry_login(None, "index.example.org") is None
    assert find_registry_login(path, "index.example.org") == "me:hid:den"
    assert find_registry_login(path, "other.example.org:5000") == "me:hid:den"
    assert find_registry_login(path, "other.example.org") is None
    with pytest.raises(InputError, match="is kept by a program"):
        find_registry_login(path, "a")
    for text in ("", "[]", '{"auths": {"a": {"auth": "hidden!"}}}', '{"auths": {"a": {"auth": "bm90"}}}'):
        path.write_text(text)
        with pytest.raises(InputError, match="is no file of logins") as caught:
            find_registry_login(path, "a")
        assert "hidden" not in caught.value.render()


def test_a_realm_that_is_not_encrypted_is_sent_no_password(registry: FakeRegistry) -> None:
    client = open_at(registry).client
    client._home = ("https", "registry.example.org", 443)
    with pytest.raises(DepotError, match="where nothing is encrypted"):
        client._answer('Bearer realm="http://x/token"', "https://registry.example.org/v2/a")
