"""A depot behind HTTP: servers that pass over conditions, lose answers, lie, or refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.depots import build_publication, open_at, start_web_store

from ectools.errors import InputError
from ectools.fetch.client import FetchError
from ectools.fetch.sigv4 import S3Credentials
from ectools.netboot.depot.interface import (
    DepotError,
    MovedError,
    TakenError,
    check_channel_name,
    check_tag_name,
)
from ectools.netboot.depot.objects import ObjectDepot
from ectools.netboot.depot.s3_credentials import find_s3_credentials

if TYPE_CHECKING:
    from pathlib import Path


def test_a_server_that_passes_over_conditions_is_refused_by_name(tmp_path: Path) -> None:
    with start_web_store(heeds=frozenset()) as store:
        depot = open_at(f"{store.url}/boot")
        assert isinstance(depot, ObjectDepot)
        with pytest.raises(DepotError, match="passes over If-None-Match") as caught:
            depot.publish(build_publication(tmp_path / "one"))
        assert "a directory, or to a forge" in str(caught.value.hint)
        with pytest.raises(DepotError, match="passes over"):
            depot.write_channel("stable", b"x", version=None)
        assert set(store.objects) == {"/boot/conditional-writes.txt"}


def test_writers_that_meet_try_again_and_a_missing_collection_is_named(tmp_path: Path) -> None:
    with start_web_store(conflicts=1) as store:
        assert open_at(f"{store.url}/boot").publish(build_publication(tmp_path / "one")) is True
        store.conflicts = 100
        with pytest.raises(DepotError, match="answers 409") as caught:
            open_at(f"{store.url}/boot").write_channel("stable", b"1", version=None)
        assert "is the directory there" in str(caught.value.hint)


def test_a_server_that_answers_a_condition_by_409_is_told_from_a_missing_directory(tmp_path: Path) -> None:
    with start_web_store(refused_by=409) as store:
        with pytest.raises(DepotError, match="answers 409") as caught:
            open_at(f"{store.url}/boot").publish(build_publication(tmp_path / "one"))
        hint = str(caught.value.hint)
        assert "is the directory there" in hint
        assert "answer 412 to If-None-Match" in hint


def test_a_channel_that_has_moved_has_moved_wherever_it_is_looked_for() -> None:
    with start_web_store() as store:
        open_at(f"{store.url}/boot").write_channel("stable", b"1", version=None)
        store.held = frozenset({"/boot/channels/stable/newest"})
        open_at(f"{store.url}/boot").write_channel("stable", b"2", version="1")
        assert store.objects["/boot/channels/stable/newest"] == b"1\n"
        there = open_at(f"{store.url}/boot").read_channel("stable")
        assert there is not None
        assert (there.data, there.version) == (b"2", "2")
        store.held = frozenset()
        open_at(f"{store.url}/boot").write_channel("stable", b"3", version="2")
        assert store.objects["/boot/channels/stable/newest"] == b"3\n"


def test_a_channel_where_nobody_may_list(tmp_path: Path) -> None:
    with start_web_store(hides=True) as store:
        with pytest.raises(FetchError, match="status 403"):
            open_at(f"{store.url}/boot").read_channel("stable")
        assert open_at(f"{store.url}/boot").publish(build_publication(tmp_path / "one")) is True
        assert open_at(f"{store.url}/boot").read_channel("stable") is None
        assert open_at(f"{store.url}/boot").read_file("boot-v1", "none", limit=9) is None
        open_at(f"{store.url}/boot").write_channel("stable", b"1", version=None)
        # A copy of what is published may lack the object that is asked by.
        del store.objects["/boot/conditional-writes.txt"]
        there = open_at(f"{store.url}/boot").read_channel("stable")
        assert there is not None
        assert there.data == b"1"


def test_what_is_compared_is_read_again_where_the_store_fails_for_now(tmp_path: Path) -> None:
    with start_web_store() as store:
        wanted = build_publication(tmp_path / "one")
        assert open_at(f"{store.url}/boot").publish(wanted) is True
        store.broken = 1
        assert open_at(f"{store.url}/boot").publish(wanted) is False
        assert store.broken == 0


def test_an_answer_that_is_lost_is_no_one_elses(tmp_path: Path) -> None:
    with start_web_store() as store:
        wanted = build_publication(tmp_path / "one")
        store.lost = {f"/boot/releases/boot-v1/{file.name}" for file in wanted.files}
        open_at(f"{store.url}/boot").publish(wanted)
        assert store.lost == set()
        store.lost = {"/boot/channels/stable/1.json"}
        open_at(f"{store.url}/boot").write_channel("stable", b"1", version=None)
        with pytest.raises(MovedError):
            open_at(f"{store.url}/boot").write_channel("stable", b"2", version=None)


def test_what_was_interrupted_goes_on(tmp_path: Path) -> None:
    with start_web_store() as store:
        wanted = build_publication(tmp_path / "one")
        for file in wanted.files[:2]:
            store.objects[f"/boot/releases/boot-v1/{file.name}"] = file.path.read_bytes()
        other = build_publication(tmp_path / "two", text="two")
        with pytest.raises(TakenError):
            open_at(f"{store.url}/boot").publish(other)
        assert open_at(f"{store.url}/boot").publish(wanted) is True
        # The claim came first: of the other one nothing was sent.
        assert all(
            store.objects[f"/boot/releases/boot-v1/{file.name}"] == file.path.read_bytes()
            for file in wanted.files
        )


def test_a_store_that_gives_something_else_than_it_took(tmp_path: Path) -> None:
    with start_web_store() as store:
        depot = open_at(f"{store.url}/boot")
        wanted = build_publication(tmp_path / "one")
        depot.publish(wanted)
        store.lies["/boot/releases/boot-v1/release.json"] = b"{}"
        with pytest.raises(TakenError):
            depot.publish(wanted)
        store.lies["/boot/releases/boot-v2/release.json"] = b"{}"
        with pytest.raises(DepotError, match="boot-v2"):
            depot.publish(build_publication(tmp_path / "two", "boot-v2"))


def test_the_access_key_is_read_as_amazons_programs_do(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = AK\naws_secret_access_key=s+/=\n[other]\nx=1\n")
    found = find_s3_credentials(file, environment={})
    assert found == S3Credentials(access_key="AK", secret_key="s+/=")
    assert "s+/=" not in repr(found)
    given = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "t"}
    assert find_s3_credentials(None, environment=given) == S3Credentials(
        access_key="AK", secret_key="x", token="t"
    )
    assert find_s3_credentials(None, environment={}) is None
    for text in (
        "",
        "secretword",
        "[default]\nsecretword",
        "[default]\naws_access_key_id = AK\n",
        "[x]\na=1",
    ):
        file.write_text(text)
        with pytest.raises(InputError, match="holds no access key") as caught:
            find_s3_credentials(file, environment={})
        assert "secretword" not in caught.value.render()


def test_names_that_cannot_be() -> None:
    for name in ("", "../x", "a/b", "x" * 64, "-x", "x:y"):
        with pytest.raises(InputError):
            check_channel_name(name)
    for tag in ("", "../x", "a/b", ".x", "x" * 256, "a:b"):
        with pytest.raises(InputError):
            check_tag_name(tag)
