"""The names by which the status listener may be asked for."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from support.fleet_api import TOKEN, Api

from ectools.netboot.api.hosts import ANY_HOST, KnownHosts, WrongHostError, find_own_names

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

NAMES = ["Boot.example.org", ".lan.example.org", "192.0.2.10"]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:9090", "[::1]", "[::1]:9090", "[fe80::1%25eth0]:1", "203.0.113.7:80"),
        *("localhost", "localhost:9090", "LOCALHOST.", "app.localhost:1"),
        *("boothost", "boothost:9090", "boot.example.org", "BOOT.EXAMPLE.ORG.:80", "boot.example.org:"),
        *("a.lan.example.org", "a.b.lan.example.org:9090"),
    ],
)
def test_who_asks_for_it_is_answered(host: str) -> None:
    assert KnownHosts(NAMES).knows(host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:9090", "boot.example.org.evil.example", "evilboot.example.org"),
        *("lan.example.org", "xlan.example.org", "example.org", "localhost.evil.example"),
        # Not an address, however a resolver reads it; no browser sends these.
        *("127.1", "0x7f.0.0.1", "127.0.0.1.evil.example", "[127.0.0.1]", "::1", "[::1", "[::1]x", "::1]:80"),
        *(
            "",
            ".",
            "a@127.0.0.1",
            "127.0.0.1@evil.example",
            "boot.example.org:9090:1",
            "localhost:x",
            "a b.c",
        ),
        *("boot.example.org/", "127.0.0.1:123456", "bööt.example.org"),
    ],
)
def test_who_asks_for_another_is_not(host: str) -> None:
    assert not KnownHosts(NAMES).knows(host)
    assert KnownHosts([ANY_HOST]).knows(host)


@given(st.ip_addresses(), st.none() | st.integers(0, 65535))
def test_an_address_is_no_name(address: IPv4Address | IPv6Address, port: int | None) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    assert KnownHosts([]).knows(host if port is None else f"{host}:{port}")


LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.lists(LABELS, min_size=2, max_size=5), st.lists(LABELS, min_size=1, max_size=3))
def test_a_name_is_known_where_it_or_a_domain_above_it_is_and_nowhere_else(
    labels: list[str], other: list[str]
) -> None:
    name, below = ".".join(labels), ".".join([*other, *labels])
    assert KnownHosts([name]).knows(name)
    assert KnownHosts([name]).knows(below) == (labels[-1] == "localhost")
    assert KnownHosts([f".{name}"]).knows(below)
    assert KnownHosts([f".{name}"]).knows(name) == (labels[-1] == "localhost")
    # What stands before a name of one's own does not make a stranger's.
    assert not KnownHosts([name, f".{name}"]).knows(f"{name}.evil")


def test_other_names_from_now_on() -> None:
    hosts = KnownHosts(["a.example"])
    hosts.set_names(["b.example"])
    assert (hosts.knows("a.example"), hosts.knows("b.example")) == (False, True)


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("boot", "", ["boot", "boot.local"]),
        (
            "boot",
            "# search no\nsearch lan example.org.\nnameserver 192.0.2.1\ndomain .\n",
            ["boot", "boot.local", "boot.lan", "boot.example.org"],
        ),
        ("boot.example.org", "domain lan", ["boot.example.org", "boot.local", "boot.lan"]),
    ],
)
def test_the_machines_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, names: list[str]
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    assert find_own_names(file) == names
    file.unlink()
    assert find_own_names(file) == [name, "boot.local"]


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/api/v1/nodes", "/api/v1/events", "/none"])
def test_a_page_of_another_site_reads_nothing(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        api = Api()
        async with api.serve(api.token_rights, hosts=KnownHosts([])) as client:
            for _ in range(2):
                answer = await client.get(path, headers={"Host": "rebound.evil.example:9090"})
                said = await answer.text()
                assert answer.status == 421
                assert "fleet.allowedHosts" in said
                assert "nuc-07" not in said
                assert "evil" not in said
            assert (await client.get(path)).status == (404 if path == "/none" else 200)

    asyncio.run(scenario())
    told = [each for each in caplog.records if "by a name that it does not know" in each.getMessage()]
    assert [each.fields["host"] for each in told] == ["rebound.evil.example:9090"]  # type: ignore[attr-defined]


def test_a_page_of_another_site_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        api = Api()
        async with api.serve(api.token_rights, hosts=KnownHosts([])) as client:
            headers = {"Host": "rebound.evil.example", "Authorization": f"Bearer {TOKEN}"}
            answer = await client.post("/api/v1/nodes/nuc-07/hold", json={}, headers=headers)
            assert answer.status == 421
            assert api.fleet.get_override("nuc-07") is None

    asyncio.run(scenario())
    assert caplog.records


def test_what_is_said_of_a_name_is_bounded_and_printable(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        api = Api()
        async with api.serve(api.token_rights, hosts=KnownHosts([])) as client:
            answer = await client.get("/metrics", headers={"Host": "é." + "x" * 3000})
            assert answer.status == 421

    asyncio.run(scenario())
    (told,) = [each for each in caplog.records if "does not know" in each.getMessage()]
    host = told.fields["host"]  # type: ignore[attr-defined]
    assert len(host) < 300
    assert host.isascii()


def test_who_asks_by_ever_other_names_writes_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [5.0]
    names = KnownHosts([], clock=lambda: now[0])

    def ask(host: str) -> None:
        request = make_mocked_request("GET", "/metrics", headers={"Host": host})
        with pytest.raises(WrongHostError):
            names.check(request)

    for number in range(300):
        ask(f"{number}.example")
        now[0] += 1.0
    told = [each.fields["host"] for each in caplog.records]  # type: ignore[attr-defined]
    assert told == [f"{number}.example" for number in (0, 60, 120, 180, 240)]
