"""How long a boot has had: since it was begun here, else since the start, by seconds that only grow."""

from __future__ import annotations

from support.fleet_api import make_boot

from ectools.netboot.boots.elapsed import ElapsedTime
from ectools.netboot.boots.memory import LiveBoot


def test_time_counts_from_the_boot_or_from_the_start() -> None:
    now = [100.0]
    elapsed = ElapsedTime(lambda: now[0])
    now[0] = 110.0
    own, earlier = LiveBoot(boot=make_boot(), begun=elapsed.now()), LiveBoot(boot=make_boot())
    now[0] = 115.0
    assert [elapsed.exceeds(own, each) for each in (4.9, 5.0)] == [True, False]
    assert [elapsed.exceeds(earlier, each) for each in (14.9, 15.0)] == [True, False]
    assert elapsed.exceeds(earlier, 1e9, since_start=False)
    assert not elapsed.exceeds(own, 1e9, since_start=False)


def test_the_start_may_be_later() -> None:
    now = [100.0]
    elapsed = ElapsedTime(lambda: now[0])
    now[0] = 110.0
    assert elapsed.measure() == 10.0
    elapsed.open()
    now[0] = 111.0
    assert elapsed.measure() == 1.0
    assert not elapsed.exceeds(LiveBoot(boot=make_boot()), 1.0)


def test_without_such_a_clock_the_other_one_is_right() -> None:
    elapsed = ElapsedTime(None)
    assert elapsed.now() is elapsed.measure() is None
    assert elapsed.exceeds(LiveBoot(boot=make_boot(), begun=elapsed.now()), 1e9)
