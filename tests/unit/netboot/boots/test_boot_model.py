"""What a boot says of itself by its stages."""

from __future__ import annotations

from ectools.netboot.boots.model import STAGES, NodeBoot, NodeStage

BOOT = NodeBoot(
    id="b1",
    token_hash="0" * 64,
    machine="mac 02:00:00:12:34:56",
    release="sha256-00",
    system="runner",
    within=60,
    stages={NodeStage.INITRD: 30.0, NodeStage.SCRIPT: 10.0, NodeStage.OFFER: 1.0, NodeStage.KERNEL: 31.0},
)


def test_the_last_stage_is_the_last_of_a_boot_whatever_came_last() -> None:
    assert BOOT.last_stage is NodeStage.INITRD
    assert STAGES[0] is NodeStage.OFFER
    assert STAGES[-1] is NodeStage.UP


def test_a_boot_begins_with_its_script_and_has_its_time_from_there() -> None:
    assert (BOOT.started, BOOT.deadline) == (10.0, 70.0)


def test_it_is_listed_by_its_name_where_it_has_one() -> None:
    assert BOOT.subject == "mac 02:00:00:12:34:56"
    assert NodeBoot(id="b", token_hash="", machine="m", node="n", release="r", system="s").subject == "n"
