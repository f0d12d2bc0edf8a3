"""How well it is known what a node runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rebuilding import OTHER, SYSTEM

from ectools.netboot.api.verification import Knowledge, verify_node

RELEASE = f"sha256-{'a' * 32}"
ROW = {"name": "nuc-07", "group": "runners", "release": {"id": RELEASE, "tag": None}, "on_release": True}
TRUSTED = {SYSTEM: ["builder.pub"]}


def boot(report: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    return {
        "release": {"id": RELEASE, "tag": None},
        "state": "booting",
        "stage": "kernel",
        "store_path": SYSTEM,
        "report": report,
        **fields,
    }


def report(release: str | None = RELEASE, system: str | None = SYSTEM) -> dict[str, Any]:
    return {"release": release, "system": system}


@pytest.mark.parametrize(
    ("last", "knowledge", "why"),
    [
        (None, Knowledge.UNKNOWN, "has not booted yet"),
        (boot(None), Knowledge.UNKNOWN, "has not reported: booting, last seen: kernel"),
        (boot(report()), Knowledge.REPORTED, None),
        (boot(report(system=None)), Knowledge.UNKNOWN, "does not name its release and its system"),
        (boot(report(release=None)), Knowledge.UNKNOWN, "does not name its release and its system"),
        (boot(report(), store_path=None), Knowledge.UNKNOWN, "is not known to the boot server"),
        (boot(report(system=OTHER)), Knowledge.CONTRADICTED, f"runs {OTHER}, and was given {SYSTEM}"),
        (boot(report(release="sha256-x")), Knowledge.CONTRADICTED, f"runs sha256-x, and was given {RELEASE}"),
        (boot(report(release=None, system=OTHER)), Knowledge.CONTRADICTED, f"runs {OTHER}"),
    ],
)
def test_what_is_known(last: dict[str, Any] | None, knowledge: Knowledge, why: str | None) -> None:
    found = verify_node(ROW, last, {})
    assert found.knowledge is knowledge
    assert (found.why is None) if why is None else (why in str(found.why))
    # Who has built the system again says nothing of a node that nothing is known of.
    trusted = verify_node(ROW, last, {**TRUSTED, OTHER: ["x"]})
    assert trusted.knowledge is (Knowledge.REBUILT if knowledge is Knowledge.REPORTED else knowledge)


def test_an_older_servers_boot_says_not_what_was_given() -> None:
    last = boot(report())
    del last["store_path"]
    assert verify_node(ROW, last, TRUSTED).knowledge is Knowledge.UNKNOWN


@given(
    release=st.sampled_from([None, RELEASE, "sha256-x"]),
    system=st.sampled_from([None, SYSTEM, OTHER]),
    given_path=st.sampled_from([None, SYSTEM, OTHER]),
    trusted=st.dictionaries(st.sampled_from([SYSTEM, OTHER]), st.just(["k"])),
    on_release=st.sampled_from([None, True, False]),
)
def test_rebuilt_is_what_was_reported_given_and_signed(
    release: str | None,
    system: str | None,
    given_path: str | None,
    trusted: dict[str, list[str]],
    on_release: bool | None,
) -> None:
    last = boot(report(release, system), store_path=given_path)
    found = verify_node({**ROW, "on_release": on_release}, last, trusted)
    is_rebuilt = release == RELEASE and system is not None and system == given_path and system in trusted
    assert (found.knowledge is Knowledge.REBUILT) is is_rebuilt
    assert found.is_enough(Knowledge.REBUILT) <= found.is_enough(Knowledge.REPORTED)
    if found.knowledge is Knowledge.CONTRADICTED:
        assert not found.is_enough(Knowledge.REPORTED)
    elif on_release is None:
        assert found.is_enough(Knowledge.REBUILT)
