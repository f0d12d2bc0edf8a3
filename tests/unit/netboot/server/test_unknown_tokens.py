"""Tokens that may be of a boot that another host has begun."""

from __future__ import annotations

from ectools.netboot.server.unknown_tokens import MAX_TOKENS, PATIENCE_SECONDS, UnknownTokens


def test_who_shares_nothing_knows_all() -> None:
    assert not UnknownTokens(is_cut_off=None, clock=lambda: 0.0).may_be_known_later("t")


def test_who_could_not_read_its_own_refuses_none() -> None:
    read = [False]
    tokens = UnknownTokens(is_cut_off=None, clock=lambda: 0.0, has_read=lambda: read[0])
    assert tokens.may_be_known_later("t")
    read[0] = True
    assert not tokens.may_be_known_later("t")


def test_it_is_refused_once_it_must_have_been_heard_of() -> None:
    now, cut = [0.0], [False]
    tokens = UnknownTokens(is_cut_off=lambda: cut[0], clock=lambda: now[0])
    assert tokens.may_be_known_later("t")
    now[0] = PATIENCE_SECONDS
    assert not tokens.may_be_known_later("t")
    assert tokens.may_be_known_later("another")
    cut[0] = True
    assert tokens.may_be_known_later("t")


def test_they_are_bounded() -> None:
    tokens = UnknownTokens(is_cut_off=lambda: False, clock=lambda: 0.0)
    for number in range(MAX_TOKENS + 10):
        tokens.may_be_known_later(str(number))
    assert len(tokens._since) == MAX_TOKENS
