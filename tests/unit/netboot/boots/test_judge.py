"""A report, held against what the machine was given."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.boots.judge import describe_silence, judge
from ectools.netboot.boots.model import BootState, NodeBoot, NodeReport, NodeStage

BOOT = NodeBoot(
    id="1",
    token_hash="h",
    machine="mac 02:00:00:00:00:01",
    release="r1",
    system="release",
    store_path="/nix/store/e-nixos",
    within=60.0,
    stages={NodeStage.SCRIPT: 100.0, NodeStage.RUNNING: 110.0},
)
GOOD = NodeReport(release="r1", system="/nix/store/e-nixos")


@given(
    release=st.sampled_from(("r1", "r2", None)),
    system=st.sampled_from(("/nix/store/e-nixos", "/nix/store/x", None)),
    healthy=st.booleans(),
    failed=st.sampled_from(((), ("a.service",))),
    now=st.floats(100, 1000),
)
def test_healthy_is_all_that_was_given_and_nothing_that_failed(
    release: str | None, system: str | None, healthy: bool, failed: tuple[str, ...], now: float
) -> None:
    report = NodeReport(release=release, system=system, healthy=healthy, failed=failed)
    found = judge(BOOT, report, now=now)
    good = release == "r1" and system != "/nix/store/x" and healthy and not failed
    assert found.state is (BootState.HEALTHY if good else BootState.UNHEALTHY)
    assert (found.why is None) == (good and now <= BOOT.deadline)


def test_a_system_that_is_not_known_is_not_compared() -> None:
    report = replace(GOOD, system="/nix/store/x")
    assert judge(replace(BOOT, store_path=None), report, now=100.0).state is BootState.HEALTHY


def test_what_is_said_is_bounded() -> None:
    report = replace(GOOD, failed=tuple(f"{number}.service" for number in range(64)))
    why = judge(BOOT, report, now=100.0).why
    assert why is not None
    assert why.endswith("7.service, and 56 more")
    why = judge(BOOT, replace(GOOD, release="x" * 1000), now=100.0).why
    assert why is not None
    assert len(why) < 300


def test_silence_says_what_was_seen_last() -> None:
    assert describe_silence(BOOT) == "no report within 60 s; last seen: running"
    stages = {**BOOT.stages, NodeStage.STORE: 112.0}
    fetching = replace(BOOT, stages=stages, store_percent=40)
    assert describe_silence(fetching) == "no report within 60 s; last seen: store 40 %"
