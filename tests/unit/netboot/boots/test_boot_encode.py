"""Boots as JSON: there and back, and what is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.boots.encode import decode_boot, encode_boot
from ectools.netboot.boots.installing import InstallWord, advance
from ectools.netboot.boots.model import (
    BootInstall,
    BootState,
    BootUpdate,
    InstallStep,
    NodeBoot,
    NodeReport,
    NodeStage,
    UpdateStep,
)

TEXT = st.text(max_size=20)
OPTIONAL = st.none() | TEXT
TIME = st.floats(0, 1e10)
PERIOD = st.floats(0, 1e8)
BEGUN = {NodeStage.SCRIPT: 1.0}
REPORTS = st.builds(
    NodeReport,
    release=OPTIONAL,
    system=OPTIONAL,
    healthy=st.booleans(),
    seconds=st.dictionaries(TEXT, TIME, max_size=5),
    failed=st.lists(TEXT, max_size=3).map(tuple),
    journal=TEXT,
    clock=st.none() | TIME,
)
BOOTS = st.builds(
    NodeBoot,
    id=st.from_regex(r"[a-z0-9]{1,64}", fullmatch=True),
    token_hash=TEXT,
    machine=TEXT,
    release=TEXT,
    system=TEXT,
    node=OPTIONAL,
    group=OPTIONAL,
    tag=OPTIONAL,
    store_path=OPTIONAL,
    client=OPTIONAL,
    within=PERIOD,
    stages=st.dictionaries(st.sampled_from(NodeStage), TIME).map(BEGUN.__or__),
    state=st.sampled_from(BootState),
    why=OPTIONAL,
    report=st.none() | REPORTS,
    ended=st.none() | TIME,
    store_percent=st.none() | st.integers(0, 100),
    asked=st.none() | st.floats(0, 1e9),
    update=st.none()
    | st.builds(BootUpdate, release=TEXT, step=st.sampled_from(UpdateStep), at=TIME, error=OPTIONAL),
)


@given(BOOTS)
def test_there_and_back(boot: NodeBoot) -> None:
    assert decode_boot(json.loads(json.dumps(encode_boot(boot)))) == boot


@given(BOOTS)
def test_a_later_versions_fields_are_ignored_and_an_earlier_ones_default(boot: NodeBoot) -> None:
    raw = encode_boot(boot) | {"later": 1, "stages": {"script": 1.0, "a later stage": 2.0}}
    del raw["why"], raw["report"], raw["within"]
    decoded = decode_boot(raw)
    assert (decoded.why, decoded.report, decoded.stages) == (None, None, {NodeStage.SCRIPT: 1.0})
    assert decoded.within == 600.0


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "unheard of"},
        {"state": []},
        {"stages": 3},
        {"stages": {"script": "soon"}},
        {"stages": {"running": 1.0}},
        {"report": {}},
        {"report": 3},
        {"within": "x"},
        {"within": -1},
        {"ended": 1e18},
        {"id": "a/b"},
        {"node": 3},
        {"store_percent": 101},
        {"machine": "x" * 10_000},
    ],
)
def test_what_is_no_boot(changed: dict[str, object]) -> None:
    boot = NodeBoot(id="a", token_hash="b", machine="c", release="d", system="e", stages=BEGUN)
    assert decode_boot(encode_boot(boot)) == boot
    with pytest.raises(ValueError, match=r"no boot: "):
        decode_boot(encode_boot(boot) | changed)


def test_a_step_of_a_later_version_leaves_the_boot_readable() -> None:
    boot = NodeBoot(
        id="a",
        token_hash="b",
        machine="c",
        release="d",
        system="e",
        stages=BEGUN,
        update=BootUpdate(release="d", step=UpdateStep.COPY, at=1.0),
        install=BootInstall(order="o", run="r", step=InstallStep.COPY, disk="sda"),
    )
    raw = encode_boot(boot)
    raw["update"] |= {"step": "a later step"}
    raw["install"] |= {"step": "a later step"}
    decoded = decode_boot(raw)
    assert decoded.update is None
    assert decoded.install == BootInstall(order="o", run="r", disk="sda")
    # The machine goes on with its installation at this host, too.
    word = InstallWord(run="r", step=InstallStep.LOADER)
    assert advance(decoded, word).install == BootInstall(
        order="o", run="r", step=InstallStep.LOADER, disk="sda"
    )
    for wrong in ({"step": 3}, {"step": None}, {"same": 1}):
        with pytest.raises(ValueError, match=r"no boot: "):
            decode_boot(encode_boot(boot) | {"update": encode_boot(boot)["update"] | wrong})


@pytest.mark.parametrize("error", [None, "no room"])
def test_that_nothing_is_to_be_done_is_read_by_the_version_before(error: str | None) -> None:
    update = BootUpdate(release="d", step=UpdateStep.SAME, at=1.0, error=error)
    boot = NodeBoot(id="a", token_hash="b", machine="c", release="d", system="e", stages=BEGUN, update=update)
    raw = encode_boot(boot)
    # The steps that it knows: with any other it would read no boot at all.
    assert raw["update"]["step"] in ("copy", "entry")
    assert decode_boot(json.loads(json.dumps(raw))) == boot
    # As it was written for a while.
    written = {"release": "d", "step": "same", "at": 1.0, "error": error}
    assert decode_boot(raw | {"update": written}) == boot


def test_which_boot_was_before_it_is_kept() -> None:
    boot = NodeBoot(
        id="a", token_hash="b", machine="c", release="d", system="e", stages=BEGUN, after="before"
    )
    assert decode_boot(encode_boot(boot)).after == "before"
    # As an earlier program has written it.
    raw = encode_boot(boot)
    del raw["after"]
    assert decode_boot(raw).after is None
