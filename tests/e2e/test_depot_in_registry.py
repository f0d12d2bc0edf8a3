"""A depot in a registry: Debian's docker-registry."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3
from support.depots import build_publication, move_at_once, publish_at_once, read_back
from support.fetching import RETRY
from support.promoted import Promoted
from support.registry import (
    PASSWORD,
    Registry,
    password_auth,
    start_registry,
    start_token_service,
    write_login,
)
from support.releases import check_whole

from ectools.errors import EcError
from ectools.fetch.client import FetchError
from ectools.netboot.depot.interface import DepotError, MovedError, TakenError
from ectools.netboot.depot.opening import AnyDepot, open_depot
from ectools.netboot.settings.depot_address import parse_depot_address

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """One registry for all; each test has a repository of its own."""
    with tempfile.TemporaryDirectory() as name, start_registry(Path(name)) as started:
        yield started


def repository(tmp_path: Path) -> str:
    return f"boot/{tmp_path.name.replace('_', '-').strip('-').lower()}"


def reopen(registry: Registry, tmp_path: Path, *, login: Path | None = None) -> AnyDepot:
    address = parse_depot_address(registry.address(repository(tmp_path)))
    return open_depot(address, retry=RETRY, credentials_file=login)


def test_a_release_is_a_manifest_of_files_by_their_hashes(registry: Registry, tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    assert reopen(registry, tmp_path).publish(wanted) is True
    assert reopen(registry, tmp_path).publish(wanted) is False
    for file in wanted.files:
        found = reopen(registry, tmp_path).read_file("boot-v1", file.name, limit=1 << 20)
        assert found == file.path.read_bytes()
    assert reopen(registry, tmp_path).read_file("boot-v1", "other", limit=1) is None
    assert reopen(registry, tmp_path).read_file("boot-v2", "other", limit=1) is None
    # What other programs read of it.
    url = f"http://{registry.host}/v2/{repository(tmp_path)}/manifests/boot-v1"
    accepted = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    manifest = json.loads(urllib3.request("GET", url, headers=accepted).data)
    assert manifest["artifactType"] == "application/vnd.every-channel.netboot-release.v1"
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in manifest["layers"]]
    assert titles == [file.name for file in wanted.files]
    with pytest.raises(TakenError):
        reopen(registry, tmp_path).publish(build_publication(tmp_path / "two", text="two"))


def test_of_publishers_at_once_never_two_win(registry: Registry, tmp_path: Path) -> None:
    # Nothing is there yet: each stores the same first blobs, and this registry refuses some of it meanwhile.
    for turn in range(6):
        each, results = publish_at_once(partial(reopen, registry, tmp_path), tmp_path, f"boot-v{turn}")
        assert results.count(True) <= 1, results
        assert all(result is True or isinstance(result, DepotError) for result in results), results
        # Where each has seen the other, nobody has it, and it is free again.
        done: bool | None = True if True in results else reopen(registry, tmp_path).publish(each[0])
        winner = each[results.index(True) if True in results else 0]
        assert done is True
        assert read_back(reopen(registry, tmp_path), winner) == [f.path.read_bytes() for f in winner.files]


def test_of_moves_at_once_never_two_are_done(registry: Registry, tmp_path: Path) -> None:
    depot = reopen(registry, tmp_path)
    assert depot.read_channel("stable") is None
    depot.write_channel("stable", b"0", version=None)
    for turn in range(6):
        moves = [b"%d %d" % (turn, number) for number in range(4)]
        before, results = move_at_once(partial(reopen, registry, tmp_path), "stable", moves)
        assert all(result is None or isinstance(result, DepotError) for result in results), results
        assert results.count(None) <= 1, results
        now = depot.read_channel("stable")
        assert now is not None
        assert now.data == (moves[results.index(None)] if None in results else before)
    with pytest.raises(MovedError):
        depot.write_channel("stable", b"x", version=None)


def test_a_name_and_a_password(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with start_registry(tmp_path / "registry", auth=password_auth(tmp_path)) as registry:
        login = write_login(tmp_path / "login", registry.host)
        assert reopen(registry, tmp_path, login=login).publish(build_publication(tmp_path / "one")) is True
        wrong = write_login(tmp_path / "wrong", registry.host, password="another")
        for file in (None, wrong):
            with pytest.raises(FetchError, match="status 401") as caught:
                reopen(registry, tmp_path, login=file).read_file("boot-v1", "release.json", limit=1 << 20)
            assert "another" not in caught.value.render()


def test_tokens_are_sent_for_and_one_that_has_expired_is_renewed(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with start_token_service(tmp_path) as (service, auth):
        with start_registry(tmp_path / "registry", auth=auth) as registry:
            login = write_login(tmp_path / "login", registry.host)
            depot = reopen(registry, tmp_path, login=login)
            assert depot.publish(build_publication(tmp_path / "one")) is True
            name = repository(tmp_path)
            assert f"repository:{name}:pull,push" in service.asked or len(service.asked) > 1
            wrong = write_login(tmp_path / "wrong", registry.host, password="another")
            with pytest.raises(FetchError, match="status 401") as caught:
                reopen(registry, tmp_path, login=wrong).read_channel("stable")
            assert PASSWORD not in caught.value.render()
            assert "another" not in caught.value.render()
            service.refused = 1
            again = reopen(registry, tmp_path, login=login)
            with pytest.raises(FetchError, match="status 401"):
                again.read_channel("stable")
            assert again.read_file("boot-v1", "release.json", limit=1 << 20) is not None


@pytest.fixture
def made(registry: Registry, tmp_path: Path) -> Promoted:
    """A publisher, and a boot host."""
    place = registry.address(repository(tmp_path))
    found = Promoted(home=tmp_path, place=place, source=place)
    for tag, text in (("boot-v1", "one"), ("boot-v2", "two")):
        found.publish(tag, text)
    return found


def test_a_boot_host_follows_a_channel_and_takes_no_other_release_under_its_tag(
    registry: Registry, made: Promoted
) -> None:
    release = made.follow("boot-v1", "boot-v2")
    assert release.systems[0].source.startswith(f"http://{registry.host}/v2/")
    # Whoever may push moves a tag: the pointer says which sums it was.
    url = f"http://{registry.host}/v2/{repository(made.home)}/manifests"
    kind = "application/vnd.oci.image.manifest.v1+json"
    old = urllib3.request("GET", f"{url}/boot-v1", headers={"Accept": kind}).data
    made.publish("boot-v3", "six")
    made.promote("boot-v3", "stable")
    moved = urllib3.request("PUT", f"{url}/boot-v3", body=old, headers={"Content-Type": kind})
    assert moved.status == 201
    with pytest.raises(EcError, match="not what the channel stable leads to"):
        made.stage()
    release = check_whole(made.home / "state")
    assert release is not None
    assert release.tag == "boot-v2"
