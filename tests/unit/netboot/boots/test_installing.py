"""What a machine says as it installs: the form, and which of it a boot takes, in whatever order it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleet_api import make_boot

from ectools.errors import InputError
from ectools.netboot.boots.encode import decode_boot, encode_boot
from ectools.netboot.boots.installing import (
    InstallRefusedError,
    InstallWord,
    advance,
    describe_fault,
    parse_install_word,
)
from ectools.netboot.boots.model import INSTALL_STEPS, BootInstall, BootState, InstallStep, NodeBoot

RUNS = ("a" * 16, "b" * 16)
BOOT = make_boot(install=BootInstall(order="first"))


def form(**fields: Any) -> bytes:
    return urlencode({"stage": "installing", "run": RUNS[0], **fields}, doseq=True).encode()


def word(step: InstallStep, run: str = RUNS[0], **fields: Any) -> InstallWord:
    return InstallWord(run=run, step=step, **fields)


def test_what_a_form_says() -> None:
    begin = parse_install_word(form(step="begin", mac=["02:00:00:00:00:01", "x"], serial="S1", future="1"))
    assert begin == word(
        InstallStep.BEGIN,
        known_by=(("mac", "02:00:00:00:00:01"), ("mac", "x"), ("serial", "S1")),
    )
    assert parse_install_word(form(step="copy", percent="42")) == word(InstallStep.COPY, percent=42)
    told = parse_install_word(form(step="disk", error="two\ndisks" + "x" * 999, disk="a" * 999))
    assert told is not None
    assert told.error is not None
    assert told.error.startswith("two\N{REPLACEMENT CHARACTER}disks")
    assert (len(told.error), len(told.disk or "")) == (256, 128)
    assert parse_install_word(form(stage="installed")) == word(InstallStep.DONE)
    assert parse_install_word(b"stage=up&healthy=yes") is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"step": "done"}, "step: 'done' is none of begin, disk, partition, copy, loader, keys"),
        ({}, "step: '' is none of"),
        ({"step": "copy", "run": "short"}, "run: is not 16 to 64 letters and digits"),
        ({"step": "copy", "run": "x" * 16 + "\n"}, "run: "),
        ({"step": "copy", "percent": "101"}, "percent: is no number up to 100"),
        ({"step": "copy", "percent": "-1"}, "percent: "),
        ({"step": ["copy", "copy"]}, "step: there are 2 of it"),
    ],
)
def test_a_form_that_says_nothing(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=f"^{told[:30]}"):
        parse_install_word(form(**fields))


def go(boot: NodeBoot, *words: InstallWord) -> NodeBoot:
    for each in words:
        boot = advance(boot, each)
    return boot


def test_an_installation_that_goes_well() -> None:
    boot = go(BOOT, *(word(step, disk="d1" if step is InstallStep.DISK else None) for step in INSTALL_STEPS))
    assert boot.install == BootInstall(order="first", run=RUNS[0], step=InstallStep.DONE, disk="d1")
    assert decode_boot(encode_boot(boot)) == boot
    # Its answer was lost.
    assert advance(boot, word(InstallStep.DONE)) is boot


@pytest.mark.parametrize(
    ("before", "said", "why"),
    [
        ([], word(InstallStep.COPY), "has not asked"),
        ([], word(InstallStep.DONE), "has not asked"),
        ([word(InstallStep.BEGIN)], word(InstallStep.BEGIN, RUNS[1]), "the token was used"),
        ([word(InstallStep.BEGIN)], word(InstallStep.COPY, RUNS[1]), "the token was used"),
        ([word(InstallStep.BEGIN)], word(InstallStep.DONE), "has not said what it writes to"),
        ([word(InstallStep.BEGIN), word(InstallStep.COPY)], word(InstallStep.DISK), "disk comes before copy"),
        (
            [word(InstallStep.BEGIN), word(InstallStep.COPY, disk="d"), word(InstallStep.DONE)],
            word(InstallStep.BEGIN),
            "it was installed",
        ),
    ],
)
def test_what_is_not_that_boots_to_say(before: list[InstallWord], said: InstallWord, why: str) -> None:
    boot = go(BOOT, *before)
    with pytest.raises(InstallRefusedError, match=why):
        advance(boot, said)


@pytest.mark.parametrize("state", [each for each in BootState if each is not BootState.BOOTING])
def test_a_boot_that_is_over_begins_nothing(state: BootState) -> None:
    with pytest.raises(InstallRefusedError):
        advance(replace(BOOT, state=state), word(InstallStep.BEGIN))


def test_a_boot_that_installs_nothing() -> None:
    with pytest.raises(InstallRefusedError, match="installs nothing"):
        advance(replace(BOOT, install=None), word(InstallStep.BEGIN))


def test_what_went_wrong_is_told_until_it_goes_on() -> None:
    boot = go(BOOT, word(InstallStep.BEGIN), word(InstallStep.DISK, error="two disks"))
    assert describe_fault(boot) == "not installed (disk): two disks"
    assert describe_fault(advance(boot, word(InstallStep.BEGIN))) is None
    assert describe_fault(BOOT) is None


_WORDS = st.builds(
    InstallWord,
    run=st.sampled_from(RUNS),
    step=st.sampled_from(INSTALL_STEPS),
    disk=st.sampled_from((None, "d1", "d2")),
    error=st.sampled_from((None, None, "x")),
)


@given(st.lists(_WORDS, max_size=20))
def test_one_run_a_token_and_never_two(words: list[InstallWord]) -> None:
    """Whatever is said, and by whom: the first who begins is the only one, and the end is the end."""
    boot, run = BOOT, None
    for each in words:
        try:
            after = advance(boot, each)
        except InstallRefusedError:
            assert run != each.run or boot.install is None or boot.install.step is not None
            continue
        assert run in (None, each.run)
        assert run is not None or each.step is InstallStep.BEGIN
        run = each.run
        assert after.install is not None
        assert after.install.order == "first"
        if after.install.step is InstallStep.DONE:
            assert after.install.disk is not None
        assert boot.install is not None
        assert boot.install.step is not InstallStep.DONE or after is boot
        boot = after
