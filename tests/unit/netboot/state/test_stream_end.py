"""Where the end of a stream was lost: seen by messages' numbers and times, and told by the bucket's name."""

from __future__ import annotations

import asyncio

import pytest

from ectools.netboot.state.stream_end import find_common, find_lasting, name_after_loss


def test_a_bucket_s_name_has_where_it_lost_its_end() -> None:
    first = name_after_loss("a", 100)
    second = name_after_loss(first, 130)
    assert find_lasting("a", first) == find_lasting("a", second) == 100
    assert find_lasting(first, second) == 130
    names = [second]
    for end in range(200, 220):
        names.append(name_after_loss(names[-1], end))
    last = names[-1]
    assert len(last) < 512
    # The oldest losses are one: who has heard of none, or of one of those, goes by the lowest end.
    assert find_lasting("a", last) == find_lasting(names[2], last) == 100
    assert find_lasting(names[-3], last) == 218
    assert find_lasting(last, last) is None


@pytest.mark.parametrize(
    "now", ["a", "b", "b-1f.7", "a-", "a-\u00b2", "a-1f", "a-1f-7", "a-1f.x", "a-.7", ""]
)
def test_a_bucket_s_name_that_somebody_else_has_written(now: str) -> None:
    assert find_lasting("a", now) is None
    assert find_lasting("a-2e.9", now) is None
    assert find_lasting("a", name_after_loss(now, 5)) == (5 if now.startswith("a") else None)


@pytest.mark.parametrize("end", [0, 1, 2, 63, 90, 99, 100])
@pytest.mark.parametrize("step", [1, 3, 40])
def test_where_two_ends_part(end: int, step: int) -> None:
    """Of 100 messages those up to ``end`` are left, but those that others have taken the place of."""
    times = {number: number if number <= end else 1000 + number for number in range(1, 151, step)}
    asked: list[int] = []

    async def find_next(start: int) -> tuple[int, float] | None:
        asked.append(start)
        return min(((number, time) for number, time in times.items() if number >= start), default=None)

    found = asyncio.run(find_common(find_next, sequence=100, at=100.0))
    assert found is not None
    assert found.sequence == max((number for number in times if number <= end), default=0)
    assert found.following == min((number for number in times if end < number <= 100), default=None)
    assert len(asked) < 20
    assert asyncio.run(find_common(find_next, sequence=100, at=0.0)) is None
