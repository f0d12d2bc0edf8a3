"""Who gets a slot: examples, and the laws over any history of arrivals, uses and departures."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ectools.netboot.http.slots import Slots, Use, share_of


def take(slots: Slots[str], name: str, share: str | None) -> tuple[bool, str | None]:
    """A newcomer, let in where the rules say so."""
    room, victim = slots.find_room(share)
    if victim is not None:
        slots.remove(victim)
    if room:
        slots.add(name, share)
    return room, victim


def fill(capacity: int, *shares: str) -> Slots[str]:
    """Slots, all taken by working connections, named by their number."""
    slots: Slots[str] = Slots(capacity)
    for number, share in enumerate(shares):
        assert take(slots, str(number), share) == (True, None)
        slots.use(str(number), Use.WORK)
    return slots


def test_one_address_may_have_all_while_nobody_else_comes() -> None:
    slots = fill(4, "a", "a", "a", "a")
    assert take(slots, "x", "a") == (False, None)
    assert slots.held_by("a") == 4


def test_the_address_with_the_most_makes_room_for_others_until_they_are_equal() -> None:
    slots = fill(4, "a", "a", "a", "a")
    assert take(slots, "b1", "b") == (True, "3")  # what came last
    slots.use("b1", Use.WORK)
    assert take(slots, "b2", "b") == (True, "2")
    slots.use("b2", Use.WORK)
    assert take(slots, "b3", "b") == (False, None)
    assert slots.held_by("a") == slots.held_by("b") == 2


def test_those_at_rest_make_room_first_and_then_the_slow_ones() -> None:
    slots = fill(4, "a", "a", "a", "a")
    slots.use("2", Use.REST)
    slots.use("1", Use.REST)
    slots.use("0", Use.SLOW)
    victims = [take(slots, f"b{number}", share)[1] for number, share in enumerate("bcd")]
    assert victims == ["2", "1", "0"]


def test_the_longest_at_rest_of_its_own_address_makes_room_for_its_newcomer() -> None:
    slots = fill(3, "a", "a", "a")
    slots.use("1", Use.REST)
    slots.use("0", Use.REST)
    assert take(slots, "x", "a") == (True, "1")
    # The newcomer is at rest itself, until its request has come.
    assert take(slots, "y", "a") == (True, "0")
    assert take(slots, "z", "a") == (True, "x")


def test_where_all_hold_one_the_longest_at_rest_makes_room_for_a_new_address_alone() -> None:
    slots = fill(3, "a", "b", "c")
    slots.use("1", Use.REST)
    assert take(slots, "x", "c") == (False, None)  # c has one: not at b's cost
    assert take(slots, "x", "d") == (True, "1")


def test_a_slow_download_makes_room_where_nobody_rests() -> None:
    slots = fill(2, "a", "b")
    slots.use("1", Use.SLOW)
    assert take(slots, "x", "c") == (True, "1")
    assert take(slots, "y", "a") == (False, None)


def test_a_trusted_proxys_connections_stand_in_nobodys_way_to_make_room() -> None:
    slots: Slots[str] = Slots(101)
    for number in range(100):
        take(slots, str(number), None)
    take(slots, "a1", "a")
    assert take(slots, "b1", "b") == (True, "a1")


def test_a_trusted_proxy_is_never_the_one_to_make_room() -> None:
    slots: Slots[str] = Slots(3)
    for number in range(3):
        assert take(slots, str(number), None)[0]
    assert take(slots, "x", "a") == (False, None)
    slots.remove("0")
    assert take(slots, "x", "a") == (True, None)
    # And it gets room of who has more than one.
    slots.remove("1")
    assert take(slots, "y", "a") == (True, None)
    assert take(slots, "p", None) == (True, "x")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_an_ipv6_host_is_its_network(one: str, other: str, same: bool) -> None:
    assert (share_of(one) == share_of(other)) is same


def test_a_share_is_written_as_people_write_a_network() -> None:
    assert share_of("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"


def test_how_many_are_free() -> None:
    """Short is one free in eight, or less."""
    slots: Slots[str] = Slots(16)
    short = []
    for number in range(16):
        slots.add(str(number), None)
        short.append(slots.short)
    assert short == [False] * 13 + [True] * 3


def test_what_has_no_slot_has_no_use_and_takes_nothing_with_it() -> None:
    slots = fill(2, "a", "a")
    slots.use("stranger", Use.REST)
    slots.remove("stranger")
    assert "stranger" not in slots
    assert (len(slots), slots.held_by("a"), slots.held_by("b")) == (2, 2, 0)
    assert slots.find_use("0") is Use.WORK
    slots.use("0", Use.SLOW)
    slots.use("0", Use.SLOW)  # it is no later in its turn for that
    slots.use("1", Use.SLOW)
    slots.use("0", Use.SLOW)
    assert slots.find_room("a") == (True, "0")


def test_who_has_rested_longest_goes_first_also_after_it_worked() -> None:
    slots = fill(3, "a", "b", "c")
    for name in "012":
        slots.use(name, Use.REST)
    slots.use("0", Use.WORK)
    slots.use("0", Use.REST)
    assert slots.find_room("d") == (True, "1")
    slots.remove("1")
    slots.add("x", "e")
    assert slots.find_room("d") == (True, "2")


def test_of_several_addresses_with_the_most_the_one_that_came_to_it_first_makes_room() -> None:
    slots = fill(6, "a", "a", "b", "b", "c", "c")
    assert slots.find_room("d") == (True, "1")
    slots.remove("1")
    slots.add("x", "a")
    slots.use("x", Use.WORK)
    # a came to its two after b now.
    assert slots.find_room("d") == (True, "3")


@pytest.mark.parametrize(("held", "room"), [(0, True), (1, True), (2, False)])
def test_an_address_gives_to_who_has_two_fewer(held: int, room: bool) -> None:
    slots = fill(3 + held, "a", "a", "a", *["b"] * held)
    assert slots.find_room("b") == (room, "2" if room else None)


def test_the_most_goes_down_with_who_holds_it() -> None:
    slots = fill(4, "a", "a", "a", "b")
    for name in ("0", "1"):
        slots.remove(name)
    slots.add("x", "c")
    slots.add("y", "d")
    for name in "xy":
        slots.use(name, Use.WORK)
    assert slots.find_room("e") == (False, None)
    slots.remove("x")
    slots.add("z", "b")
    slots.use("z", Use.WORK)
    assert slots.find_room("e") == (True, "z")
    assert slots.find_room("d") == (False, None)


@pytest.mark.parametrize("ip", ["nobody", "::g", "1:2"])
def test_what_is_no_address_counts_as_itself(ip: str) -> None:
    assert share_of(ip) == ip


class Model:
    """The slow and obvious way to the same counts."""

    def __init__(self) -> None:
        self.uses: dict[str, tuple[str | None, Use]] = {}

    def counts(self) -> Counter[str]:
        return Counter(share for share, _ in self.uses.values() if share is not None)


_SHARES = st.sampled_from(["a", "b", "c", "d", None])
_STEPS = st.one_of(
    st.tuples(st.just("come"), _SHARES),
    st.tuples(st.just("go"), st.integers(0, 50)),
    st.tuples(st.sampled_from(list(Use)), st.integers(0, 50)),
)


@given(capacity=st.integers(1, 6), steps=st.lists(_STEPS, max_size=60))
@settings(max_examples=400, deadline=None)
def test_the_laws_hold_over_any_history(capacity: int, steps: list) -> None:
    slots: Slots[str] = Slots(capacity)
    model = Model()
    for number, (step, argument) in enumerate(steps):
        present = sorted(model.uses, key=int)
        if step == "come":
            counts = model.counts()
            held = counts[argument] if argument is not None else 0
            room, victim = slots.find_room(argument)
            if victim is not None:
                share, use = model.uses[victim]
                assert len(model.uses) == capacity
                assert share is not None  # never a trusted proxy's
                # Nobody gives to who has as much, but of its own address, and then nothing at work.
                assert counts[share] > held or (share == argument and use is not Use.WORK)
                if use is Use.WORK:
                    assert counts[share] == max(counts.values()) >= held + 2
                    assert all(each is Use.WORK for other, each in model.uses.values() if other == share)
                slots.remove(victim)
                del model.uses[victim]
            if not room:
                assert len(model.uses) == capacity
                assert max(counts.values(), default=0) < held + 2
                continue
            slots.add(str(number), argument)
            model.uses[str(number)] = (argument, Use.REST)
        elif present:
            name = present[argument % len(present)]
            if step == "go":
                slots.remove(name)
                del model.uses[name]
            else:
                slots.use(name, step)
                model.uses[name] = (model.uses[name][0], step)
        assert len(slots) == len(model.uses) <= capacity
        assert all(name in slots for name in model.uses)
        for share in "abcd":
            assert slots.held_by(share) == model.counts()[share]


def test_a_newcomer_always_gets_in_beside_an_address_that_has_more() -> None:
    """The crowd: one address takes all, and comes again and again; each other address gets its request in."""
    slots = fill(64, *["crowd"] * 64)
    for number in range(200):
        take(slots, f"crowd {number}", "crowd")
        assert take(slots, f"node {number}", f"node {number}")[0]
        slots.remove(f"node {number}")
