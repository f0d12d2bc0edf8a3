"""How a boot host comes to a shared state: by its settings, its credentials, and what it had for itself."""

from __future__ import annotations

import asyncio
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.nats_servers import start_nats
from support.shared_stores import count_tries, open_shared, until

from ectools.errors import InputError
from ectools.netboot.rollout.decide import start_rollout
from ectools.netboot.rollout.encode import encode_rollout
from ectools.netboot.rollout.model import RolloutPlan, RolloutState
from ectools.netboot.server.boot_records import BootRecords
from ectools.netboot.server.shared_state import (
    SharedPlan,
    name_host,
    prepare_shared,
    reconcile,
    take_over,
)
from ectools.netboot.state import shared_link
from ectools.netboot.state.copy_place import UnsaidEntry
from ectools.netboot.state.interface import StateEntry
from ectools.netboot.state.nats_access import NatsAddress, build_tls, parse_nats_credentials
from ectools.netboot.state.nats_bucket import explain_trouble
from ectools.netboot.state.shared import SHARED_FILE
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDS = """-----BEGIN NATS USER JWT-----
eyJ0
------END NATS USER JWT------
-----BEGIN USER NKEY SEED-----
SUAX
------END USER NKEY SEED------
"""
SEED = "SU" + "A" * 56


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CREDS, "user_credentials"),
        (f"{SEED}\n", "nkeys_seed_str"),
        ("password=p=w\nuser=u\n", "password"),
        ("a token\n", "token"),
    ],
)
def test_each_form_of_credentials(text: str, name: str) -> None:
    found = parse_nats_credentials(text, option="o")
    assert name in found.arguments
    assert "SUA" not in repr(found)
    assert "p=w" not in repr(found)


@pytest.mark.parametrize("text", ["", "a\nb\n", "user=u\n\nother=x\n", "\x1b[0m"])
def test_no_form_of_credentials(text: str) -> None:
    with pytest.raises(InputError, match="o: the file is none") as caught:
        parse_nats_credentials(text, option="o")
    assert text == "" or text not in caught.value.render()


def make_settings(**fields: Any) -> Any:
    return SimpleNamespace(fleet=SimpleNamespace(**{"state": None, "host_name": None, **fields}))


def test_what_a_host_is_told(tmp_path: Path) -> None:
    assert prepare_shared(make_settings()) is None
    assert name_host(make_settings(host_name="boot-1")) == "boot-1"
    assert name_host(make_settings()) == socket.gethostname().partition(".")[0]
    secret = tmp_path / "secret"
    secret.write_text("user=u\npassword=p\n")
    secret.chmod(0o600)
    address = NatsAddress(servers=("nats://192.0.2.5:4222",), bucket="b", credentials_file=secret)
    plan = prepare_shared(make_settings(state=address, host_name="one"))
    assert plan is not None
    assert (plan.name, plan.tls) == ("one", None)
    assert plan.credentials.arguments == {"user": "u", "password": "p"}
    assert "password" not in repr(plan)
    with pytest.raises(InputError, match="certificate authority"):
        build_tls(NatsAddress(servers=(), bucket="b", ca_file=tmp_path / "none"))


def entry(value: dict[str, Any], changed: float) -> StateEntry:
    return StateEntry(key="k", value=value, revision=1, changed=changed)


@pytest.mark.parametrize(
    ("key", "mine", "theirs", "stands"),
    [
        ("hosts/x", 1.0, 2.0, "mine"),
        ("rollouts/g", 1.0, 2.0, "theirs"),
        ("rollouts/g", 3.0, 2.0, "mine"),
        ("latest/x", 3.0, 2.0, "mine"),
    ],
)
def test_what_stands(key: str, mine: float, theirs: float, stands: str) -> None:
    said = UnsaidEntry(value={"n": 1}, changed=mine, base=0)
    assert reconcile(key, entry({"n": 2}, theirs), said) == ({"n": 1} if stands == "mine" else None)
    assert reconcile(key, entry({"n": 2}, theirs), UnsaidEntry(value=None, changed=9.0, base=0)) is None


@pytest.mark.parametrize("plan", ["same", "another"])
def test_an_end_of_a_rollout_stands_whenever_the_rest_was_written(plan: str) -> None:
    """Of the same rollout; one that was begun later is not ended by an earlier one's end."""
    running = start_rollout(RolloutPlan(id="same", group="g", target="new", before="old"))
    ended = encode_rollout(
        replace(running, plan=replace(running.plan, id=plan), state=RolloutState.ABORTED, ended=1.0)
    )
    mine, theirs = (
        UnsaidEntry(value=value, changed=1.0, base=0) for value in (ended, encode_rollout(running))
    )
    later = entry(encode_rollout(running), 2.0)
    assert reconcile("rollouts/g", later, mine) == (ended if plan == "same" else None)
    assert reconcile("rollouts/g", entry(ended, 0.0), theirs) == (None if plan == "same" else theirs.value)


def test_no_secret_is_in_what_is_told() -> None:
    assert explain_trouble(TimeoutError()).message == "NATS cannot be used: it does not answer"
    assert explain_trouble(OSError()).message == "NATS cannot be used: OSError"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with start_nats(tmp_path / "nats", "pypi", options=["--user", "u", "--pass", "p"]) as server:
        yield server.url


def test_what_a_host_had_for_itself_goes_over(tmp_path: Path, url: str) -> None:
    async def scenario() -> None:
        directory = tmp_path / "fleet"
        directory.mkdir()
        own = SqliteStore(directory / STATE_FILE)
        await own.start()
        await own.put("overrides/nuc", {"hold": {"at": 1.0, "by": None, "why": None}})
        await own.close()
        secret = parse_nats_credentials("user=u\npassword=p", option="o")
        plan = SharedPlan(address=NatsAddress(servers=(url,), bucket="b"), name="one", credentials=secret)
        records = BootRecords(directory, keep=lambda: (90, ()), shared=plan)
        await records.start()
        assert records.shared is not None
        assert records.describe()["state_unsaid"] == 1
        async with records.running():
            await until(lambda: records.describe()["state"] == "ok" and records.count_behind() == (0, 0))
        again = BootRecords(directory, keep=lambda: (90, ()), shared=plan)
        await again.start()
        assert again.shared is not None
        assert again.count_behind() == (0, 0)
        assert await take_over(directory, again.shared) == 0
        assert (directory / SHARED_FILE).exists()
        async with again.running():
            await until(lambda: again.describe()["state"] == "ok")

    asyncio.run(scenario())


def test_who_may_not_is_told_why(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, however often it is tried."""
    monkeypatch.setattr(shared_link, "LONGEST_PAUSE", 0.01)
    tries = count_tries(monkeypatch)

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", url, waits=False) as store:
            await until(lambda: "uthorization" in (store.trouble or "") and len(tries) > 2)
            await store.put("latest/a", {})
            assert not store.is_attached

    asyncio.run(scenario())
    assert caplog.text.count("cannot be reached") == 1


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", "nats://127.0.0.1:9", waits=False) as store:
            await until(lambda: "nats-py" in (store.trouble or ""))

    asyncio.run(scenario())
