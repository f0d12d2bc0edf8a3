"""Looks at a boot server that is started anew between two of them."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest

from ectools.cli import fleet_looks
from ectools.cli.fleet_looks import Looks
from ectools.errors import InputError
from ectools.netboot.api.client import NoAnswerError, NoServerError


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_looks, "_LOOK_SECONDS", 0.0)


def say(*said: int | Exception) -> Callable[[], int]:
    left = iter(said)

    def look() -> int:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return look


def test_a_server_that_has_answered_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    away, cut = NoServerError("no server"), NoAnswerError("cut off")
    looks, look = Looks(), say(1, away, cut, 2, away, 3)
    assert [looks.ask(look) for _ in range(3)] == [1, 2, 3]
    assert capsys.readouterr().err == "no server; it is waited for\n" * 2


def test_one_that_never_answered_is_not() -> None:
    with pytest.raises(NoServerError):
        Looks().ask(say(NoServerError("no server"), 1))


def test_what_is_wrong_of_what_is_asked_ends_it() -> None:
    looks, look = Looks(), say(1, InputError("no such group"), 2)
    looks.ask(look)
    with pytest.raises(InputError):
        looks.ask(look)


def test_the_time_ends_it() -> None:
    looks, look = Looks(0.0), say(1, NoServerError("no server"), 2)
    assert looks.ask(look) == 1
    assert looks.are_over
    with pytest.raises(NoServerError):
        looks.ask(look)


def test_what_is_another_on_the_way_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Looks().look_until(say(1, 1, 2, 1, 3, 4), is_done=lambda seen: seen == 3, summarize=str)
    assert seen == 3
    assert capsys.readouterr().err.splitlines() == ["1", "2", "1"]


@pytest.mark.parametrize("looks", [Looks(waits=False), Looks(0.0)], ids=["no waiting", "no time"])
def test_the_last_look_counts_whatever_it_shows(looks: Looks, capsys: pytest.CaptureFixture[str]) -> None:
    assert looks.look_until(say(1), is_done=lambda _: False, summarize=str) == 1
    assert capsys.readouterr().err == ""


def test_a_time_without_waiting_is_refused() -> None:
    with pytest.raises(click.UsageError, match="--timeout is for --wait"):
        Looks(5.0, waits=False)
