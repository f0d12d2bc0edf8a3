"""Our tables of nftables, loaded by nft itself into a network namespace of the test."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.needs import give_up, require_tool

from ectools.nft import find_nft, render_load, render_removal

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
    if os.geteuid() != 0:
        pytest.skip("NEEDS ROOT: a table is loaded in a network namespace")
    require_tool("unshare", "install util-linux")
    nft = find_nft()
    if nft is None:
        give_up("nft is not to be found; install nftables")
    source = (
        "import socket, subprocess, sys\n"
        "from ectools.nft import apply, read_counters, render_load, render_removal\n"
        "nft, body, other = sys.argv[1:]\n"
        "apply(nft, other)\n"
        "for _ in range(2):\n"
        "    apply(nft, render_load('ip', 'ours', body))\n"
        "subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))\n"
        "assert read_counters(nft, 'ip', 'ours') == {'refused': 1}\n"
        "for _ in range(2):\n"
        "    apply(nft, render_removal('ip', 'ours'))\n"
        "tables = subprocess.run([nft, 'list', 'tables'], capture_output=True, text=True, check=True)\n"
        "assert tables.stdout == 'table ip other\\n', tables.stdout\n"
    )
    argv = ["unshare", "--net", sys.executable, "-c", source, nft, BODY, OTHER]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_transaction_replaces_what_was_there() -> None:
    lines = render_load("ip", "ours", BODY).splitlines()
    assert lines[:3] == ["table ip ours", "delete table ip ours", "table ip ours {"]
