"""Looks at a boot server that is started anew between two of them."""

from __future__ import annotations

from collections.abc import Callable

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
