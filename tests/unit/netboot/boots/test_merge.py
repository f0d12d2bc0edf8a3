"""What two boot servers have seen of one boot: laws of the merge."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.boots.encode import decode_boot, encode_boot
from ectools.netboot.boots.merge import choose_kept, is_later, merge_boots
from ectools.netboot.boots.model import (
    STAGES,
    BootInstall,
    BootState,
    BootUpdate,
    InstallStep,
    NodeBoot,
    NodeReport,
    NodeStage,
    UpdateStep,
)

TIMES = st.floats(100, 200).map(lambda each: round(each, 1))
INSTALLS = st.builds(
    BootInstall,
    order=st.just("o"),
    step=st.none() | st.sampled_from(InstallStep),
    percent=st.none() | st.integers(0, 100),
    error=st.none() | st.just("no disk"),
)
BOOT = NodeBoot(
    id="a", token_hash="h", machine="mac 1", release="r", system="s", stages={NodeStage.SCRIPT: 90.0}
)
UPDATES = st.builds(BootUpdate, release=st.just("s"), step=st.sampled_from(UpdateStep), at=TIMES)


@st.composite
def views(draw: st.DrawFn, boot_id: str = "a") -> NodeBoot:
    """A boot as some host has seen it; all of them have given it its script at the same time."""
    stages = draw(st.dictionaries(st.sampled_from(STAGES), TIMES, max_size=5))
    return NodeBoot(
        id=boot_id,
        token_hash="h",
        machine="mac 1",
        release=draw(st.sampled_from(["r", "s"])),
        system="s",
        stages={stage: stages[stage] for stage in STAGES if stage in stages} | {NodeStage.SCRIPT: 90.0},
        state=draw(st.sampled_from(BootState)),
        why=draw(st.none() | st.sampled_from(["x", "y"])),
        report=draw(st.none() | st.builds(NodeReport, healthy=st.booleans())),
        ended=draw(st.none() | TIMES),
        install=draw(st.none() | INSTALLS),
        update=draw(st.none() | UPDATES),
    )


@given(one=views(), other=views(), third=views())
def test_in_whatever_order_they_hear_of_each_other(one: NodeBoot, other: NodeBoot, third: NodeBoot) -> None:
    assert merge_boots(one, one) == one
    found = {
        repr(merge_boots(merge_boots(first, second), last))
        for first, second, last in permutations((one, other, third))
    }
    assert len(found) == 1
    merged = merge_boots(one, other)
    assert merge_boots(merged, one) == merged
    assert set(merged.stages) == {*one.stages, *other.stages}
    assert list(merged.stages) == [stage for stage in STAGES if stage in merged.stages]


@given(one=views(), other=views())
def test_what_is_kept_of_one_boot_is_the_merge(one: NodeBoot, other: NodeBoot) -> None:
    for key in ("latest/x", "boots/x/a"):
        kept = choose_kept(key, encode_boot(one), encode_boot(other))
        merged = merge_boots(one, other)
        assert (kept is None) == (merged == other)
        assert kept is None or decode_boot(kept) == merged


def test_what_a_later_version_has_come_to_is_not_written_over() -> None:
    mine = encode_boot(BOOT)
    assert choose_kept("latest/x", mine, {**mine, "state": "degraded", "later": 1}) is None
    # Of two boots it is the later one all the same, and garbage is garbage.
    later = encode_boot(replace(BOOT, id="b", stages={NodeStage.SCRIPT: 95.0}))
    assert choose_kept("latest/x", later, {**mine, "state": "degraded"}) == later
    assert choose_kept("latest/x", mine, {**later, "state": "degraded"}) is None
    for theirs in ({**mine, "state": 1}, {**mine, "state": "degraded", "id": ""}, {"state": "degraded"}, {}):
        assert choose_kept("latest/x", mine, theirs) == mine


def test_of_two_boots_the_later_is_the_newest() -> None:
    earlier = NodeBoot(
        id="a", token_hash="h", machine="m", release="r", system="s", stages={NodeStage.SCRIPT: 1.0}
    )
    later = replace(earlier, id="b", stages={NodeStage.SCRIPT: 2.0})
    assert is_later(later, earlier)
    assert not is_later(earlier, later)
    assert is_later(replace(earlier, id="b"), earlier)  # of the same moment one is, for all hosts the same
    assert choose_kept("latest/x", encode_boot(earlier), encode_boot(later)) is None
    assert choose_kept("latest/x", encode_boot(later), encode_boot(earlier)) == encode_boot(later)
    assert choose_kept("boots/x/a", encode_boot(later), encode_boot(earlier)) is None
    assert choose_kept("latest/x", encode_boot(later), {"odd": 1}) == encode_boot(later)


def test_what_was_said_last_of_an_update_stands_with_its_release() -> None:
    boot = NodeBoot(
        id="a", token_hash="h", machine="m", release="z", system="s", stages={NodeStage.SCRIPT: 1.0}
    )
    copied = replace(boot, update=BootUpdate(release="y", step=UpdateStep.COPY, at=2.0))
    stays = replace(boot, release="a", update=BootUpdate(release="a", step=UpdateStep.SAME, at=3.0))
    for one, other in permutations((boot, copied, stays), 2):
        if stays in (one, other):
            assert merge_boots(one, other) == stays
    assert merge_boots(boot, copied) == copied


def test_a_report_tells_more_than_silence() -> None:
    begun = NodeBoot(
        id="a", token_hash="h", machine="m", release="r", system="s", stages={NodeStage.SCRIPT: 1.0}
    )
    silent = replace(begun, state=BootState.FAILED, why="no report", ended=700.0)
    healthy = replace(begun, state=BootState.HEALTHY, report=NodeReport(), ended=650.0)
    assert merge_boots(silent, healthy).state is BootState.HEALTHY
    assert merge_boots(begun, silent).why == "no report"
