from __future__ import annotations

from ectools.vm.progress import find_disk_progress, find_network_progress

# What HMP prints, QEMU 7.2.
NOTHING = """Hub -1 (boot0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
"""
FORWARDED = NOTHING + "  TCP[HOST_FORWARD]  12               *  2222       10.0.2.15    22     0     0\n"
DOWNLOAD = FORWARDED + "  TCP[ESTABLISHED]   31       10.0.2.15  1080       10.0.2.2  8080     0     0\n"
LOOKUP = NOTHING + "  UDP[236 sec]       30       10.0.2.15 32768         1.1.1.1    53     0     0\n"


def test_a_connection_of_the_guest_is_progress() -> None:
    assert find_network_progress(DOWNLOAD) == "a connection of the user-mode network (TCP[ESTABLISHED])"
    assert find_network_progress(LOOKUP) == "a connection of the user-mode network (UDP[236)"


def test_a_forwarded_port_is_none() -> None:
    assert find_network_progress(NOTHING) is None
    assert find_network_progress(FORWARDED) is None
    assert find_network_progress("") is None


def test_a_read_is_progress_only_where_there_is_a_medium() -> None:
    empty_drive = {"device": "ide1-cd0", "stats": {"rd_operations": 3}}
    disk = {"node-name": "disk0", "qdev": "/machine/peripheral-anon/device[3]", "stats": {"rd_operations": 0}}
    assert find_disk_progress([empty_drive, disk]) is None
    assert find_disk_progress([empty_drive, {**disk, "stats": {"rd_operations": 1}}]) == (
        "a read from the disk disk0"
    )
