"""What a node that runs learns of its release and its channel, and keeps: no boot server takes it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.boot_attacks import FORM, OLD, Case, lead_back, point, release_again
from support.boot_http import wait_until
from support.hostile_boot import RUNS, STORE_PATH, BootHost, Publisher, follow, require_node_programs, serve
from support.needs import give_up


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_node_programs()


def test_what_a_node_has_learned_of_itself_outlives_its_service(tmp_path: Path) -> None:
    """A boot server that was honest once names an older release of the same system later on."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    host = case.host
    honest = host.assignment["release"]
    host.assignment["release"] = RUNS
    known = case.state / "releases"
    with serve(host), follow(tmp_path / "n", host) as node:
        wait_until(known.exists, "it learns what runs")
        wait_until(lambda: host.asked.count("/assignment") > 2, "it asks again")
        assert host.asked.count(f"/releases/{RUNS}/boot-statement.txt") == 1
        # While it runs, and once it was started again.
        release_again(case)
        host.assignment["release"] = honest
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, "it stays")
        assert f"{STORE_PATH} {host.now.counter} {host.now.tag} {host.now.system}\n" == known.read_text()
    (tmp_path / "n/out").unlink()
    with serve(host), follow(tmp_path / "n", host) as node:
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, "it stays")
        assert (node.systemctl, node.kexec) == ([], [])


def test_the_newest_release_that_is_seen_of_what_runs_counts(tmp_path: Path) -> None:
    """An older one that is named first is no more than that."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    release_again(case)
    host, known = case.host, case.state / "releases"
    wanted, host.assignment["release"] = host.assignment["release"], OLD
    with serve(host), follow(tmp_path / "n", host) as node:
        wait_until(known.exists, "it learns what runs")
        host.assignment.update(runs=RUNS)
        wait_until(lambda: host.now.tag in known.read_text(), "it learns what runs")
        host.assignment.update(runs=OLD, release=wanted)
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, "it stays")


def test_a_system_on_a_disk_is_the_newest_releases_that_has_it(tmp_path: Path) -> None:
    """Nobody boots for a release that has the very system; the next boot knows of it too."""
    store = Path("/nix/store")
    found = sorted(store.glob("?" * 32 + "-*")) if store.is_dir() else []
    if not found:
        give_up("there is no path in /nix/store")
    case = Case(BootHost(publisher=Publisher(FORM), store_path=str(found[0])), tmp_path / "n/state")
    release_again(case)
    host, known = case.host, tmp_path / "n/disk/releases"
    wanted = host.assignment["release"]
    host.assignment |= {"boot": "disk", "cache": f"{host.url or 'http://h'}/cache"}
    host.assignment |= {"release": RUNS, "installed": str(found[0])}
    with serve(host), follow(tmp_path / "n", host, from_disk=True) as node:
        wait_until(lambda: known.exists() and host.now.tag in known.read_text(), "it learns what runs")
        assert known.read_text().count("\n") == 1
    host.assignment |= {"release": wanted, "installed": host.then.store_path}
    with serve(host), follow(tmp_path / "n", host, from_disk=True) as node:
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, f"it stays: {node.out}")
        assert node.systemctl == []


def test_a_counter_that_cannot_be_kept_leads_nowhere(tmp_path: Path) -> None:
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    (case.state / "counter").mkdir(parents=True)
    case.state.chmod(0o700)
    with serve(case.host) as host, follow(tmp_path / "n", host) as node:
        wait_until(lambda: "the counter of the channel stable cannot be kept" in node.out, "it says so")
        assert (node.systemctl, node.kexec) == ([], [])
        assert "what was seen of the channel stable is not known" in node.out
        assert [each.name for each in case.state.glob("counter*")] == ["counter"]


def test_a_counter_is_never_half_written(tmp_path: Path) -> None:
    """The file that was there is as it was, whoever still has it: another one took its place."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    case.state.mkdir(parents=True, mode=0o700)
    (case.state / "counter").write_text("40\n")
    os.link(case.state / "counter", tmp_path / "before")
    with serve(case.host) as host, follow(tmp_path / "n", host) as node:
        wait_until(lambda: node.systemctl == ["kexec"], f"it boots again: {node.out}")
    assert (tmp_path / "before").read_text() == "40\n"
    assert (case.state / "counter").read_text() == "50\n"


def test_what_its_publisher_has_withdrawn_is_left_for_an_older_one(tmp_path: Path) -> None:
    """So that there is a way back, which the publisher opens, and not the boot server."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    lead_back(case)
    point(tag="boot-v2026.01.01", counter=60, withdrawn=("boot-v2026.03.02",))(case)
    with serve(case.host) as host, follow(tmp_path / "n", host) as node:
        wait_until(lambda: node.systemctl == ["kexec"], "it goes back")
        assert "every_channel.channel_counter=60" in node.kexec[0]
    assert os.path.isdir(tmp_path)
