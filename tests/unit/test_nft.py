"""Our tables of nftables, loaded by nft itself into a network namespace of the test."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.needs import give_up, require_root, require_tool

from ectools import nft
from ectools.capabilities import Capability
from ectools.nft import find_nft, render_load, render_removal
from ectools.processes import Completed, ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = """\
  counter refused { }
  chain input {
    type filter hook input priority filter; policy accept;
    udp dport 9 counter name refused drop
  }
"""
OTHER = "table ip other {\n}\n"


@pytest.mark.parametrize("name", ["a b", "", "a;flush ruleset", "Ä"])
def test_a_table_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a table"):
        render_removal("ip", name)


@pytest.mark.netns
def test_a_table_is_loaded_twice_read_and_removed_twice_and_others_stay() -> None:
    require_root("a table is loaded in a network namespace")
    require_tool("unshare", "install util-linux")
    program = find_nft()
    if program is None:
        give_up("nft is not to be found; install nftables")
    source = (
        "import socket, subprocess, sys\n"
        "from ectools.nft import apply, has_table, read_counters, render_load, render_removal\n"
        "nft, body, other = sys.argv[1:]\n"
        "apply(nft, other)\n"
        "for _ in range(2):\n"
        "    apply(nft, render_load('ip', 'ours', body))\n"
        "subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))\n"
        "assert read_counters(nft, 'ip', 'ours') == {'refused': 1}\n"
        "assert has_table(nft, 'ip', 'ours')\n"
        "for _ in range(2):\n"
        "    apply(nft, render_removal('ip', 'ours'))\n"
        "assert not has_table(nft, 'ip', 'ours')\n"
        "tables = subprocess.run([nft, 'list', 'tables'], capture_output=True, text=True, check=True)\n"
        "assert tables.stdout == 'table ip other\\n', tables.stdout\n"
    )
    argv = ["unshare", "--net", sys.executable, "-c", source, program, BODY, OTHER]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_transaction_replaces_what_was_there() -> None:
    lines = render_load("ip", "ours", BODY).splitlines()
    assert lines[:3] == ["table ip ours", "delete table ip ours", "table ip ours {"]


class Nft:
    """A program that answers, and what it was given while which rights were handed on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stdout = ""
        self.runs: list[tuple[list[str], str | None, float | None, tuple[Capability, ...]]] = []
        self._handed_on: tuple[Capability, ...] = ()
        monkeypatch.setattr(nft, "run", self._run)
        monkeypatch.setattr(nft, "handed_on", self._hand_on)

    @contextlib.contextmanager
    def _hand_on(self, *capabilities: Capability) -> Iterator[None]:
        self._handed_on = capabilities
        yield
        self._handed_on = ()

    def _run(self, argv: list[str], *, timeout: float | None = None, stdin: str | None = None) -> Completed:
        self.runs.append((argv, stdin, timeout, self._handed_on))
        return Completed(self.stdout, "")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Nft:
    return Nft(monkeypatch)


def test_a_transaction_is_its_input_and_has_the_right_to_it(program: Nft) -> None:
    nft.apply("/sbin/nft", "table ip ours\n")
    assert program.runs == [(["/sbin/nft", "-f", "-"], "table ip ours\n", 30.0, (Capability.NET_ADMIN,))]


def test_counters_are_read_by_their_names(program: Nft) -> None:
    program.stdout = json.dumps(
        {
            "nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"counter": {"family": "ip", "name": "a", "packets": 7, "bytes": 100}},
                {"counter": {"family": "ip", "name": "b", "packets": 0, "bytes": 0}},
            ]
        }
    )
    assert nft.read_counters("/sbin/nft", "ip", "ours") == {"a": 7, "b": 0}
    ((argv, stdin, _, rights),) = program.runs
    assert argv == ["/sbin/nft", "--json", "list", "counters", "table", "ip", "ours"]
    assert (stdin, rights) == (None, (Capability.NET_ADMIN,))


def test_a_table_is_there_by_its_name(program: Nft) -> None:
    program.stdout = json.dumps(
        {
            "nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"table": {"family": "ip", "name": "a", "handle": 1}},
            ]
        }
    )
    assert nft.has_table("/sbin/nft", "ip", "a")
    assert not nft.has_table("/sbin/nft", "ip", "b")
    assert program.runs[0][0] == ["/sbin/nft", "--json", "list", "tables", "ip"]
    program.stdout = '{"nftables": [{"table": {}}]}'
    with pytest.raises(ProcessError, match="nft's list of tables cannot be read"):
        nft.has_table("/sbin/nft", "ip", "a")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "{}",
        '{"nftables": 7}',
        '{"nftables": [{"counter": {"name": "a"}}]}',
        '{"nftables": [{"counter": {"name": "a", "packets": "many"}}]}',
        '{"nftables": [{"counter": 7}]}',
    ],
)
def test_counters_of_another_shape_are_an_error_of_nfts(answer: str, program: Nft) -> None:
    program.stdout = answer
    with pytest.raises(ProcessError, match="nft's list of counters cannot be read") as caught:
        nft.read_counters("/sbin/nft", "ip", "ours")
    assert caught.value.stdout == answer
    assert caught.value.argv[-1] == "ours"


def test_nft_is_found_where_an_ordinary_users_path_does_not_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(shutil, "which", lambda name, path: asked.append((name, path)))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_nft() is None
    monkeypatch.delenv("PATH")
    find_nft()
    assert asked == [("nft", "/usr/bin:/bin:/usr/sbin:/sbin"), ("nft", ":/usr/sbin:/sbin")]


@pytest.mark.parametrize(("length", "works"), [(1, True), (63, True), (64, False)])
def test_a_name_has_at_most_63_bytes(length: int, works: bool) -> None:
    if works:
        assert render_removal("inet", "a" * length) == (
            f"table inet {'a' * length}\ndelete table inet {'a' * length}\n"
        )
    else:
        with pytest.raises(ValueError, match="no name"):
            render_removal("inet", "a" * length)


def test_a_load_is_the_removal_and_the_table() -> None:
    assert render_load("ip", "ours", "  chain x { }\n") == (
        "table ip ours\ndelete table ip ours\ntable ip ours {\n  chain x { }\n}\n"
    )
