"""What a system on a disk says: the forms, and what of them a boot keeps."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleet_api import make_boot

from ectools.errors import InputError
from ectools.netboot.boots.disk import DiskWord, parse_disk_word, parse_update
from ectools.netboot.boots.encode import decode_boot, encode_boot
from ectools.netboot.boots.judge import judge
from ectools.netboot.boots.model import BootState, BootUpdate, NodeReport, UpdateStep

OLD, NEW = (f"/nix/store/{letter * 32}-nixos-system-ec-runner-26.05" for letter in "ab")


def form(**fields: Any) -> bytes:
    return urlencode({name.replace("_", "-"): value for name, value in fields.items()}, doseq=True).encode()


def test_what_it_runs_and_what_was_to_be_booted() -> None:
    booted = parse_disk_word(form(system=OLD, release="sha256-x", mac=["m", ""], serial="S1", future="1"))
    known_by = (("mac", "m"), ("serial", "S1"))
    assert booted == DiskWord(release="sha256-x", system=OLD, runs=OLD, known_by=known_by)
    back = parse_disk_word(form(system=OLD, release="r1", tried_system=NEW, tried_release="r2"))
    assert (back.runs, back.system, back.release) == (OLD, NEW, "r2")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "system: '' cannot be one"),
        ({"system": OLD}, "release: "),
        ({"system": "/etc/passwd", "release": "r"}, "system: "),
        ({"system": f"{OLD}\n", "release": "r"}, "system: "),
        ({"system": [OLD, NEW], "release": "r"}, "system: there are 2 of it"),
        ({"system": OLD, "release": "a b"}, "release: "),
        ({"system": OLD, "release": "r", "tried_system": NEW}, "tried-release: "),
        ({"system": OLD, "release": "r", "tried_system": "x", "tried_release": "r"}, "tried-system: "),
    ],
)
def test_what_is_none(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_disk_word(form(**fields))


def test_how_an_update_goes() -> None:
    assert parse_update(form(release="r", step="copy"), now=5.0) == BootUpdate(
        release="r", step=UpdateStep.COPY, at=5.0
    )
    failed = parse_update(form(release="r", step="entry", error="full\n" + "x" * 999), now=5.0)
    assert failed.error is not None
    assert failed.error.startswith("full\N{REPLACEMENT CHARACTER}x")
    assert len(failed.error) == 256
    for fields in ({"release": "r", "step": "begin"}, {"step": "copy"}, {"release": "", "step": "copy"}):
        with pytest.raises(InputError):
            parse_update(form(**fields), now=5.0)


@given(st.binary(max_size=300))
def test_whatever_is_sent(body: bytes) -> None:
    for parse in (parse_disk_word, lambda each: parse_update(each, now=1.0)):
        with contextlib.suppress(InputError):
            parse(body)


@given(
    st.booleans(),
    st.none()
    | st.builds(
        BootUpdate,
        release=st.text(max_size=8),
        step=st.sampled_from(UpdateStep),
        at=st.floats(0, 1e10),
        error=st.none() | st.text(max_size=8),
    ),
)
def test_a_boot_as_it_is_kept(from_disk: bool, update: BootUpdate | None) -> None:
    boot = make_boot(from_disk=from_disk, update=update)
    assert decode_boot(encode_boot(boot)) == boot


def test_a_disk_that_went_back_is_told_as_that() -> None:
    boot = make_boot(from_disk=True, store_path=NEW)
    verdict = judge(boot, NodeReport(release=boot.release, system=OLD), now=boot.started + 1)
    assert verdict.state is BootState.UNHEALTHY
    assert verdict.why == f"{NEW} did not come up: the disk went back to {OLD}"
    good = judge(boot, NodeReport(release=boot.release, system=NEW), now=boot.started + 1)
    assert good.state is BootState.HEALTHY
